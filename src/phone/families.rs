//! What is known, or guessed, about families of phones: `scenarios/profiles/phones.toml`, built in.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::base::Model;
use crate::wire::DIGEST_SHA1;
use crate::wire::tftp::{BLOCK_SIZE_DEFAULT, BLOCK_SIZE_MAX, BLOCK_SIZE_MIN};

/// Phones that behave alike.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Family {
    /// Which models: four digits, `x` stands for any; the last family fits every name.
    pub models: String,
    /// What its phones ask first for a file.
    pub first: First,
    /// Where `first` is from.
    pub source: String,
    /// Block size of TFTP.
    pub tftp_block: BlockFacts,
    /// From a reset to the first request.
    pub boot: Times,
    /// How long a phone takes to make a pair of keys when it enrols for an LSC.
    pub key_generation: Times,
    /// Who says that its phones know no security by default: they hold no CTL and no ITL and take
    /// unsigned configurations (BOOT-08). Nobody, as a rule.
    pub without_lists: Option<String>,
    /// Who says that its phones verify signatures with SHA-1 only. Nobody, as a rule.
    pub sha1_only: Option<String>,
    /// Who says that its phones keep their session with TVS (TVS-19). Nobody, as a rule.
    pub keeps_tvs_session: Option<String>,
}

/// What phones of a family ask first for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum First {
    /// HTTP, and TFTP for what HTTP does not bring.
    Http,
    /// TFTP only.
    Tftp,
}

/// The block size that phones of a family ask for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockFacts {
    /// Bytes; 512 is what a request without options gets, so that nothing is asked for.
    pub size: u16,
    /// Where it is from, or `guess`.
    pub source: String,
}

/// A time that differs from phone to phone: log-normal around its median.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Times {
    /// Median in seconds.
    pub median_s: f64,
    /// Spread in seconds: one deviation above the median.
    pub sigma_s: f64,
    /// Where they are from, or `guess`.
    pub source: String,
}

/// A value of a family that a result can rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyValue {
    /// Median of the time to boot.
    BootMedian,
    /// Spread of the time to boot.
    BootSigma,
    /// Block size of TFTP.
    TftpBlock,
}

/// One value of one family, halved or doubled, to see what rests on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Varied {
    /// The family, as a position in [`families`].
    pub family: usize,
    /// The value.
    pub value: FamilyValue,
    /// Doubled, or else halved.
    pub doubled: bool,
}

impl Varied {
    /// `number`, which is `value` of family number `family`, or what becomes of it.
    pub(super) fn apply(varied: Option<Varied>, family: usize, value: FamilyValue, n: f64) -> f64 {
        match varied {
            Some(it) if (it.family, it.value) == (family, value) => {
                n * if it.doubled { 2.0 } else { 0.5 }
            }
            _ => n,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profiles {
    family: Vec<Family>,
}

static PROFILES: LazyLock<Vec<Family>> = LazyLock::new(|| {
    let text = include_str!("../../scenarios/profiles/phones.toml");
    parse(text).expect("a test reads the profiles that are built in")
});

/// Every family; of several that fit a model the first one counts, and the last one fits all.
pub fn families() -> &'static [Family] {
    &PROFILES
}

/// The place of a model's family in [`families`]; a model without a series of four digits, such as
/// `ATA191`, is of the last one, which fits all.
pub fn family_index(model: impl Into<Model>) -> usize {
    let model = model.into();
    let fits = |digits: &str, family: &Family| {
        let mut pairs = family.models.bytes().zip(digits.bytes());
        pairs.all(|(mark, digit)| [digit, b'x'].contains(&mark))
    };
    let found = model.digits().and_then(|digits| PROFILES.iter().position(|one| fits(digits, one)));
    found.unwrap_or(PROFILES.len() - 1)
}

/// Whether phones of a model hold trust lists (BOOT-08).
pub fn holds_lists(model: impl Into<Model>) -> bool {
    family_of(model).without_lists.is_none()
}

/// Whether phones of a model can verify a signature with this digest, as a header names it
/// (`spec/signed-file.md`, digest choice).
pub fn knows_digest(model: impl Into<Model>, digest: u8) -> bool {
    digest == DIGEST_SHA1 || family_of(model).sha1_only.is_none()
}

/// The family of a model.
pub fn family_of(model: impl Into<Model>) -> &'static Family {
    &PROFILES[family_index(model)]
}

fn parse(text: &str) -> Result<Vec<Family>, String> {
    let profiles: Profiles = toml::from_str(text).map_err(|error| error.to_string())?;
    profiles.family.iter().try_for_each(check)?;
    match profiles.family.last() {
        Some(last) if last.models == "xxxx" => Ok(profiles.family),
        _ => Err("the last family does not fit all models".to_owned()),
    }
}

fn check(family: &Family) -> Result<(), String> {
    let fault = |what: &str| Err(format!("family {}: {what}", family.models));
    let is_mark = |mark: u8| mark.is_ascii_digit() || mark == b'x';
    if family.models.len() != 4 || !family.models.bytes().all(is_mark) {
        return fault("models are four digits or x");
    }
    if !(BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&family.tftp_block.size) {
        return fault("a block size that nobody may ask for");
    }
    let times = [&family.boot, &family.key_generation];
    let is_time = |time: &&Times| {
        let numbers = [time.median_s, time.sigma_s];
        numbers.iter().all(|number| number.is_finite()) && time.median_s > 0.0 && time.sigma_s > 0.0
    };
    if !times.iter().all(is_time) {
        return fault("a median or sigma that is no length of time");
    }
    let sources = times.map(|time| &time.source).into_iter();
    let sources = sources.chain([&family.source, &family.tftp_block.source]);
    let sources = sources.chain(&family.without_lists).chain(&family.sha1_only);
    let mut sources = sources.chain(&family.keeps_tvs_session);
    if sources.any(|source| source.trim().is_empty()) {
        return fault("a value without a source");
    }
    Ok(())
}

/// Which block size phones ask for over TFTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockSizeRule {
    /// The same for all; `None` is a request without options.
    Fixed(Option<u16>),
    /// What phones of the model ask for.
    Model {
        /// A value that is halved or doubled.
        varied: Option<Varied>,
    },
}

