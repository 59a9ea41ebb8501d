use std::collections::BTreeMap;

use serde::Serialize;

/// Phones that a run has left without what is served now, for one reason: who they are and what
/// helps them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stranded {
    /// What became of them: `stuck`, `failed`, `stale` or `not-reset`.
    pub outcome: &'static str,
    /// Why.
    pub cause: String,
    /// How many they are.
    pub phones: u64,
    /// How many of each `CallManager` group.
    pub by_group: BTreeMap<String, u64>,
    /// How many of each site; empty if the scenario has none.
    pub by_site: BTreeMap<String, u64>,
    /// How many of each model.
    pub by_model: BTreeMap<String, u64>,
    /// How many of each TFTP node that they ask first.
    pub by_tftp: BTreeMap<String, u64>,
    /// What helps, each by itself; the first is the one that always does.
    pub remedies: Vec<Remedy>,
}

/// What helps phones that are stranded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Remedy {
    /// What is to be done, in words.
    pub what: String,
    /// Hours of work at the phones, all technicians together; `null` if nobody goes there.
    pub technician_hours: Option<f64>,
    /// Hours until the last phone was visited.
    pub hours: Option<f64>,
    /// Entries for the end of the scenario that rehearse it, TOML; empty where a scenario cannot.
    pub steps: String,
    /// The mail to users who are to help themselves; empty where they are not asked.
    pub mail: String,
}

/// A service of a node that presents or signs with a certificate from a moment on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Presented {
    /// Seconds since the start of the run.
    pub at_s: f64,
    /// The service and its node, such as `tvs on pub`.
    pub service: String,
    /// What it does with the certificate: `presents`, `signs files` or `signs the list`.
    pub does: &'static str,
    /// The certificate by name, such as `CallManager of pub`; `null`: the service has stopped.
    pub certificate: Option<String>,
    /// Its serial number, hexadecimal.
    pub serial: Option<String>,
    /// Bytes of the header of the list that is signed with it, if that is what it does.
    pub header_bytes: Option<u64>,
}

/// What a probe of the cluster has come to: whether something beside phones works that depends on a
/// certificate (CERT-18, CERT-20, CERT-24, CERT-26).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbeSummary {
    /// Its name, which says what is tried and where unless it was given one, such as `axl at pub`.
    pub probe: String,
    /// Whether it worked at the end.
    pub works: bool,
    /// Why it did not, by certificate; `null` if it did.
    pub cause: Option<String>,
    /// How often it was found not to work when it had worked before, or at the start.
    pub outages: u64,
    /// For how many seconds of the run it did not work, all outages together.
    pub failed_s: f64,
    /// Every change of it since the start of the run, the state at the start first.
    pub course: Vec<ProbeChange>,
}

/// From when on a probe has worked or has failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProbeChange {
    /// Seconds from the start of the run until it was found.
    pub at_s: f64,
    /// Whether it works from then on.
    pub works: bool,
    /// Why it does not, by certificate.
    pub cause: Option<String>,
}

/// A part of the time of all boots since the storm began.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Attribution {
    /// For what it went.
    pub cause: String,
    /// Seconds of all phones together.
    pub seconds: f64,
    /// Its share of the whole, 0 to 1; all shares add up to 1.
    pub ratio: f64,
}

/// A step of the operator that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OperatorStep {
    /// Seconds since the start of the run.
    pub at_s: f64,
    /// Its place in the scenario, from 1; `null` for what was entered beside it.
    pub number: Option<usize>,
    /// Its name; empty for what was entered beside it.
    pub name: String,
    /// What was done, in words.
    pub what: String,
}
