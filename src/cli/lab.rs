//! What the one-shot clients share: the server's address and leave to talk to it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use clap::Args;

use super::ExitCode;
use super::args::{CliError, duration};
use crate::base::Span;

/// Whom a one-shot client talks to.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Host name or address, with :PORT if it is not the usual one
    #[arg(value_name = "HOST")]
    host: String,
    /// Leave to talk to this host although it is not this machine
    #[arg(long, value_name = "HOST")]
    allow_target: Option<String>,
    /// Longest wait without progress, such as 5s or 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    timeout: Span,
}

impl ServerArgs {
    /// The address of the server, and how long its name took.
    pub(super) fn resolve(&self, usual_port: u16) -> Result<(SocketAddr, Duration), CliError> {
        let start = Instant::now();
        let (host, port) = split_port(&self.host, usual_port);
        let failed = |error: &dyn std::fmt::Display| {
            CliError::new(ExitCode::Environment, format!("{host}: {error}"))
        };
        let mut found = (host, port).to_socket_addrs().map_err(|error| failed(&error))?;
        let address = found.next().ok_or_else(|| failed(&"no address"))?;
        let allowed = self.allow_target.as_deref().map(|allowed| split_port(allowed, 0).0);
        if address.ip().is_loopback() || allowed == Some(host) {
            return Ok((address, start.elapsed()));
        }
        Err(CliError::misuse(
            format!("{host} ({}) is not this machine", address.ip()),
            "give --allow-target HOST with the same host to talk to it",
        ))
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout.as_duration()
    }
}

/// `host:port`, `[v6]:port`, or a host alone.
pub(super) fn split_port(text: &str, usual: u16) -> (&str, u16) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let port = rest.strip_prefix(':').and_then(|port| port.parse().ok());
        return (host, port.unwrap_or(usual));
    }
    match text.split_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, port),
            // More than one colon: an IPv6 address.
            Err(_) => (text, usual),
        },
        None => (text, usual),
    }
}

/// A duration in milliseconds with three digits.
pub(super) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_split_from_hosts() {
        assert_eq!(split_port("cucm:69", 7), ("cucm", 69));
        assert_eq!(split_port("cucm", 7), ("cucm", 7));
        assert_eq!(split_port("::1", 7), ("::1", 7));
        assert_eq!(split_port("[::1]:69", 7), ("::1", 69));
        assert_eq!(split_port("[::1]", 7), ("::1", 7));
    }

    #[test]
    fn other_machines_need_leave() {
        let args = |host: &str, allow: Option<&str>| ServerArgs {
            host: host.into(),
            allow_target: allow.map(Into::into),
            timeout: Span::from_secs(5),
        };
        assert!(args("127.0.0.1", None).resolve(69).is_ok());
        assert!(args("192.0.2.1", None).resolve(69).is_err());
        assert!(args("192.0.2.1", Some("192.0.2.2")).resolve(69).is_err());
        let (address, _) = args("192.0.2.1:70", Some("192.0.2.1")).resolve(69).unwrap();
        assert_eq!(address.to_string(), "192.0.2.1:70");
    }

    #[test]
    fn times_are_shown_in_milliseconds() {
        assert!((milliseconds(Duration::from_micros(1_234)) - 1.234).abs() < 1e-9);
    }
}
