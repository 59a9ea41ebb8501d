use std::net::{IpAddr, SocketAddr};

use clap::Args;

use crate::base::Span;

use super::args::{CliError, duration};

/// Where Prometheus may ask.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct ListenArgs {
    /// Answer Prometheus at this address while it lasts
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// Permit --metrics-listen at this address outside loopback, such as 0.0.0.0
    #[arg(long, value_name = "IP", requires = "metrics_listen")]
    pub allow_listen: Option<IpAddr>,
}

impl ListenArgs {
    /// Where Prometheus may ask: on this machine only, unless the address is named a second time.
    pub(super) fn permitted(&self) -> Result<Option<SocketAddr>, CliError> {
        let Some(socket) = self.metrics_listen else { return Ok(None) };
        let address = socket.ip().to_canonical();
        let allowed = self.allow_listen.map(|address| address.to_canonical());
        if address.is_loopback() || allowed == Some(address) {
            return Ok(Some(socket));
        }
        let what = format!("--metrics-listen {address} is open to other machines");
        let help = format!("if they may read the metrics, say so: --allow-listen {address}");
        Err(CliError::usage(what, help))
    }
}

/// Where Prometheus may ask of something that comes to an end, and for how long.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsArgs {
    /// Where.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Answer Prometheus for so long after the end, for the final numbers
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "metrics_listen")]
    pub metrics_linger: Option<Span>,
}

impl MetricsArgs {
    /// For how long Prometheus is answered after the end.
    pub(super) fn linger(&self) -> Span {
        self.metrics_linger.unwrap_or_default()
    }
}
