use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::base::Span;
use crate::capacity::{CapfTarget, SipTarget, Sources, Target, TcpClient};
use crate::net::TlsClients;
use crate::toolbox::ServerPin;
use crate::wire::{ROLE_CALLMANAGER, ROLE_CAPF, ROLE_TVS};

use super::super::args::{CliError, duration};
use super::super::files::{read_store, server_pin};
use super::lists::{endpoint, read_lines};
use super::load::LoadArgs;

/// Ports of the services on a cluster.
const PORTS: [(&str, u16); 6] =
    [("tftp", 69), ("http", 6970), ("tvs", 2445), ("capf", 3804), ("sip", 5060), ("sips", 5061)];

/// Whom to load.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// TFTP server; port 69 if none is named
    #[arg(long, value_name = "HOST:PORT")]
    pub tftp: Option<String>,
    /// HTTP server; port 6970 if none is named
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "tftp")]
    pub http: Option<String>,
    /// TVS server; port 2445 if none is named
    #[arg(long, value_name = "HOST:PORT")]
    pub tvs: Option<String>,
    /// CAPF, where the phones of --devices enrol; port 3804 if none is named
    #[arg(long, value_name = "HOST:PORT", requires = "devices", conflicts_with = "tvs")]
    pub capf: Option<String>,
    /// Registrar, where the phones of --devices register over TCP; port 5060 if none is named
    #[arg(long, value_name = "HOST:PORT", requires = "devices")]
    pub sip: Option<String>,
    /// Registrar, where they register over TLS, with the certificates of their manufacturer; port
    /// 5061 if none is named
    #[arg(long, value_name = "HOST:PORT", requires = "devices",
        conflicts_with_all = ["sip", "tvs", "capf"])]
    pub sips: Option<String>,
    /// For how long phones ask to be registered
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub expires: Span,
    /// Permit traffic to this host outside loopback; the file of --targets must name it, too
    #[arg(long, value_name = "HOST")]
    pub allow_target: Vec<String>,
    /// File with the hosts outside loopback that may be loaded, one a line
    #[arg(long, value_name = "FILE")]
    pub targets: Option<PathBuf>,
    /// Certificate of the TVS server, of CAPF or of the registrar; behind that of CAPF those of other CAs that sign
    /// LSCs
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Take any TVS server, CAPF or registrar
    #[arg(long, conflicts_with = "certificate")]
    pub insecure: bool,
    /// How long each phone takes for its key at CAPF, which keeps a place of CAPF; it is taken off
    /// response times [default: none]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "capf")]
    pub key_time: Option<Span>,
    /// Authentication string of the phones at CAPF [default: a null string]
    #[arg(long, value_name = "TEXT", requires = "capf")]
    pub authentication_string: Option<String>,
    /// Addresses of this host for phones, one each, such as 10.9.0.0/16; the host must have them
    /// [default: loopback addresses towards this host, else one address for all]
    #[arg(long, value_name = "PREFIX", value_parser = sources)]
    pub sources: Option<Sources>,
    /// Wait before a TFTP datagram is sent again; an answer over TCP has --tries times as long
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = duration)]
    pub timeout: Span,
    /// How often a TFTP datagram is sent in all
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    pub tries: u8,
    /// Ask for TFTP blocks of this size; phones ask for nothing
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(8..=65_464))]
    pub block_size: Option<u16>,
}

impl TargetArgs {
    /// The servers with their addresses.
    pub(super) fn resolve(&self, load: &LoadArgs) -> Result<Target, CliError> {
        let find = |service: usize, host: &Option<String>| {
            host.as_deref().map(|host| self.address(host, PORTS[service])).transpose()
        };
        let servers = [&self.tftp, &self.http, &self.tvs, &self.capf, &self.sip, &self.sips];
        if servers.into_iter().all(Option::is_none) {
            return Err(CliError::usage(
                "nothing says which server to load",
                "give --tftp, --http, --tvs, --capf, --sip or --sips, such as --tftp 127.0.0.1:6969 \
                 --names names.txt",
            ));
        }
        let (tftp, http) = (find(0, &self.tftp)?, find(1, &self.http)?);
        let tvs = match find(2, &self.tvs)? {
            Some(address) => Some((address, self.pin(ROLE_TVS, load)?)),
            None => None,
        };
        let capf = match find(3, &self.capf)? {
            Some(address) => Some(CapfTarget {
                address,
                pin: self.pin(ROLE_CAPF, load)?,
                key_time: self.key_time.unwrap_or(Span::ZERO),
                string: self.authentication_string.clone().unwrap_or_default(),
                issuers: match &self.certificate {
                    Some(path) => read_store(path, "")?.certificates.into(),
                    None => Arc::default(),
                },
            }),
            None => None,
        };
        let sip = match (find(4, &self.sip)?, find(5, &self.sips)?) {
            (Some(address), _) => Some(SipTarget::new(address, None, self.expires)),
            (None, Some(address)) => {
                let pin = self.pin(ROLE_CALLMANAGER, load)?;
                Some(SipTarget::new(address, Some(pin), self.expires))
            }
            (None, None) => None,
        };
        let has_tls = tvs.is_some() || capf.is_some() || self.sips.is_some();
        if !has_tls && (self.insecure || self.certificate.is_some()) {
            let what = "--certificate and --insecure say whom to take for the TVS server, CAPF or \
                        the registrar";
            return Err(CliError::usage(what, "give --tvs, --capf or --sips, or leave them out"));
        }
        let patience = self.timeout.times(u64::from(self.tries)).as_duration();
        let target = Target {
            tftp,
            tcp: TcpClient { http, tvs, capf, sip, patience, tls: TlsClients::default() },
            sources: self.sources,
            timeout: self.timeout,
            tries: self.tries,
            block_size: self.block_size,
        };
        if let Some(sources) = &self.sources {
            try_source(*sources, &target.servers())?;
        }
        Ok(target)
    }

