//! Every key of a scenario file with what it takes: a reference for people and a JSON schema for
//! editors, from one table. A test holds the table against what the reader of scenarios knows.

use serde_json::{Map, Value, json};

use super::verbs::verbs;

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Any text.
    Text,
    /// One of these words, or another text where none is listed.
    Word(&'static [&'static str]),
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// A number that is not less than 0.
    Rate,
    /// `true` or `false`.
    Truth,
    /// A length of time with its unit.
    Length,
    /// A percentage or a rate as a text.
    Quantity,
    /// A list of texts.
    Texts,
    /// A text, a list of them, or a list of lists.
    Names,
    /// A text or a whole number.
    TextOrWhole,
    /// `true`, `false` or a length of time.
    TruthOrLength,
    /// A table whose keys are names of somebody's own; each takes this.
    Shares,
    /// The same with lengths of time.
    Lengths,
    /// A table.
    Table,
    /// A list of tables.
    Tables,
}

/// A key.
#[derive(Clone, Copy, Debug)]
struct Key {
    /// Its path; `[]` stands behind a list of tables.
    path: &'static str,
    takes: Takes,
    /// What it is unless the scenario says so; empty: it must be there.
    default: &'static str,
    about: &'static str,
}

const fn key(path: &'static str, takes: Takes, default: &'static str, about: &'static str) -> Key {
    Key { path, takes, default, about }
}

const RELEASES: Takes =
    Takes::Word(&["8.0", "8.6", "9.1", "10.5", "11.5", "12.0", "12.5", "14", "15"]);

