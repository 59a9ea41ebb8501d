//! A scenario as it was typed: the shape of the file and nothing more.
//!
//! Every table refuses unknown keys. `Spanned` stands where a check after parsing needs a place;
//! never on a table, because a table that only its sub-tables define has no place.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::cost::CostModel;
use super::names::Text;
use super::quantity::{Length, Quantity};
use super::verbs::{Given, KeyOf, Verb, verbs};

/// One of something that is written as a text, or a list.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub Vec<T>);

/// The TFTP servers of a phone in their order.
pub(super) type Servers = OneOrMany<String>;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMany<T>, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany<T>, E> {
        T::deserialize(text.into_deserializer()).map(|one| OneOrMany(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<OneOrMany<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(many)).map(OneOrMany)
    }
}

/// A number of bytes, or `model`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a number of bytes, or \"model\"")]
pub(super) enum RawBlockSize {
    Bytes(i64),
    Word(String),
}

/// A length of time, or `documented`, as typed.
#[derive(Debug)]
pub(super) struct RawThink(pub String);

impl<'de> Deserialize<'de> for RawThink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawThink, D::Error> {
        deserializer.deserialize_str(ThinkVisitor)
    }
}

struct ThinkVisitor;

impl Visitor<'_> for ThinkVisitor {
    type Value = RawThink;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time with its unit, such as \"30s\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RawThink, E> {
        Ok(RawThink(text.to_owned()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawScenario {
    pub schema: Spanned<i64>,
    pub name: Text,
    #[serde(default)]
    pub about: String,
    pub seed: Option<u64>,
    pub cluster: RawCluster,
    pub fleet: RawFleet,
    #[serde(default)]
    pub phone: RawPhone,
    pub registration: Option<RawRegistration>,
    #[serde(default)]
    pub event: Vec<Spanned<RawEvent>>,
    #[serde(default)]
    pub procedure: Vec<RawProcedure>,
    pub r#use: Option<Text>,
    #[serde(default)]
    pub probe: Vec<RawProbe>,
    #[serde(default)]
    pub slo: Vec<RawSlo>,
    #[serde(default)]
    pub run: RawRun,
    pub target: Option<RawTarget>,
}

/// Steps that can be played instead of others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawProcedure {
    pub name: Text,
    #[serde(default)]
    pub about: String,
    #[serde(default)]
    pub event: Vec<Spanned<RawEvent>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCluster {
    pub release: Option<Text>,
    pub domain: Option<Text>,
    pub sign_cache: Option<Text>,
    pub key_bits: Option<Spanned<u16>>,
    pub file_signature: Option<Text>,
    pub secured_phone_url: Option<Text>,
    pub tvs_cipher: Option<Text>,
    pub security_mode: Option<Text>,
    pub etokens: Option<Spanned<Vec<Text>>>,
    pub auto_reset: Option<Spanned<RawAutoReset>>,
    pub replication_delay: Option<Length>,
    pub rollback_warning: Option<Length>,
    #[serde(default)]
    pub fault: Vec<RawFault>,
    #[serde(default)]
    pub node: Vec<RawNode>,
    #[serde(default)]
    pub group: Vec<RawGroup>,
    #[serde(default)]
    pub phone_security_profile: Vec<RawSecurityProfile>,
    #[serde(default)]
    pub capf: RawCapf,
    pub cost: Option<Spanned<CostModel>>,
}

/// How CAPF is set.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCapf {
    pub sessions: Option<Spanned<u32>>,
    pub retry_delay: Option<Length>,
    pub key_deadline: Option<Length>,
    pub silence: Option<Length>,
    pub valid_days: Option<Spanned<u16>>,
    pub issuer: Option<Text>,
}

/// Whether regenerations reset the phones by themselves, or within which time they boot then.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "true, false or a length of time")]
pub(super) enum RawAutoReset {
    Truth(bool),
    Spread(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    pub id: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawNode {
    pub name: Text,
    pub address: Option<Spanned<IpAddr>>,
    pub services: Option<Vec<Text>>,
    #[serde(default)]
    pub ports: RawPorts,
    #[serde(default)]
    pub expires: BTreeMap<Text, Length>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPorts {
    pub tftp: Option<Spanned<u16>>,
    pub tvs: Option<Spanned<u16>>,
    pub capf: Option<Spanned<u16>>,
    pub sip: Option<Spanned<u16>>,
    pub sips: Option<Spanned<u16>>,
    pub http: Option<Spanned<u16>>,
    pub https: Option<Spanned<u16>>,
    pub tomcat: Option<Spanned<u16>>,
    pub tomcat_http: Option<Spanned<u16>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawGroup {
    pub name: Text,
    pub members: Spanned<Vec<Text>>,
    pub share: Spanned<f64>,
    pub tftp: Option<Spanned<Servers>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSecurityProfile {
    pub name: Text,
    pub share: Spanned<f64>,
    pub device_security_mode: Option<Text>,
    pub encrypted_config: Option<Spanned<bool>>,
    pub stale_keys: Option<Text>,
    pub auth_mode: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFleet {
    pub phones: Spanned<u64>,
    #[serde(default)]
    pub models: BTreeMap<Text, Spanned<f64>>,
    /// What phones take turns at.
    pub tftp: Option<Spanned<OneOrMany<Servers>>>,
    pub start: Option<Text>,
    #[serde(default)]
    pub arrival: RawArrival,
    #[serde(default)]
    pub site: Vec<RawSite>,
    #[serde(default, rename = "use")]
    pub uses: Vec<RawUse>,
}

/// Presses of a button.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawUse {
    pub kind: Text,
    pub rate: Text,
    pub from: Option<Quantity>,
    #[serde(rename = "for")]
    pub lasts: Length,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawArrival {
    pub within: Option<Quantity>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPhone {
    pub boot_time: Option<Text>,
    pub think: Option<Spanned<RawThink>>,
    pub tvs_think: Option<Spanned<RawThink>>,
    pub transport: Option<Text>,
    pub http_timeout: Option<Length>,
    pub tftp_timeout: Option<Length>,
    pub tftp_tries: Option<Spanned<u8>>,
    pub tftp_block_size: Option<Spanned<RawBlockSize>>,
    pub tvs_timeout: Option<Length>,
    pub dns_negative_ttl: Option<Quantity>,
    pub ip_mode: Option<Text>,
    pub tvs_session: Option<Text>,
    #[serde(alias = "asks-generic-ctl")]
    pub ctl_generic: Option<bool>,
    pub checks_dates: Option<bool>,
    pub further_files: Option<Vec<Text>>,
    pub key_generation: Option<Text>,
    pub authentication_string: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRegistration {
    pub enabled: Option<bool>,
    pub rate_per_node: Option<Spanned<f64>>,
    pub expires: Option<Length>,
    pub monitor: Option<Length>,
    pub retry: Option<Length>,
}

/// One event: one of `at`, `when`, `after`, and one key that names the action.
#[derive(Debug, Default)]
pub(super) struct RawEvent {
    pub name: Option<Text>,
    pub at: Option<Quantity>,
    pub when: Option<Text>,
    pub after: Option<Text>,
    pub delay: Option<Length>,
    pub actions: Vec<(&'static Verb, Given)>,
}

impl<'de> Deserialize<'de> for RawEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawEvent, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = RawEvent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEvent, A::Error> {
        let mut verbs: Vec<&'static Verb> = verbs().collect();
        verbs.sort_by_key(|verb| verb.key);
        let own = ["name", "at", "when", "after", "delay"];
        let keys: Vec<&str> = own.into_iter().chain(verbs.iter().map(|verb| verb.key)).collect();
        let mut event = RawEvent::default();
        while let Some(at) = map.next_key_seed(KeyOf(&keys))? {
            match keys[at] {
                "name" => event.name = map.next_value()?,
                "at" => event.at = map.next_value()?,
                "when" => event.when = map.next_value()?,
                "after" => event.after = map.next_value()?,
                "delay" => event.delay = map.next_value()?,
                _ => {
                    let verb = verbs[at - own.len()];
                    event.actions.push((verb, map.next_value_seed(verb)?));
                }
            }
        }
        Ok(event)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSlo {
    pub expr: Text,
}

/// Something beside phones that depends on a certificate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawProbe {
    pub name: Option<Text>,
    pub kind: Text,
    pub node: Text,
    pub peer: Option<Text>,
    pub unit: Option<Text>,
    pub trusted: Option<Spanned<bool>>,
    pub phone: Option<Text>,
    pub mics: Option<Spanned<bool>>,
    pub imports: Option<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRun {
    pub epoch: Option<Text>,
    pub time_zone: Option<Text>,
    pub max_wall: Option<Length>,
    pub transfers_in_flight: Option<Spanned<u32>>,
    pub lookups_in_flight: Option<Spanned<u32>>,
    pub registrations_in_flight: Option<Spanned<u32>>,
    pub connections_in_flight: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawTarget {
    pub tftp: Spanned<OneOrMany<SocketAddr>>,
    pub tvs: Option<Spanned<SocketAddr>>,
    pub sip: Option<Spanned<SocketAddr>>,
    pub sips: Option<Spanned<SocketAddr>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSite {
    pub name: Text,
    pub share: Spanned<f64>,
    #[serde(default)]
    pub link: RawLink,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawLink {
    pub rtt: Option<Length>,
    pub jitter: Option<Length>,
    pub loss: Option<Text>,
    pub dns_failure: Option<Text>,
    pub down: Option<Text>,
}
