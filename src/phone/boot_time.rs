use std::fmt;

use crate::base::{Model, PhoneId, Purpose, Span, stream};

use super::families::{FamilyValue, Varied, family_index, family_of};

/// How long phones take from power on or reset to their first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootTime {
    /// All the same time.
    Fixed(Span),
    /// What phones of the model take (`scenarios/profiles/phones.toml`), drawn per phone: phones
    /// of one model come back close together.
    Model {
        /// Seed of the run.
        seed: u64,
        /// A value that is halved or doubled.
        varied: Option<Varied>,
    },
}

impl BootTime {
    /// The time of one phone, the same in every boot.
    pub fn of(self, phone: PhoneId, model: impl Into<Model>) -> Span {
        match self {
            BootTime::Fixed(time) => time,
            BootTime::Model { seed, varied } => {
                let (median, sigma) = median_and_sigma(model, varied);
                let normal = normal(seed, phone);
                // Log-normal around the median; for a small spread sigma is its deviation.
                let seconds = median * (normal * (1.0 + sigma / median).ln()).exp();
                Span::from_nanos((seconds * 1e9) as u64)
            }
        }
    }

    /// The time that all take, if it is the same.
    pub const fn fixed_mut(&mut self) -> Option<&mut Span> {
        match self {
            BootTime::Fixed(time) => Some(time),
            BootTime::Model { .. } => None,
        }
    }
}

/// Median and spread of the time to boot of a model, in seconds.
fn median_and_sigma(model: impl Into<Model>, varied: Option<Varied>) -> (f64, f64) {
    let model = model.into();
    let (number, boot) = (family_index(model), &family_of(model).boot);
    let value = |value, seconds| Varied::apply(varied, number, value, seconds);
    (value(FamilyValue::BootMedian, boot.median_s), value(FamilyValue::BootSigma, boot.sigma_s))
}

/// A normally distributed number of a phone (Box and Muller).
fn normal(seed: u64, phone: PhoneId) -> f64 {
    let mut draws = stream(seed, u64::from(phone.0), Purpose::Boot);
    let (radius, angle) = (1.0 - draws.unit(), draws.unit());
    (-2.0 * radius.ln()).sqrt() * (angle * std::f64::consts::TAU).cos()
}

/// As it stands in a scenario: a length of time, or `model`.
impl fmt::Display for BootTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BootTime::Fixed(time) => write!(f, "{time}"),
            BootTime::Model { .. } => f.write_str("model"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_of_a_model_come_back_close_together_and_each_at_its_own_time() {
        let boot = BootTime::Model { seed: 7, varied: None };
        let mut times: Vec<f64> =
            (0..10_000).map(|n| boot.of(PhoneId(n), 8841).as_secs_f64()).collect();
        assert_eq!(boot.of(PhoneId(3), 8841), boot.of(PhoneId(3), 8841));
        assert_ne!(boot.of(PhoneId(3), 8841), boot.of(PhoneId(4), 8841));
        times.sort_by(f64::total_cmp);
        let (median, spread) = (times[5_000], times[8_413] - times[5_000]);
        let (expected, sigma) = median_and_sigma(8841, None);
        assert!((median - expected).abs() < 0.3, "{median}");
        assert!((spread - sigma).abs() < 0.3, "one deviation above the median: {spread}");
        assert_ne!(median_and_sigma(8841, None), median_and_sigma(7962, None));
    }

    #[test]
    fn a_value_of_one_family_is_halved_or_doubled_and_no_other() {
        let (family, value) = (family_index(8841), FamilyValue::BootMedian);
        let twice = Some(Varied { family, value, doubled: true });
        let half = Some(Varied { family, value: FamilyValue::BootSigma, doubled: false });
        let (median, sigma) = median_and_sigma(8841, None);
        assert_eq!(median_and_sigma(8841, twice), (median * 2.0, sigma));
        assert_eq!(median_and_sigma(8841, half), (median, sigma / 2.0));
        assert_eq!(median_and_sigma(7962, twice), median_and_sigma(7962, None));
    }

    #[test]
    fn a_fixed_time_is_everybodys() {
        let mut boot = BootTime::Fixed(Span::from_secs(60));
        assert_eq!(boot.fixed_mut(), Some(&mut Span::from_secs(60)));
        assert_eq!(boot.of(PhoneId(1), 7962), Span::from_secs(60));
    }
}
