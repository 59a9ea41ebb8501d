use std::fmt;

use crate::base::{Model, PhoneId, Purpose, Span, stream};
use crate::crypto::KeySpec;

use super::families::family_of;

/// How long phones take to make a pair of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTime {
    /// All the same time, whatever the key.
    Fixed(Span),
    /// What phones of the model take for RSA-2048 (`scenarios/profiles/phones.toml`), drawn per
    /// phone, and a tenth of it for EC (guess).
    Model {
        /// Seed of the run.
        seed: u64,
    },
}

/// An EC key compared with an RSA-2048 key (guess).
const EC_SHARE: f64 = 0.1;

impl KeyTime {
    /// The time of one phone.
    pub fn of(self, phone: PhoneId, model: impl Into<Model>, key: KeySpec) -> Span {
        match self {
            KeyTime::Fixed(time) => time,
            KeyTime::Model { seed } => {
                let times = &family_of(model).key_generation;
                let mut draws = stream(seed, u64::from(phone.0), Purpose::DeviceKey);
                let (radius, angle) = (1.0 - draws.unit(), draws.unit());
                let normal = (-2.0 * radius.ln()).sqrt() * (angle * std::f64::consts::TAU).cos();
                let spread = (1.0 + times.sigma_s / times.median_s).ln();
                let share = match key {
                    KeySpec::Rsa(_) => 1.0,
                    KeySpec::Ec(_) => EC_SHARE,
                };
                let seconds = share * times.median_s * (normal * spread).exp();
                Span::from_nanos((seconds * 1e9) as u64)
            }
        }
    }
}

/// As it stands in a scenario: a length of time, or `model`.
impl fmt::Display for KeyTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyTime::Fixed(time) => write!(f, "{time}"),
            KeyTime::Model { .. } => f.write_str("model"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phone_takes_its_time_and_an_ec_key_is_made_sooner() {
        let rule = KeyTime::Model { seed: 7 };
        let seconds = |phone, key| rule.of(PhoneId(phone), 8841, key).as_secs_f64();
        let (rsa, ec) = (KeySpec::Rsa(2_048), KeySpec::Ec(256));
        let mut times: Vec<f64> = (0..4_001).map(|phone| seconds(phone, rsa)).collect();
        assert!((seconds(9, ec) * 10.0 / seconds(9, rsa) - 1.0).abs() < 1e-6);
        times.sort_by(f64::total_cmp);
        let median = family_of(8841).key_generation.median_s;
        assert!((times[2_000] / median - 1.0).abs() < 0.05, "{}", times[2_000]);
        let fixed = KeyTime::Fixed(Span::from_secs(30));
        assert_eq!(fixed.of(PhoneId(1), 8841, ec), Span::from_secs(30));
    }
}
