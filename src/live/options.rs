use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;

use crate::base::{Span, Time};
use crate::measure::Ledger;
use crate::net::mail::Mailing;

/// What a live run needs beside its plan.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    /// Hosts outside loopback that may be connected to.
    pub allowed: Vec<IpAddr>,
    /// Where certificates and keys are kept from run to run; `None` makes throwaway ones.
    pub state: Option<PathBuf>,
    /// A folder whose files `serve` has beside those of the cluster; `None` has no more.
    pub files: Option<PathBuf>,
    /// Where `serve` writes what its TFTP nodes serve, a folder per node; `None` writes nothing.
    pub written: Option<PathBuf>,
    /// The Unix socket of the consoles, in `serve`; `None` has none.
    pub admin: Option<PathBuf>,
    /// Whom `serve` mails the warnings of the Certificate Monitor; `None` mails nobody.
    pub mail: Option<Mailing>,
    /// Where Prometheus may ask.
    pub metrics: Option<SocketAddr>,
    /// How long Prometheus may ask for the final numbers when the run is over.
    pub metrics_linger: Span,
}

/// What somebody who watches a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No further step of the operator until it is asked for again; phones go on.
    Pause,
    /// No further step and no boot that has not begun; the run ends when the others have ended.
    Drain,
    /// The end, with what there is by now.
    Quit,
}

/// Sees the run go by; called about four times a second.
pub trait Observer {
    /// The run has begun: what serves whom.
    fn started(&mut self, lines: &[String]);
    /// Our servers have their ports, in `serve`: a document with each node's addresses.
    fn listening(&mut self, _bound: &Value) {}
    /// The state of the fleet at `now`.
    fn tick(&mut self, ledger: &Ledger, now: Time);
    /// The operator carries out an action.
    fn operator(&mut self, text: &str, now: Time);
    /// What is asked for, once; looked for fifty times a second.
    fn wish(&mut self) -> Option<Wish> {
        None
    }
    /// Something else has happened, in words: mails have left, a run is paused.
    fn told(&mut self, _text: &str, _now: Time) {}
}