/// Every key but those of steps, which the verbs name.
const KEYS: &[Key] = &[
    key("schema", Takes::Whole, "", "version of the format: 1"),
    key("name", Takes::Text, "", "names the run directory: small letters, digits, hyphens"),
    key("about", Takes::Text, "\"\"", "one sentence"),
    key("seed", Takes::Whole, "42", "decides every draw"),
    key("use", Takes::Text, "the first", "which [[procedure]] is played"),
    key("cluster", Takes::Table, "", "the servers"),
    key(
        "cluster.release",
        RELEASES,
        "\"8.6\"",
        "release of CUCM, which decides the rules in force",
    ),
    key(
        "cluster.domain",
        Takes::Text,
        "none",
        "DNS domain; configurations name nodes by it, else by address",
    ),
    key(
        "cluster.sign-cache",
        Takes::Word(&["off", "lazy", "prewarm"]),
        "\"lazy\"",
        "what becomes of signatures that were made",
    ),
    key("cluster.key-bits", Takes::Whole, "2048", "size of RSA keys: 2048 or 4096"),
    key(
        "cluster.file-signature",
        Takes::Word(&["sha1", "sha512"]),
        "of the release",
        "digest of file signatures",
    ),
    key(
        "cluster.security-mode",
        Takes::Word(&["non-secure", "mixed"]),
        "\"non-secure\"",
        "mixed: phones hold a CTL, too",
    ),
    key("cluster.etokens", Takes::Texts, "none", "security tokens that sign the CTL"),
    key(
        "cluster.auto-reset",
        Takes::TruthOrLength,
        "of the release",
        "whether a regeneration resets the phones by itself",
    ),
    key(
        "cluster.replication-delay",
        Takes::Length,
        "\"0s\"",
        "how long changes of the stores take to other nodes",
    ),
    key(
        "cluster.rollback-warning",
        Takes::Length,
        "\"24h\"",
        "how long the rollback parameter may stay on before that is told",
    ),
    key("cluster.capf", Takes::Table, "as below", "how CAPF is set; guide lsc"),
    key("cluster.capf.sessions", Takes::Whole, "50", "operations at the same time"),
    key(
        "cluster.capf.retry-delay",
        Takes::Length,
        "when it is its turn",
        "when a phone is to come again that found no place",
    ),
    key("cluster.capf.key-deadline", Takes::Length, "\"30m\"", "longest wait for a key"),
    key(
        "cluster.capf.silence",
        Takes::Length,
        "\"10m\"",
        "after which a phone loses its place to one that finds none",
    ),
    key("cluster.capf.valid-days", Takes::Whole, "1825", "days that an LSC lasts"),
    key("cluster.capf.issuer", Takes::Text, "CAPF", "another CA that signs LSCs in its place"),
    key("cluster.fault", Takes::Tables, "none", "known defects"),
    key("cluster.fault[].id", Takes::Text, "", "such as CSCut58407; guide faults has the list"),
    key("cluster.node", Takes::Tables, "", "the nodes, the publisher first"),
    key("cluster.node[].name", Takes::Text, "", "host name"),
    key("cluster.node[].address", Takes::Text, "127.0.0.1", "IP address"),
    key("cluster.node[].services", Takes::Texts, "all four", "of callmanager, tftp, tvs, capf"),
    key(
        "cluster.node[].ports",
        Takes::Table,
        "usual ones",
        "where they listen; 0: the system chooses",
    ),
    key("cluster.node[].ports.tftp", Takes::Whole, "6969", "UDP port of TFTP"),
    key("cluster.node[].ports.tvs", Takes::Whole, "2445", "TCP port of TVS"),
    key(
        "cluster.node[].ports.capf",
        Takes::Whole,
        "3804; 0 if that of TVS is 0",
        "TCP port of CAPF",
    ),
    key("cluster.node[].ports.http", Takes::Whole, "none", "TCP port of files over HTTP (6970)"),
    key("cluster.node[].ports.https", Takes::Whole, "none", "TCP port of files over HTTPS (6971)"),
    key("cluster.node[].ports.sip", Takes::Whole, "5060", "TCP port of SIP"),
    key("cluster.node[].ports.sips", Takes::Whole, "5061", "TCP port of SIP over TLS"),
    key(
        "cluster.node[].expires",
        Takes::Lengths,
        "5 years",
        "how long certificates of this node still last: { TVS = \"20d\" }",
    ),
    key("cluster.group", Takes::Tables, "one of the first nodes", "CallManager groups"),
    key("cluster.group[].name", Takes::Text, "", "its name"),
    key("cluster.group[].members", Takes::Texts, "", "one to three nodes, first asked first"),
    key("cluster.group[].share", Takes::Number, "", "share of the fleet; shares add up to 1"),
    key("cluster.group[].tftp", Takes::Names, "of the fleet", "TFTP nodes of its phones"),
    key("cluster.phone-security-profile", Takes::Tables, "none", "phone security profiles"),
    key("cluster.phone-security-profile[].name", Takes::Text, "", "its name"),
    key("cluster.phone-security-profile[].share", Takes::Number, "", "share of the fleet"),
    key(
        "cluster.phone-security-profile[].encrypted-config",
        Takes::Truth,
        "false",
        "TFTP Encrypted Config",
    ),
    key(
        "cluster.phone-security-profile[].stale-keys",
        Takes::Quantity,
        "\"0%\"",
        "phones that hold another key than the database has",
    ),
    key(
        "cluster.phone-security-profile[].auth-mode",
        Takes::Word(&["string", "null-string", "existing-lsc", "existing-mic"]),
        "as each operation wants it",
        "how its phones prove to CAPF who they are; guide lsc",
    ),
    key(
        "cluster.phone-security-profile[].device-security-mode",
        Takes::Word(&["non-secure", "authenticated", "encrypted"]),
        "\"non-secure\"",
        "phones of the others register over TLS",
    ),
    key(
        "cluster.cost",
        Takes::Table,
        "guesses",
        "what work costs in virtual time; `calibrate` writes it",
    ),
    key("fleet", Takes::Table, "", "the phones"),
    key("fleet.phones", Takes::Whole, "", "how many, up to 16 000 000"),
    key("fleet.models", Takes::Shares, "8845", "models and their shares, which add up to 1"),
    key(
        "fleet.tftp",
        Takes::Names,
        "the first TFTP node",
        "a node, nodes that phones take turns at, or lists of two",
    ),
    key(
        "fleet.start",
        Takes::Word(&["factory", "itl-current", "itl-only", "ctl-only"]),
        "\"itl-current\"",
        "what phones hold at the start",
    ),
    key(
        "fleet.arrival",
        Takes::Table,
        "at once",
        "when phones are switched on that start with nothing",
    ),
    key("fleet.arrival.within", Takes::Length, "\"0s\"", "within this time"),
    key("fleet.site", Takes::Tables, "a LAN", "where phones are (virtual time)"),
    key("fleet.site[].name", Takes::Text, "", "its name"),
    key("fleet.site[].share", Takes::Number, "", "share of the fleet"),
    key("fleet.site[].link", Takes::Table, "a LAN", "the way to the cluster"),
    key("fleet.site[].link.rtt", Takes::Length, "\"500us\"", "there and back"),
    key("fleet.site[].link.jitter", Takes::Length, "\"0s\"", "added to each way, up to this"),
    key("fleet.site[].link.loss", Takes::Quantity, "\"0%\"", "datagrams that are lost, each way"),
    key(
        "fleet.site[].link.dns-failure",
        Takes::Quantity,
        "\"0%\"",
        "DNS queries without an answer",
    ),
    key(
        "fleet.site[].link.down",
        Takes::Quantity,
        "no limit",
        "rate towards the site: \"10Mbit/s\"",
    ),
    key(
        "cluster.secured-phone-url",
        Takes::Text,
        "of the release",
        "services of phones over HTTPS",
    ),
    key(
        "cluster.tvs-cipher",
        Takes::Text,
        "of the release",
        "what traces of TVS call the cipher of a session",
    ),
    key("cluster.node[].ports.tomcat", Takes::Whole, "8443", "TCP port of services over HTTPS"),
    key("cluster.node[].ports.tomcat-http", Takes::Whole, "8080", "TCP port of services over HTTP"),
    key("fleet.use", Takes::Tables, "none", "buttons that people press; guide buttons"),
    key("fleet.use[].kind", Takes::Text, "", "which button"),
    key("fleet.use[].rate", Takes::Text, "", "how often"),
    key("fleet.use[].from", Takes::Length, "the start", "from this time of the run on"),
    key("fleet.use[].for", Takes::Length, "", "for so long"),
    key("registration", Takes::Table, "not played", "phones register with CallManager"),
    key("registration.enabled", Takes::Truth, "true", "whether they do"),
    key(
        "registration.rate-per-node",
        Takes::Rate,
        "a guess",
        "registrations per second of a node; 0 is no limit",
    ),
    key("registration.expires", Takes::Length, "\"1h\"", "what phones ask for"),
    key(
        "registration.monitor",
        Takes::Length,
        "\"120s\"",
        "how long an earlier member must be back",
    ),
    key("registration.retry", Takes::Length, "a guess", "between two rounds through all members"),
    key("phone", Takes::Table, "as documented", "how a phone behaves"),
    key(
        "phone.boot-time",
        Takes::Text,
        "\"0s\"",
        "a length of time, or model: what the model's family takes",
    ),
    key("phone.think", Takes::Length, "\"0s\"", "pause between two files"),
    key("phone.tvs-think", Takes::Length, "\"0s\"", "pause before a question to a TVS server"),
    key(
        "phone.transport",
        Takes::Word(&["tftp", "http", "model"]),
        "\"tftp\"",
        "what is asked first",
    ),
    key("phone.http-timeout", Takes::Length, "a guess", "silence of HTTP"),
    key("phone.tftp-timeout", Takes::Length, "\"4s\"", "silence of TFTP before a try is over"),
    key("phone.tftp-tries", Takes::Whole, "5", "tries of TFTP"),
    key("phone.tftp-block-size", Takes::TextOrWhole, "512", "bytes, or model"),
    key("phone.tvs-timeout", Takes::Length, "\"5s\"", "silence of TVS"),
    key(
        "phone.dns-negative-ttl",
        Takes::Length,
        "a guess",
        "how long a missing record is believed",
    ),
    key(
        "phone.ip-mode",
        Takes::Word(&["dual", "ipv4", "ipv6"]),
        "\"dual\"",
        "which addresses of servers a phone can reach",
    ),
    key(
        "phone.tvs-session",
        Takes::Word(&["each", "model", "kept"]),
        "\"model\"",
        "whether a session with TVS is kept for the next file of a boot",
    ),
    key(
        "phone.ctl-generic",
        Takes::Truth,
        "true",
        "whether CTLFile.tlv is asked for behind CTLSEP<MAC>.tlv",
    ),
    key(
        "phone.checks-dates",
        Takes::Truth,
        "false",
        "whether phones look at the dates of certificates",
    ),
    key("phone.further-files", Takes::Texts, "none", "of ring-list and locale"),
    key(
        "phone.key-generation",
        Takes::Text,
        "\"0s\"",
        "how long a pair of keys takes: a length of time, or model",
    ),
    key(
        "phone.authentication-string",
        Takes::Text,
        "none",
        "what people type in at their phones for CAPF",
    ),
    key("event", Takes::Tables, "none", "the steps of the operator; guide steps"),
    key(
        "procedure",
        Takes::Tables,
        "none",
        "orders of steps of which one is played; whatif ranks them",
    ),
    key("procedure[].name", Takes::Text, "", "its name"),
    key("procedure[].about", Takes::Text, "\"\"", "one sentence"),
    key("procedure[].event", Takes::Tables, "none", "its steps, behind those of the scenario"),
    key("probe", Takes::Tables, "none", "what else certificates decide; guide probes"),
    key(
        "probe[].kind",
        Takes::Word(&[
            "sip-trunk",
            "conference-bridge",
            "axl",
            "uccx-login",
            "phone-vpn",
            "visual-voicemail",
            "802.1x",
            "phone-vpn-lsc",
            "phone-proxy",
        ]),
        "",
        "what is tried",
    ),
    key("probe[].name", Takes::Text, "what it tries", "what it is called"),
    key("probe[].node", Takes::Text, "", "at which node"),
    key(
        "probe[].peer",
        Takes::Text,
        "none",
        "the other server, whose certificate the node must trust",
    ),
    key("probe[].unit", Takes::Text, "of the kind", "by which of its trust stores"),
    key("probe[].trusted", Takes::Truth, "true", "whether the node trusts it at the start"),
    key(
        "probe[].phone",
        Takes::Text,
        "the first one",
        "the phone whose LSC a server judges, such as SEP0C75BD000000",
    ),
    key("probe[].mics", Takes::Truth, "false", "whether that server takes MICs, too"),
    key(
        "probe[].imports",
        Takes::Texts,
        "[\"start\"]",
        "when the peer trusts what the node presents: start, or behind these steps",
    ),
    key("slo", Takes::Tables, "none", "what must hold at the end"),
    key("slo[].expr", Takes::Text, "", "such as phones.stuck == 0 or fleet_ready.p99 <= 10m"),
    key("run", Takes::Table, "usual limits", "limits and dates of the run"),
    key("run.epoch", Takes::Text, "now", "date and time at the start: 2026-11-28T22:00:00Z"),
    key("run.time-zone", Takes::Text, "\"UTC\"", "by its name in the IANA database"),
    key("run.max-wall", Takes::Length, "\"10m\" live", "ends the run, settled or not"),
    key("run.transfers-in-flight", Takes::Whole, "a budget", "TFTP transfers at once"),
    key("run.lookups-in-flight", Takes::Whole, "900", "TVS lookups at once"),
    key("run.registrations-in-flight", Takes::Whole, "900", "registrations at once"),
    key("run.connections-in-flight", Takes::Whole, "900", "HTTP connections at once"),
    key("target", Takes::Table, "our own servers", "servers that are not ours"),
    key("target.tftp", Takes::Names, "", "address and port of one or two"),
    key("target.tvs", Takes::Text, "of the list", "address and port"),
    key("target.sip", Takes::Text, "of the config", "registrar over TCP: address and port"),
    key("target.sips", Takes::Text, "of the config", "registrar over TLS: address and port"),
];

