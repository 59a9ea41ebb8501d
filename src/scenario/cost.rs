use serde::{Deserialize, Serialize};

use crate::base::Span;

/// What servers and phones need for their work in virtual time; live runs take what they take.
///
/// The defaults of the work are measured for RSA-2048 with `ring` on one core (`performance.md`);
/// everything about capacity and pace is a guess that a summary names.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CostModel {
    /// Cores of each node, or of the one host if it is shared.
    pub cores: u32,
    /// Whether all nodes and all phones share one host, as in a live run on loopback.
    pub shared_host: bool,
    /// What one signature of the yardstick would take on a busy machine, in CPU time, when these
    /// costs were measured; zero if nobody measured it.
    #[serde(with = "span")]
    pub yardstick: Span,
    /// How much longer the yardstick takes, as a share, on a machine whose cores are all idle:
    /// hosts slow down cores that have little to do.
    pub idle_yardstick: f64,
    /// Share of a host that is to be had, from [`AVAILABLE_MIN`] to 1: the rest goes to programs
    /// that have nothing to do with the storm.
    pub available: f64,
    /// How much more work with a private key costs, as a share of it, on a core that was idle.
    pub idle_keys: f64,
    /// How much more work with packets and files costs, as a share of it, on a core that was idle.
    pub idle_packets: f64,
    /// How long a host takes to notice a datagram or segment; added to each way.
    #[serde(with = "span")]
    pub latency: Span,
    /// One signature of a file with an RSA-2048 key; RSA-4096 takes seven times that.
    #[serde(with = "span")]
    pub sign: Span,
    /// One TLS handshake and answer of TVS with an RSA-2048 key; RSA-4096 as for `sign`.
    #[serde(with = "span")]
    pub handshake: Span,
    /// One TFTP request: look-up of the file and first answer.
    #[serde(with = "span")]
    pub tftp_request: Span,
    /// One further block of TFTP and its acknowledgement.
    #[serde(with = "span")]
    pub tftp_block: Span,
    /// One HTTP connection.
    #[serde(with = "span")]
    pub http_connection: Span,
    /// One HTTP request and its answer.
    #[serde(with = "span")]
    pub http_request: Span,
    /// The phone's part of one TFTP request or block.
    #[serde(with = "span")]
    pub phone_block: Span,
    /// The phone's part of one HTTP request.
    #[serde(with = "span")]
    pub phone_http: Span,
    /// The phone's part of one TLS handshake.
    #[serde(with = "span")]
    pub phone_handshake: Span,
    /// One check of a file by the phone.
    #[serde(with = "span")]
    pub phone_check: Span,
    /// From the start of a TFTP service until its files are built; it answers nobody before.
    #[serde(with = "span")]
    pub build_time: Span,
    /// Requests that one node serves at once (*Maximum Serving Count*); HTTP answers 503 to more,
    /// TFTP drops them. 0 is no limit.
    pub serving_count: u32,
    /// TLS connections that one TVS service holds at once; more are refused. 0 is no limit.
    pub tvs_connections: u32,
    /// Resets that one CallManager node sends per second. 0 is no limit.
    pub resets_per_second: f64,
    /// Registrations that one CallManager node accepts per second, as the step behind *ready*;
    /// 0 leaves the step out.
    pub registrations_per_second: f64,
}

impl Default for CostModel {
    fn default() -> CostModel {
        CostModel {
            cores: 4,
            shared_host: false,
            yardstick: Span::ZERO,
            idle_yardstick: 0.0,
            available: 1.0,
            idle_keys: 0.0,
            idle_packets: 0.0,
            latency: Span::ZERO,
            sign: Span::from_micros(450),
            handshake: Span::from_micros(600),
            tftp_request: Span::from_micros(10),
            tftp_block: Span::from_nanos(3_700),
            http_connection: Span::from_micros(20),
            http_request: Span::from_micros(30),
            phone_block: Span::ZERO,
            phone_http: Span::ZERO,
            phone_handshake: Span::ZERO,
            phone_check: Span::ZERO,
            build_time: Span::ZERO,
            serving_count: 0,
            tvs_connections: 0,
            resets_per_second: 0.0,
            registrations_per_second: 0.0,
        }
    }
}

/// Largest extra cost of a core that was idle, as a share of the work.
pub const IDLE_MAX: f64 = 10.0;

/// Smallest share of a host that is believed: with less, nothing can be said.
pub const AVAILABLE_MIN: f64 = 0.05;

/// A fault of a calibration file, with the place where it is.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CostError(String);

