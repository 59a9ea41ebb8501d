use std::sync::LazyLock;

use serde::Deserialize;

/// How a file is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// HTTP to port 6970 of the TFTP node.
    Http,
    /// HTTPS to port 6971 of the TFTP node, which the lists of the phone must vouch for.
    Https,
    /// TFTP.
    Tftp,
}

/// Which transport the phones of a run ask first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportRule {
    /// HTTP, whatever the model.
    Http,
    /// What phones of the model do (`scenarios/profiles/phones.toml`).
    Model,
    /// TFTP, whatever the model.
    Tftp,
}

/// Every rule, in the order of the enum.
pub const TRANSPORT_RULES: [TransportRule; 3] =
    [TransportRule::Http, TransportRule::Model, TransportRule::Tftp];

/// Why HTTP or HTTPS brought no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HttpFault {
    /// The phone refused the certificate that the server presented: it is not in its lists.
    CertificateRefused,
    /// No connection: refused, unreachable, or not in time.
    Connection,
    /// What came is no whole answer: malformed, cut off, or of another length than announced.
    Protocol,
    /// An answer other than 200 and 404, such as 503.
    Status(u16),
    /// A connection, but no whole answer in time.
    TimedOut,
    /// The file is longer than a phone takes.
    TooLarge,
}

impl HttpFault {
    /// Whether the server itself is out of reach rather than this one file: then the rest of the
    /// boot goes over TFTP, so that a dead port costs one time-out and not one per file. Real
    /// phones may keep the better transport for the following files; which faults make them do
    /// so is not known, and this is our choice.
    pub const fn is_lasting(self) -> bool {
        matches!(self, HttpFault::CertificateRefused | HttpFault::Connection | HttpFault::TimedOut)
    }
}

impl TransportRule {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            TransportRule::Http => "http",
            TransportRule::Model => "model",
            TransportRule::Tftp => "tftp",
        }
    }

    /// What a phone of `model` asks first; HTTP becomes HTTPS for files that are provisioned over
    /// it (see [`Transport::Https`]).
    pub fn first(self, model: u16) -> Transport {
        match self {
            TransportRule::Http => Transport::Http,
            TransportRule::Model => of_model(model),
            TransportRule::Tftp => Transport::Tftp,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    family: Vec<Family>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    models: String,
    first: First,
    #[expect(
        dead_code,
        reason = "for readers of the file; required, so that it is never left out"
    )]
    source: String,
    boot: Boot,
}

/// How long phones of a family take to boot, in seconds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Boot {
    median_s: f64,
    sigma_s: f64,
    #[expect(
        dead_code,
        reason = "for readers of the file; required, so that it is never left out"
    )]
    source: String,
}

/// What is known about phones of a family.
#[derive(Debug, Clone, Copy)]
pub(super) struct FamilyFacts(&'static Family);

impl FamilyFacts {
    /// Median and spread of the time to boot, in seconds.
    pub(super) const fn boot_s(self) -> (f64, f64) {
        (self.0.boot.median_s, self.0.boot.sigma_s)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum First {
    Http,
    Tftp,
}

static PROFILES: LazyLock<Profiles> = LazyLock::new(|| {
    let text = include_str!("../../scenarios/profiles/phones.toml");
    toml::from_str(text).expect("a test reads the profiles that are built in")
});

/// The first family that fits; the last one fits all.
pub(super) fn family_of(model: u16) -> FamilyFacts {
    let digits = format!("{model:04}");
    let fits = |family: &&Family| {
        let mut pairs = family.models.bytes().zip(digits.bytes());
        family.models.len() == digits.len()
            && pairs.all(|(mark, digit)| [digit, b'x'].contains(&mark))
    };
    FamilyFacts(PROFILES.family.iter().find(fits).expect("the last family fits all models"))
}

fn of_model(model: u16) -> Transport {
    match family_of(model).0.first {
        First::Http => Transport::Http,
        First::Tftp => Transport::Tftp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_ask_what_their_profile_says() {
        for (model, first) in [
            (7841, Transport::Http),
            (8845, Transport::Http),
            (7962, Transport::Tftp),
            (6921, Transport::Tftp),
            (9971, Transport::Tftp),
        ] {
            assert_eq!(TransportRule::Model.first(model), first, "{model}");
        }
        assert_eq!(TransportRule::Http.first(7962), Transport::Http);
        assert_eq!(TransportRule::Tftp.first(8845), Transport::Tftp);
    }

    #[test]
    fn every_value_of_the_profiles_has_a_source() {
        let text = include_str!("../../scenarios/profiles/phones.toml");
        let profiles: toml::Table = toml::from_str(text).unwrap();
        let families = profiles["family"].as_array().unwrap();
        let has_source = |table: &toml::Value| !table["source"].as_str().unwrap().is_empty();
        assert!(families.iter().all(|family| has_source(family) && has_source(&family["boot"])));
        assert_eq!(PROFILES.family.last().unwrap().models, "xxxx");
    }
}