    /// Whom phones take for the server of this role.
    fn pin(&self, role: u16, load: &LoadArgs) -> Result<ServerPin, CliError> {
        server_pin(role, self.insecure, self.certificate.as_deref(), &load.trust)
    }

    /// The address of a host that may be loaded: loopback, or named twice.
    fn address(&self, text: &str, (service, port): (&str, u16)) -> Result<SocketAddr, CliError> {
        let (host, port) = endpoint(text, service, port)?;
        let host = host.as_str();
        let mut found = (host, port).to_socket_addrs().map_err(|error| {
            CliError::environment(format!("{host}: {error}"), "name an address, such as 192.0.2.7")
        })?;
        let address = found.next().ok_or_else(|| {
            CliError::environment(format!("{host}: no address"), "name an address")
        })?;
        self.permit(host, address.ip())?;
        Ok(address)
    }

    fn permit(&self, host: &str, address: IpAddr) -> Result<(), CliError> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Ok(());
        }
        let is_it = |name: &str| name == host || name.parse() == Ok(address);
        let what = format!("{host} ({address}) is outside loopback");
        if !self.allow_target.iter().any(|name| is_it(name)) {
            let help = format!(
                "if that server may be loaded, name it twice: --allow-target {host} and in the \
                 file of --targets"
            );
            return Err(CliError::usage(what, help));
        }
        let named = match &self.targets {
            Some(path) => read_lines(path)?.into_iter().map(|(_, line)| line).collect(),
            None => Vec::new(),
        };
        if named.iter().any(|name| is_it(name)) {
            return Ok(());
        }
        let help = format!("write {host} into a file and name that by --targets, too");
        Err(CliError::usage(format!("{what} and in no file of targets"), help))
    }
}

/// Reads a prefix of IPv4 addresses; its first and last one are left out.
fn sources(text: &str) -> Result<Sources, String> {
    let unreadable = || "a prefix of IPv4 addresses, such as 10.9.0.0/16".to_owned();
    let (address, bits) = text.split_once('/').ok_or_else(unreadable)?;
    let address: Ipv4Addr = address.parse().map_err(|_| unreadable())?;
    let bits: u32 = bits.parse().map_err(|_| unreadable())?;
    if !(8..=28).contains(&bits) {
        return Err("a prefix of 8 to 28 bits".to_owned());
    }
    let size = 1u32 << (32 - bits);
    let first = Ipv4Addr::from((u32::from(address) & !(size - 1)) + 1);
    Ok(Sources { first, count: size - 2 })
}

/// Whether this host has the first and the last of the addresses, and the servers can see them.
fn try_source(sources: Sources, servers: &[Option<SocketAddr>]) -> Result<(), CliError> {
    if servers.iter().flatten().any(SocketAddr::is_ipv6) {
        return Err(CliError::usage("--sources is for IPv4 servers", "leave it out"));
    }
    let last = Ipv4Addr::from(u32::from(sources.first) + sources.count - 1);
    for address in [sources.first, last] {
        std::net::UdpSocket::bind((address, 0)).map_err(|error| {
            let help = "as root: ip route add local PREFIX dev lo, and a route back on the server";
            CliError::environment(format!("{address} is no address of this host: {error}"), help)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::CapacityArgs;
    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        all: CapacityArgs,
    }

    fn permitted(flags: &[&str], host: &str) -> Result<(), String> {
        let words = ["resetstorm", "--tftp", host].into_iter().chain(flags.iter().copied());
        let line = Line::try_parse_from(words).unwrap();
        line.all.target.address(host, PORTS[0]).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_prefix_is_read_without_its_ends() {
        let found = sources("10.9.7.7/16").unwrap();
        assert_eq!((found.first, found.count), (Ipv4Addr::new(10, 9, 0, 1), 65_534));
        for text in ["10.9.0.0", "10.9.0.0/30", "10.9.0.0/4", "::1/64", "x/16"] {
            assert!(sources(text).is_err(), "{text}");
        }
        let server = Some("127.0.0.1:69".parse().unwrap());
        assert!(try_source(sources("127.77.0.0/16").unwrap(), &[server, None]).is_ok());
        let documentation = sources("192.0.2.0/24").unwrap();
        assert!(try_source(documentation, &[server]).is_err());
    }

    #[test]
    fn a_host_outside_loopback_must_be_named_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (good, other) = (folder.path().join("good"), folder.path().join("other"));
        std::fs::write(&good, "# lab\n192.0.2.7\n").unwrap();
        std::fs::write(&other, "192.0.2.8\n").unwrap();
        let (good, other) = (good.to_str().unwrap(), other.to_str().unwrap());
        assert_eq!(permitted(&[], "127.0.0.9:1"), Ok(()));
        assert_eq!(permitted(&[], "[::1]:1"), Ok(()));
        let allow = ["--allow-target", "192.0.2.7"];
        assert!(permitted(&[], "192.0.2.7").unwrap_err().contains("outside loopback"));
        assert!(permitted(&["--targets", good], "192.0.2.7").is_err());
        assert!(permitted(&allow, "192.0.2.7").unwrap_err().contains("no file of targets"));
        assert!(permitted(&[&allow[..], &["--targets", other]].concat(), "192.0.2.7").is_err());
        assert_eq!(permitted(&[&allow[..], &["--targets", good]].concat(), "192.0.2.7"), Ok(()));
        let mapped = "[::ffff:192.0.2.7]:69";
        assert_eq!(permitted(&[&allow[..], &["--targets", good]].concat(), mapped), Ok(()));
    }
}