/// Keys of a step beside the one that names its action.
const EVENT_KEYS: [(&str, Takes, &str); 5] = [
    ("name", Takes::Text, "what the step is called"),
    ("at", Takes::Length, "at this time of the run"),
    ("when", Takes::Word(&["fleet-settled"]), "when every phone has settled"),
    ("after", Takes::Word(&["previous"]), "right after the step before"),
    ("delay", Takes::Length, "so much later"),
];

/// Texts that are lengths of time.
const LENGTH: &str = r"^\s*[0-9][0-9_.]*\s*(ns|us|ms|s|m|h|d|y)\s*$";

impl Takes {
    fn schema(self) -> Value {
        let length = json!({ "type": "string", "pattern": LENGTH });
        let text = json!({ "type": "string" });
        match self {
            Takes::Text | Takes::Quantity => text,
            Takes::Word(words) => json!({ "enum": words }),
            Takes::Whole => json!({ "type": "integer", "minimum": 0 }),
            Takes::Number => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            Takes::Rate => json!({ "type": "number", "minimum": 0 }),
            Takes::Truth => json!({ "type": "boolean" }),
            // `think` takes the word `documented`, too.
            Takes::Length => json!({ "anyOf": [length, { "const": "documented" }] }),
            Takes::Texts => json!({ "type": "array", "items": text }),
            Takes::Names => json!({ "anyOf": [text, { "type": "array", "items":
                { "anyOf": [text, { "type": "array", "items": text }] } }] }),
            Takes::TextOrWhole => json!({ "type": ["string", "integer"] }),
            Takes::TruthOrLength => json!({ "anyOf": [{ "type": "boolean" }, length] }),
            Takes::Shares => {
                json!({ "type": "object", "additionalProperties": Takes::Number.schema() })
            }
            Takes::Lengths => json!({ "type": "object", "additionalProperties": length }),
            Takes::Table => json!({ "type": "object" }),
            Takes::Tables => json!({ "type": "array", "items": { "type": "object" } }),
        }
    }