impl CostModel {
    /// Costs without work, delay or limit: every answer is there at once.
    pub fn free() -> CostModel {
        let mut free = CostModel::default();
        free.spans_mut().into_iter().for_each(|(_, span)| *span = Span::ZERO);
        free
    }

    /// Reads the `[cost]` table of a calibration file.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn from_toml(text: &str) -> Result<CostModel, CostError> {
        #[derive(Deserialize)]
        struct File {
            cost: CostModel,
        }
        let file: File = toml::from_str(text).map_err(|error| CostError(error.to_string()))?;
        file.cost.check().map_err(CostError)?;
        Ok(file.cost)
    }

    /// The keys and values of this table as TOML lines.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a cost model is plain data")
    }

    /// Every length of time with its key.
    pub fn spans_mut(&mut self) -> [(&'static str, &mut Span); 12] {
        [
            ("latency", &mut self.latency),
            ("sign", &mut self.sign),
            ("handshake", &mut self.handshake),
            ("tftp-request", &mut self.tftp_request),
            ("tftp-block", &mut self.tftp_block),
            ("http-connection", &mut self.http_connection),
            ("http-request", &mut self.http_request),
            ("phone-block", &mut self.phone_block),
            ("phone-http", &mut self.phone_http),
            ("phone-handshake", &mut self.phone_handshake),
            ("phone-check", &mut self.phone_check),
            ("build-time", &mut self.build_time),
        ]
    }

    /// Changes every cost of work by a factor, as a slower or faster machine does; the yardstick
    /// goes with it.
    pub fn scale_work(&mut self, factor: f64) {
        let work = self.spans_mut().into_iter();
        let work = work.filter(|(key, _)| !matches!(*key, "latency" | "build-time"));
        work.for_each(|(_, span)| *span = span.scaled(factor));
        self.yardstick = self.yardstick.scaled(factor);
    }

    /// What is impossible about these values.
    pub(super) fn check(&self) -> Result<(), String> {
        let shares = [self.idle_keys, self.idle_packets, self.idle_yardstick];
        if shares.iter().any(|share| !share.is_finite() || !(0.0..=IDLE_MAX).contains(share)) {
            return Err(format!("a share for idle cores that is not within 0 and {IDLE_MAX}"));
        }
        if !(AVAILABLE_MIN..=1.0).contains(&self.available) {
            return Err(format!("available is not within {AVAILABLE_MIN} and 1"));
        }
        let rates = [self.resets_per_second, self.registrations_per_second];
        if self.cores == 0 {
            return Err("a node without cores".to_owned());
        }
        if rates.iter().any(|rate| !rate.is_finite() || *rate < 0.0) {
            return Err("a rate that is negative or no number".to_owned());
        }
        Ok(())
    }
}

/// Lengths of time as texts with their unit.
mod span {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::base::Span;
    use crate::scenario::quantity::Quantity;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub(super) fn serialize<S: Serializer>(span: &Span, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(span)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        Quantity::deserialize(from).map(|quantity| quantity.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_survive_being_written() {
        let costs = CostModel {
            sign: Span::from_nanos(461_337),
            shared_host: true,
            registrations_per_second: 100.0,
            ..CostModel::default()
        };
        let text = format!("[cost]\n{}", costs.to_toml());
        assert_eq!(CostModel::from_toml(&text).unwrap(), costs, "{text}");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let fault = |line: &str| CostModel::from_toml(&format!("[cost]\n{line}")).unwrap_err().0;
        assert!(fault("cores = 0").contains("without cores"));
        assert!(fault("resets-per-second = -1.0").contains("negative"));
        assert!(fault("sign = 450").contains("unit"));
        assert!(fault("available = 0.0").contains("within"));
        assert!(fault("idle-keys = -0.1").contains("idle cores"));
        assert!(fault("signs = '1ms'").contains("signs"));
    }

    #[test]
    fn a_slower_machine_works_longer_and_waits_the_same() {
        let mut costs = CostModel {
            yardstick: Span::from_micros(400),
            latency: Span::from_micros(50),
            ..CostModel::default()
        };
        costs.scale_work(1.5);
        assert_eq!((costs.sign, costs.yardstick), (Span::from_micros(675), Span::from_micros(600)));
        assert_eq!(costs.latency, Span::from_micros(50));
    }

    #[test]
    fn free_costs_have_no_length() {
        assert!(CostModel::free().spans_mut().iter().all(|(_, span)| span.is_zero()));
    }
}