impl BlockSizeRule {
    /// The block size that a phone of `model` asks for (RFC 2348); `None` for a request without
    /// options, which gets blocks of 512 bytes.
    pub fn of(self, model: impl Into<Model>) -> Option<u16> {
        let model = model.into();
        match self {
            BlockSizeRule::Fixed(size) => size,
            BlockSizeRule::Model { varied } => {
                let (number, family) = (family_index(model), family_of(model));
                let size = f64::from(family.tftp_block.size);
                let size = Varied::apply(varied, number, FamilyValue::TftpBlock, size) as u16;
                let asked = size.clamp(BLOCK_SIZE_MIN, BLOCK_SIZE_MAX);
                (asked != BLOCK_SIZE_DEFAULT).then_some(asked)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: &str = "[[family]]\nmodels = 'xxxx'\nfirst = 'tftp'\nsource = 'guess'\n\
        tftp-block = { size = 1428, source = 'guess' }\n\
        boot = { median-s = 90.0, sigma-s = 4.0, source = 'guess' }\n\
        key-generation = { median-s = 20.0, sigma-s = 10.0, source = 'guess' }\n";

    #[test]
    fn a_profile_is_read_strictly() {
        assert_eq!(parse(FAMILY).unwrap()[0].tftp_block.size, 1_428);
        for (good, bad, fault) in [
            ("'xxxx'", "'88x'", "four digits"),
            ("'xxxx'", "'88xx'", "does not fit all"),
            ("size = 1428", "size = 7", "nobody may ask for"),
            ("median-s = 20.0", "median-s = 0.0", "no length of time"),
            ("sigma-s = 10.0", "sigma-s = nan", "no length of time"),
            ("sigma-s = 10.0", "sigma = 10.0", "unknown field"),
            ("sigma-s = 4.0, source = 'guess'", "sigma-s = 4.0, source = ' '", "without a source"),
            ("key-generation", "key-generations", "unknown field"),
            ("first = 'tftp'", "first = 'ftp'", "unknown variant"),
        ] {
            let error = parse(&FAMILY.replacen(good, bad, 1)).unwrap_err();
            assert!(error.contains(fault), "{bad}: {error}");
        }
        let (head, _) = FAMILY.split_once("key-generation").unwrap();
        assert!(parse(head).unwrap_err().contains("missing field `key-generation`"));
    }

    #[test]
    fn the_first_family_that_fits_counts() {
        let models = |model: u16| family_of(model).models.as_str();
        assert_eq!([models(8845), models(7960), models(7962)], ["88xx", "7960", "79xx"]);
        assert_eq!(models(6921), "xxxx");
        let key_s = |model: u16| family_of(model).key_generation.median_s;
        assert!(key_s(7960) >= 1_800.0 && (2.0..=60.0).contains(&key_s(8845)));
    }

    #[test]
    fn a_name_of_a_model_falls_back_to_its_series_or_to_the_family_of_all() {
        let family = |name: &str| family_of(name.parse::<Model>().unwrap()).models.as_str();
        assert_eq!(
            [family("CP-8832"), family("8851NR"), family("CP-7942G")],
            ["88xx", "88xx", "79xx"]
        );
        assert_eq!(["ATA191", "DX80", "CIPC", "78411"].map(family), ["xxxx"; 4]);
    }

    #[test]
    fn a_block_size_of_512_is_a_request_without_options() {
        let rule = BlockSizeRule::Model { varied: None };
        assert_eq!((rule.of(7962), family_of(7962).tftp_block.size), (None, 512));
        let (family, value) = (family_index(7962), FamilyValue::TftpBlock);
        let varied = |doubled| {
            let rule = BlockSizeRule::Model { varied: Some(Varied { family, value, doubled }) };
            [rule.of(7962), rule.of(6921)]
        };
        assert_eq!([varied(false), varied(true)], [[Some(256), None], [Some(1_024), None]]);
        assert_eq!(BlockSizeRule::Fixed(Some(1_428)).of(7962), Some(1_428));
    }
}