    fn words(self) -> String {
        match self {
            Takes::Text => "text".to_owned(),
            Takes::Word(words) => words.join(" | "),
            Takes::Whole => "whole number".to_owned(),
            Takes::Number => "share, 0 to 1".to_owned(),
            Takes::Rate => "number".to_owned(),
            Takes::Truth => "true | false".to_owned(),
            Takes::Length => "length of time".to_owned(),
            Takes::Quantity => "quantity".to_owned(),
            Takes::Texts => "list of texts".to_owned(),
            Takes::Names => "name or names".to_owned(),
            Takes::TextOrWhole => "text or number".to_owned(),
            Takes::TruthOrLength => "true | false | length".to_owned(),
            Takes::Shares => "{ name = share }".to_owned(),
            Takes::Lengths => "{ name = length }".to_owned(),
            Takes::Table => "table".to_owned(),
            Takes::Tables => "tables".to_owned(),
        }
    }
}

/// The JSON schema of scenario files (draft 2020-12).
pub fn scenario_schema() -> Value {
    let mut root = table("", &KEYS.iter().collect::<Vec<_>>());
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    root["title"] = "resetstorm scenario".into();
    root["$defs"] = json!({ "event": event() });
    root
}

/// The schema of the table at `path` of these keys, which all lie below it.
fn table(path: &str, keys: &[&Key]) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for key in keys {
        let own = key.path.strip_prefix(path).unwrap_or(key.path).trim_start_matches('.');
        if own.contains(['.', '[']) || own.is_empty() {
            continue;
        }
        let below = |with: &str| -> Vec<&Key> {
            let prefix = format!("{}{with}", key.path);
            keys.iter().filter(|other| other.path.starts_with(&prefix)).copied().collect()
        };
        let mut value = match (key.takes, key.path) {
            (Takes::Tables, "event" | "procedure[].event") => {
                json!({ "type": "array", "items": { "$ref": "#/$defs/event" } })
            }
            (Takes::Tables, path) => {
                json!({ "type": "array", "items": table(&format!("{path}[]"), &below("[].")) })
            }
            (Takes::Table, "cluster.cost") => json!({ "type": "object" }),
            (Takes::Table, path) => table(path, &below(".")),
            (takes, _) => takes.schema(),
        };
        value["description"] = key.about.into();
        if key.default.is_empty() {
            required.push(own.to_owned());
        }
        properties.insert(own.to_owned(), value);
    }
    json!({ "type": "object", "properties": properties, "required": required,
        "additionalProperties": false })
}

fn event() -> Value {
    let mut properties = Map::new();
    for (name, takes, about) in EVENT_KEYS {
        let mut value = takes.schema();
        value["description"] = about.into();
        properties.insert(name.to_owned(), value);
    }
    for verb in verbs() {
        properties.insert(verb.key.to_owned(), verb.schema());
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The table of the only key with this name, as its header is written.
pub(super) fn table_of(name: &str) -> Option<String> {
    let mut tables = KEYS.iter().filter_map(|key| {
        let (table, last) = key.path.rsplit_once('.')?;
        (last == name).then_some(table)
    });
    let table = tables.next()?;
    let header = match table.strip_suffix("[]") {
        Some(array) => format!("[[{array}]]"),
        None => format!("[{table}]"),
    };
    (tables.next().is_none() && !header.contains("[]")).then_some(header)
}

/// Every key for people, in Markdown: what it takes, what it is otherwise, and what it means.
pub fn reference() -> String {
    let mut out =
        String::from("| key | takes | unless it is there | means |\n| --- | --- | --- | --- |\n");
    for key in KEYS {
        let default = if key.default.is_empty() { "must be there" } else { key.default };
        let takes = key.takes.words().replace('|', "\\|");
        out += &format!("| `{}` | {takes} | {default} | {} |\n", key.path, key.about);
    }
    out += "\nKeys of `[[event]]` and `[[procedure.event]]`: one that says when, and one that names \
            the action.\n\n| key | takes | means |\n| --- | --- | --- |\n";
    for (name, takes, about) in EVENT_KEYS {
        out += &format!("| `{name}` | {} | {about} |\n", takes.words().replace('|', "\\|"));
    }
    for verb in verbs() {
        out += &format!("| `{}` | {} | an action |\n", verb.key, verb.takes_words());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::raw::RawScenario;
    use super::*;

    /// The keys that the reader of scenarios knows in the table that `text` puts an unknown one in.
    fn known(text: &str) -> BTreeSet<String> {
        let error = toml::from_str::<RawScenario>(text).unwrap_err();
        let message = error.message().to_owned();
        assert!(message.contains("`zzz`"), "{text}: {message}");
        let (_, names) = message.split_once("expected ").unwrap_or_else(|| panic!("{message}"));
        // An earlier name of a key is no key of its own.
        let own = names.split('`').skip(1).step_by(2).filter(|name| *name != "asks-generic-ctl");
        own.map(str::to_owned).collect()
    }

    fn told(path: &str) -> BTreeSet<String> {
        let own = |key: &&Key| key.path.strip_prefix(path).map(|own| own.trim_start_matches('.'));
        let keys = KEYS.iter().collect::<Vec<_>>();
        let all = keys.iter().filter_map(own);
        all.filter(|own| !own.is_empty() && !own.contains(['.', '['])).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_of_keys_is_what_the_reader_knows() {
        const HEAD: &str = "schema=1\nname='t'\n";
        const FLEET: &str = "[fleet]\nphones=1\n";
        const NODE: &str = "[[cluster.node]]\nname='a'\n";
        let with = |rest: &str| format!("{HEAD}{rest}");
        let cases = [
            ("", with("zzz=1\n")),
            ("cluster.", with("[cluster]\nzzz=1\n")),
            ("cluster.fault[].", with("[[cluster.fault]]\nzzz=1\n")),
            ("cluster.capf.", with("[cluster.capf]\nzzz=1\n")),
            ("cluster.node[].", with("[[cluster.node]]\nzzz=1\n")),
            ("cluster.node[].ports.", with(&format!("{NODE}ports={{zzz=1}}\n"))),
            ("cluster.group[].", with(&format!("{NODE}[[cluster.group]]\nzzz=1\n"))),
            (
                "cluster.phone-security-profile[].",
                with("[[cluster.phone-security-profile]]\nzzz=1\n"),
            ),
            ("fleet.", with(&format!("{NODE}[fleet]\nzzz=1\n"))),
            ("fleet.arrival.", with(&format!("{NODE}{FLEET}[fleet.arrival]\nzzz=1\n"))),
            ("fleet.site[].", with(&format!("{NODE}{FLEET}[[fleet.site]]\nzzz=1\n"))),
            (
                "fleet.site[].link.",
                with(&format!(
                    "{NODE}{FLEET}[[fleet.site]]\nname='a'\nshare=1.0\nlink={{zzz=1}}\n"
                )),
            ),
            ("fleet.use[].", with(&format!("{NODE}{FLEET}[[fleet.use]]\nzzz=1\n"))),
            ("registration.", with(&format!("{NODE}{FLEET}[registration]\nzzz=1\n"))),
            ("phone.", with(&format!("{NODE}{FLEET}[phone]\nzzz=1\n"))),
            ("procedure[].", with(&format!("{NODE}{FLEET}[[procedure]]\nzzz=1\n"))),
            ("slo[].", with(&format!("{NODE}{FLEET}[[slo]]\nzzz=1\n"))),
            ("run.", with(&format!("{NODE}{FLEET}[run]\nzzz=1\n"))),
            ("target.", with(&format!("{NODE}{FLEET}[target]\nzzz=1\n"))),
        ];
        for (path, text) in cases {
            assert_eq!(told(path), known(&text), "{path}");
        }
        let event = known(&with(&format!("{NODE}{FLEET}[[event]]\nzzz=1\n")));
        let mut own: BTreeSet<String> = verbs().map(|verb| verb.key.to_owned()).collect();
        own.extend(EVENT_KEYS.map(|(name, ..)| name.to_owned()));
        assert_eq!(own, event);
    }

    #[test]
    fn the_reference_names_every_key_once() {
        let text = reference();
        let (own, _) = text.split_once("Keys of `[[event]]`").unwrap();
        for key in KEYS {
            assert_eq!(own.matches(&format!("| `{}` |", key.path)).count(), 1, "{}", key.path);
        }
        assert!(verbs().all(|verb| text.contains(&format!("| `{}` |", verb.key))));
    }
}
