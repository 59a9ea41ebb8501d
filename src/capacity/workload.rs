use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::{DeviceName, Purpose, stream};
use crate::crypto::{Certificate, Sha256};
use crate::measure::LoadFault;
use crate::wire::{FileName, Seal, same_name, tvs};

/// A part of a mix: what kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// All files of the boot of one phone of the device list.
    Boot,
    /// One file of the list of names.
    Known,
    /// One file that no server has.
    Unknown,
    /// TVS: is this certificate known?
    Verify,
    /// TVS: which certificate has this issuer and serial number?
    Query,
    /// TVS: a question about a certificate that nobody knows.
    Random,
    /// CAPF: the enrolment of a phone of the device list, each once.
    Enrol,
    /// SIP: the registration of a phone of the device list, in turns.
    Register,
}

impl Part {
    /// Every part, in the order of outputs.
    pub const ALL: [Part; 8] = [
        Part::Boot,
        Part::Known,
        Part::Unknown,
        Part::Verify,
        Part::Query,
        Part::Random,
        Part::Enrol,
        Part::Register,
    ];

    /// The name in mixes.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Boot => "boot",
            Part::Known => "known",
            Part::Unknown => "unknown",
            Part::Verify => "verify",
            Part::Query => "query",
            Part::Random => "random",
            Part::Enrol => "enrol",
            Part::Register => "register",
        }
    }

    /// Whether TVS is asked.
    pub const fn is_tvs(self) -> bool {
        matches!(self, Part::Verify | Part::Query | Part::Random)
    }

    /// Whether a server of files is asked for single ones.
    pub const fn is_file(self) -> bool {
        matches!(self, Part::Known | Part::Unknown)
    }
}

/// A phone of the device list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name, by its MAC address.
    pub name: DeviceName,
    /// Its model, such as `8841`.
    pub model: String,
}

impl Device {
    /// The name in questions to TVS.
    fn tvs_name(&self) -> String {
        format!("CP-{}-{}", self.model, self.name)
    }
}

/// What TVS is asked, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Is this certificate known?
    Verify {
        /// The certificate (DER).
        certificate: Vec<u8>,
    },
    /// Which certificate has this issuer and serial number?
    Query {
        /// Subject of the signer.
        subject: String,
        /// Issuer of the signer.
        issuer: String,
        /// Serial number of the signer.
        serial: Vec<u8>,
    },
}

impl Ask {
    fn question(&self) -> tvs::Question<'_> {
        match self {
            Ask::Verify { certificate } => tvs::Question::Verify { certificate },
            Ask::Query { subject, issuer, serial } => {
                tvs::Question::Query { subject, issuer, serial }
            }
        }
    }

    /// The part of a mix that it belongs to.
    pub const fn part(&self) -> Part {
        match self {
            Ask::Verify { .. } => Part::Verify,
            Ask::Query { .. } => Part::Query,
        }
    }
}

/// Who comes to CAPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A phone of the list, which has not come yet.
    Phone(DeviceName),
    /// A phone that no CAPF knows: it is told so, and nothing is used up.
    Stranger,
    /// Nobody: every phone of the list has come.
    Nobody,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Phone(name) => write!(f, "enrolment of {name}"),
            Caller::Stranger => f.write_str("enrolment of an unknown phone"),
            Caller::Nobody => f.write_str("enrolment without a phone"),
        }
    }
}

/// What one request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A session at CAPF.
    Enrolment(Caller),
    /// A registration of this phone.
    Registration(Device),
    /// A file by its name.
    File(Arc<str>),
    /// A question to TVS.
    Question {
        /// What is asked.
        ask: Arc<Ask>,
        /// How it is named in outputs.
        label: Arc<str>,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::File(name) => f.write_str(name),
            What::Question { label, .. } => f.write_str(label),
            What::Enrolment(caller) => write!(f, "{caller}"),
            What::Registration(device) => write!(f, "registration of {}", device.name),
        }
    }
}

/// The right answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever comes: it is being learnt, or differs from one time to the next.
    Anything,
    /// A file with this length in bytes and SHA-256.
    File {
        /// Bytes.
        length: u64,
        /// SHA-256 of the content.
        digest: [u8; 32],
    },
    /// A file whose reference the trust lists do not accept, and why.
    Untrusted(String),
    /// No such file.
    Missing,
    /// TVS: known with these roles, or not known.
    Tvs(Option<Vec<u8>>),
}

impl Expected {
    fn digest(&self) -> Option<[u8; 32]> {
        match self {
            Expected::File { digest, .. } => Some(*digest),
            _ => None,
        }
    }
}

/// One request and its right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What is asked for.
    pub what: What,
    /// The right answer.
    pub expected: Expected,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A whole file.
    File(Content),
    /// "No such file".
    NoFile,
    /// A TVS message.
    Answer(Vec<u8>),
    /// A session at CAPF, which was judged while it lasted, ended as it should; with what was
    /// missing to judge the signature of the LSC.
    Enrolled(Option<String>),
    /// The phone is registered.
    Registered,
}

/// A file that was read; its bytes are kept only where they are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Bytes.
    pub length: u64,
    /// SHA-256 of them.
    pub digest: [u8; 32],
    /// The bytes themselves, if they were asked for and are not too many.
    pub bytes: Option<Vec<u8>>,
}

/// A file that is being read: its digest grows with it.
#[derive(Debug)]
pub struct Reading {
    length: u64,
    digest: Sha256,
    bytes: Option<Vec<u8>>,
}

/// Longest file whose bytes are kept: more than a phone takes.
const KEPT_MAX: usize = 600_000;

impl Reading {
    /// The beginning; with `keep` the bytes can be looked at in the end.
    pub fn begin(keep: bool) -> Reading {
        Reading { length: 0, digest: Sha256::of_nothing(), bytes: keep.then(Vec::new) }
    }

    /// The next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.digest.update(bytes);
        self.bytes = self.bytes.take().filter(|kept| kept.len() + bytes.len() <= KEPT_MAX);
        if let Some(kept) = &mut self.bytes {
            kept.extend_from_slice(bytes);
        }
    }

    /// The whole file.
    pub fn end(self) -> Content {
        Content { length: self.length, digest: self.digest.finish(), bytes: self.bytes }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub fault: LoadFault,
    /// What the server said, or how it broke the protocol; fit to be shown.
    pub said: Option<String>,
}

impl From<LoadFault> for Failure {
    fn from(fault: LoadFault) -> Failure {
        Failure { fault, said: None }
    }
}

impl Op {
    /// A request whose answer is yet to be learnt.
    pub fn unlearnt(what: What) -> Op {
        Op { what, expected: Expected::Anything }
    }

    /// The TVS message of this request; empty for a file.
    pub fn tvs_request(&self, session_id: u32, device_name: &str) -> Vec<u8> {
        match &self.what {
            What::File(_) | What::Enrolment(_) | What::Registration(_) => Vec::new(),
            What::Question { ask, .. } => {
                tvs::Request { session_id, device_name, question: ask.question() }.encode()
            }
        }
    }

    /// Compares an answer with the right one; `session_id` is that of the request.
    ///
    /// # Errors
    /// What is wrong, and in words with the name of the file or question.
    pub fn check(&self, got: &Got, session_id: u32) -> Result<(), (LoadFault, String)> {
        let wrong = |fault, how: String| Err((fault, format!("{}: {how}", self.what)));
        match (&self.expected, got) {
            (_, Got::Answer(message)) => self.check_answer(message, session_id),
            (Expected::Anything, _)
            | (Expected::Missing, Got::NoFile)
            | (_, Got::Enrolled(_) | Got::Registered) => Ok(()),
            (Expected::Untrusted(why), _) => wrong(LoadFault::WrongSignature, why.clone()),
            (Expected::File { .. }, Got::NoFile) => {
                wrong(LoadFault::Missing, "the server says that it has no such file".to_owned())
            }
            (Expected::File { length, .. }, Got::File(file)) if file.length != *length => {
                let how = format!("{} bytes instead of {length}", file.length);
                wrong(LoadFault::WrongBytes, how)
            }
            (Expected::File { digest, .. }, Got::File(file)) => {
                if file.digest == *digest {
                    return Ok(());
                }
                let how = format!("SHA-256 {} instead of {}", start(&file.digest), start(digest));
                wrong(LoadFault::WrongBytes, how)
            }
            (Expected::Missing | Expected::Tvs(_), Got::File(file)) => {
                let how = format!("{} bytes of a file that was not there", file.length);
                wrong(LoadFault::Unexpected, how)
            }
            (Expected::Tvs(_), Got::NoFile) => wrong(LoadFault::Protocol, "no answer".to_owned()),
        }
    }

    /// The answer must belong to the request, hold the certificate that was asked for, and say
    /// what the reference says.
    fn check_answer(&self, message: &[u8], session_id: u32) -> Result<(), (LoadFault, String)> {
        let wrong = |how: String| Err((LoadFault::WrongAnswer, format!("{}: {how}", self.what)));
        let response = match tvs::Response::parse(message) {
            Ok(response) => response,
            Err(error) => return Err((LoadFault::Protocol, format!("{}: {error}", self.what))),
        };
        if response.session_id != session_id {
            return wrong("an answer of another session".to_owned());
        }
        let What::Question { ask, .. } = &self.what else {
            return wrong("a TVS message instead of a file".to_owned());
        };
        let command = match **ask {
            Ask::Verify { .. } => tvs::Command::VerifyResponse,
            Ask::Query { .. } => tvs::Command::QueryResponse,
        };
        if response.command != command {
            return wrong("an answer to another kind of question".to_owned());
        }
        let known = response.known;
        if let (Ask::Query { issuer, serial, .. }, Some(found)) =
            (&**ask, known.and_then(|known| known.certificate))
        {
            let fits =
                |found: Certificate| found.serial() == serial && same_name(found.issuer(), issuer);
            if !Certificate::from_der(found).is_ok_and(fits) {
                return wrong("the certificate is not the one that was asked for".to_owned());
            }
        }
        match (&self.expected, known.map(|known| known.roles)) {
            (Expected::Tvs(Some(roles)), Some(found)) if found != &roles[..] => {
                wrong(format!("roles {found:?} instead of {roles:?}"))
            }
            (Expected::Tvs(Some(_)), None) => wrong("not known".to_owned()),
            (Expected::Tvs(None), Some(_)) => wrong("known".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The first bytes of a digest in hex.
fn start(digest: &[u8; 32]) -> String {
    let [a, b, c, d, ..] = digest;
    format!("{a:02x}{b:02x}{c:02x}{d:02x}…")
}

/// What is asked for, before the right answers are known.
#[derive(Clone, Debug, Default)]
pub struct WorkloadSpec {
    /// Seed of every choice.
    pub seed: u64,
    /// Parts and their shares, which add up to 1.
    pub mix: Vec<(Part, f64)>,
    /// Names of single files.
    pub names: Vec<String>,
    /// Phones whose boots are played.
    pub devices: Vec<Device>,
    /// Further files of every boot.
    pub optional: Vec<String>,
    /// Questions to TVS with their names in outputs.
    pub asks: Vec<(String, Ask)>,
    /// Questions about certificates that nobody knows.
    pub random: Vec<(String, Ask)>,
}

impl WorkloadSpec {
    /// Every request whose right answer must be learnt, each once.
    pub fn to_learn(&self) -> Vec<Op> {
        let known = self.names.iter().filter(|_| self.has(Part::Known));
        let mut names: Vec<String> = known.cloned().collect();
        if self.has(Part::Boot) {
            names.push(FileName::Itl(None).to_string());
            names.extend(self.optional.iter().cloned());
            for device in &self.devices {
                names.extend(candidates(device).into_iter().flatten());
            }
        }
        names.sort();
        names.dedup();
        let files = names.iter().map(|name| Op::unlearnt(What::File(name.as_str().into())));
        let asked = |part: &Part| self.has(*part);
        let asks = self.asks.iter().filter(|(_, ask)| asked(&ask.part()));
        let asks = asks.map(|(label, ask)| Op::unlearnt(question(label, ask)));
        // Nobody enrols before the load; that CAPF is there is learnt all the same.
        let stranger = self.has(Part::Enrol).then(stranger);
        let first = self.devices.first().filter(|_| self.has(Part::Register));
        let first = first.map(|device| Op::unlearnt(What::Registration(device.clone())));
        files.chain(asks).chain(stranger).chain(first).collect()
    }

    /// What is left of names and phones when those are taken out that the server does not have,
    /// and what is to be said about them. A phone is there if its configuration is.
    pub fn without_missing(&self, learnt: &Learnt) -> (WorkloadSpec, Vec<String>) {
        let missing = |name: &String| matches!(learnt.get(name), Some(Expected::Missing));
        let mut said = Vec::new();
        let mut spec = self.clone();
        if self.has(Part::Known) {
            let gone = |name: &&String| missing(name);
            let absent: Vec<String> =
                self.names.iter().filter(gone).map(|name| quoted(name)).collect();
            said.extend(absence("names", "are not on the server", self.names.len(), &absent));
            spec.names.retain(|name| !missing(name));
        }
        if self.has(Part::Boot) {
            let gone = |device: &Device| candidates(device)[2].iter().all(missing);
            let absent = self.devices.iter().filter(|device| gone(device));
            let absent: Vec<String> = absent.map(|device| device.name.to_string()).collect();
            let what = "have no configuration on the server";
            said.extend(absence("phones", what, self.devices.len(), &absent));
            spec.devices.retain(|device| !gone(device));
        }
        (spec, said)
    }

    /// A part of the mix of which nothing is left.
    pub fn empty_part(&self) -> Option<Part> {
        let no_phone = self.devices.is_empty();
        [
            (Part::Known, self.names.is_empty()),
            (Part::Boot, no_phone),
            (Part::Enrol, no_phone),
            (Part::Register, no_phone),
        ]
        .into_iter()
        .find_map(|(part, is_empty)| (is_empty && self.has(part)).then_some(part))
    }

    /// The phones that register.
    pub fn registering(&self) -> &[Device] {
        if self.has(Part::Register) { &self.devices } else { &[] }
    }

    fn has(&self, part: Part) -> bool {
        self.mix.iter().any(|(found, share)| *found == part && *share > 0.0)
    }
}

/// The files that a booting phone asks for: of each row the first that is there.
fn candidates(device: &Device) -> [Vec<String>; 3] {
    let own = Some(device.name);
    let rows: [&[FileName]; 3] = [
        &[FileName::Ctl(own)],
        &[FileName::Itl(own), FileName::Itl(None)],
        &[FileName::Config(own, Seal::Signed), FileName::Config(own, Seal::Plain)],
    ];
    rows.map(|row| row.iter().map(ToString::to_string).collect())
}

/// A name as it can be shown: without control characters.
fn quoted(name: &str) -> String {
    format!("`{}`", name.escape_debug())
}

/// How many are absent, with the first of them.
fn absence(what: &str, how: &str, of: usize, absent: &[String]) -> Option<String> {
    /// Examples that are named (choice).
    const SHOWN: usize = 5;
    let first = absent[..absent.len().min(SHOWN)].join(", ");
    let more = if absent.len() > SHOWN { ", ..." } else { "" };
    (!absent.is_empty()).then(|| {
        let count = absent.len();
        format!("{count} of {of} {what} {how} and are not asked for: {first}{more}")
    })
}

fn stranger() -> Op {
    Op::unlearnt(What::Enrolment(Caller::Stranger))
}

fn question(label: &str, ask: &Ask) -> What {
    What::Question { ask: Arc::new(ask.clone()), label: label.into() }
}

/// The right answers, by the name of the file or question.
pub type Learnt = BTreeMap<String, Expected>;

/// The load: which requests come one after the other, and their right answers.
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    /// Parts with the sum of the shares up to each.
    mix: Vec<(Part, f64)>,
    /// The starts of each part, which take turns.
    starts: BTreeMap<Part, Vec<Vec<Arc<Op>>>>,
    /// Digests of all files that are asked for.
    digests: HashSet<[u8; 32]>,
    tvs_names: Vec<String>,
    /// The phones that enrol, and how many of them have come in all levels: nobody comes twice.
    enrolling: Arc<[DeviceName]>,
    enrolled: Arc<AtomicUsize>,
}

impl Workload {
    /// The load of a specification with the answers that were learnt; a request without one may be
    /// answered as the server likes.
    pub fn new(spec: &WorkloadSpec, learnt: &Learnt) -> Workload {
        let op = |what: What| {
            let expected = learnt.get(&what.to_string()).cloned().unwrap_or(Expected::Anything);
            Arc::new(Op { what, expected })
        };
        let file = |name: &str| op(What::File(name.into()));
        let missing = |name: &str| matches!(learnt.get(name), Some(Expected::Missing));
        let boot = |device: &Device| {
            let mut files = Vec::new();
            for row in candidates(device) {
                let there = row.iter().position(|name| !missing(name)).unwrap_or(row.len() - 1);
                files.extend(row[..=there].iter().map(|name| file(name)));
            }
            files.extend(spec.optional.iter().map(|name| file(name)));
            files
        };
        let random = |(label, ask): &(String, Ask)| {
            vec![Arc::new(Op { what: question(label, ask), expected: Expected::Tvs(None) })]
        };
        // What is not in the mix is not asked for, not even as a probe.
        let names = if spec.has(Part::Known) { &spec.names[..] } else { &[] };
        let devices = if spec.has(Part::Boot) { &spec.devices[..] } else { &[] };
        let registering = spec.registering();
        let register = |device: &Device| vec![op(What::Registration(device.clone()))];
        let mut starts = BTreeMap::from([
            (Part::Known, names.iter().map(|name| vec![file(name)]).collect()),
            (Part::Boot, devices.iter().map(boot).collect()),
            (Part::Random, spec.random.iter().map(random).collect()),
            (Part::Register, registering.iter().map(register).collect()),
        ]);
        for (label, ask) in &spec.asks {
            let asks: &mut Vec<_> = starts.entry(ask.part()).or_default();
            asks.push(vec![op(question(label, ask))]);
        }
        let mut sum = 0.0;
        let mix = spec.mix.iter().map(|&(part, share)| {
            sum += share;
            (part, sum)
        });
        Workload {
            seed: spec.seed,
            mix: mix.collect(),
            starts,
            digests: learnt.values().filter_map(Expected::digest).collect(),
            tvs_names: spec.devices.iter().map(Device::tvs_name).collect(),
            enrolling: spec.devices.iter().map(|device| device.name).collect(),
            enrolled: Arc::default(),
        }
    }

    /// The requests of the `ordinal`-th start, one after the other.
    pub fn item(&self, ordinal: u64) -> Vec<Arc<Op>> {
        let mut draws = stream(self.seed, ordinal, Purpose::Load);
        match self.part(draws.unit()) {
            Part::Unknown => vec![Arc::new(unknown(draws.next_u64()))],
            Part::Enrol => {
                let next = self.enrolled.fetch_add(1, Ordering::Relaxed);
                let caller = self.enrolling.get(next).copied();
                let caller = caller.map_or(Caller::Nobody, Caller::Phone);
                vec![Arc::new(Op::unlearnt(What::Enrolment(caller)))]
            }
            part => pick(self.starts(part), ordinal).cloned().unwrap_or_default(),
        }
    }

    fn starts(&self, part: Part) -> &[Vec<Arc<Op>>] {
        self.starts.get(&part).map_or(&[], Vec::as_slice)
    }

    /// Whether this is the content of any file that is asked for.
    pub fn has_content(&self, content: &Content) -> bool {
        self.digests.contains(&content.digest)
    }

    /// One request that tells whether the server is alive: of those that the load has, one with
    /// an answer, and of these the shortest.
    pub fn probe(&self) -> Option<Arc<Op>> {
        let good = |op: &&Arc<Op>| !matches!(op.expected, Expected::Missing);
        let length = |op: &&Arc<Op>| match op.expected {
            Expected::File { length, .. } => length,
            _ => u64::MAX,
        };
        let all =
            |parts: &'static [Part]| parts.iter().flat_map(|&part| self.starts(part)).flatten();
        let files = all(&[Part::Known, Part::Boot]).filter(good).min_by_key(length);
        let questions = || all(&[Part::Query, Part::Verify, Part::Random, Part::Register]).next();
        let enrols = self.mix.iter().any(|(part, _)| *part == Part::Enrol);
        files.or_else(questions).cloned().or_else(|| enrols.then(|| Arc::new(stranger())))
    }

    /// The device name in the `ordinal`-th question to TVS.
    pub fn tvs_name(&self, ordinal: u64) -> &str {
        pick(&self.tvs_names, ordinal).map_or("CP-8841-SEP001122334455", String::as_str)
    }

    /// Requests of one start on average; `None` without any load.
    pub fn mean_length(&self) -> Option<f64> {
        let boots = self.starts(Part::Boot);
        let boot = boots.iter().map(Vec::len).sum::<usize>() as f64 / boots.len().max(1) as f64;
        let mut before = 0.0;
        let mean = self.mix.iter().map(|(part, upto)| {
            let share = upto - before;
            before = *upto;
            if *part == Part::Boot { share * boot } else { share }
        });
        (!self.mix.is_empty()).then(|| mean.sum())
    }

    fn part(&self, draw: f64) -> Part {
        let found = self.mix.iter().find(|(_, upto)| draw < *upto).or(self.mix.last());
        found.map_or(Part::Known, |(part, _)| *part)
    }
}

fn pick<T>(all: &[T], ordinal: u64) -> Option<&T> {
    (!all.is_empty()).then(|| &all[(ordinal % all.len() as u64) as usize])
}

/// The config of a phone that nobody has: its MAC address is a locally administered one.
fn unknown(draw: u64) -> Op {
    let [_, _, _, mac @ ..] = (draw >> 24).to_be_bytes();
    let device = DeviceName::of_mac([2, mac[0], mac[1], mac[2], mac[3], mac[4]]);
    let name = FileName::Config(Some(device), Seal::Signed);
    Op { what: What::File(name.into()), expected: Expected::Missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mix: &[(Part, f64)]) -> WorkloadSpec {
        WorkloadSpec {
            seed: 1,
            mix: mix.to_vec(),
            names: vec!["a".into(), "b".into()],
            devices: vec![Device {
                name: "SEP001122334455".parse().unwrap(),
                model: "7841".into(),
            }],
            optional: vec!["ringlist.xml".into()],
            ..WorkloadSpec::default()
        }
    }

    fn names(ops: &[Arc<Op>]) -> Vec<String> {
        ops.iter().map(|op| op.what.to_string()).collect()
    }

    fn file(bytes: &[u8]) -> Content {
        let mut reading = Reading::begin(true);
        bytes.chunks(3).for_each(|chunk| reading.add(chunk));
        reading.end()
    }

    fn learnt(files: &[(&str, Option<&[u8]>)]) -> Learnt {
        let expected = |content: Option<&[u8]>| match content {
            Some(bytes) => {
                let Content { length, digest, .. } = file(bytes);
                Expected::File { length, digest }
            }
            None => Expected::Missing,
        };
        files.iter().map(|(name, content)| ((*name).to_owned(), expected(*content))).collect()
    }

    #[test]
    fn a_mix_has_its_shares_and_the_same_load_comes_again() {
        let mix = [(Part::Known, 0.7), (Part::Unknown, 0.3)];
        let load = Workload::new(&spec(&mix), &Learnt::new());
        let items: Vec<Vec<String>> = (0..2_000).map(|at| names(&load.item(at))).collect();
        let absent = items.iter().filter(|item| item[0].starts_with("SEP02")).count();
        assert!((520..680).contains(&absent), "{absent}");
        assert_eq!(names(&load.item(7)), items[7]);
        let name = unknown(0x1234_5678_9ABC_DEF0).what.to_string();
        assert_eq!(name, "SEP02123456789A.cnf.xml.sgn", "the first bits of the draw");
    }

    #[test]
    fn a_boot_asks_for_what_a_phone_asks_for_until_a_file_is_there() {
        let spec = spec(&[(Part::Boot, 1.0)]);
        let device = "SEP001122334455";
        let (ctl, itl) = (format!("CTL{device}.tlv"), format!("ITL{device}.tlv"));
        let config = format!("{device}.cnf.xml.sgn");
        let generic: &[(&str, Option<&[u8]>)] =
            &[(&ctl, None), (&itl, None), ("ITLFile.tlv", Some(b"list")), (&config, Some(b"c"))];
        let load = Workload::new(&spec, &learnt(generic));
        assert_eq!(names(&load.item(0)), [&ctl, &itl, "ITLFile.tlv", &config, "ringlist.xml"]);
        assert_eq!(load.probe().unwrap().what.to_string(), config, "the shortest that is there");
        let own: &[(&str, Option<&[u8]>)] =
            &[(&ctl, Some(b"ctl")), (&itl, Some(b"itl")), (&config, None)];
        let plain = format!("{device}.cnf.xml");
        let load = Workload::new(&spec, &learnt(own));
        assert_eq!(names(&load.item(0)), [&ctl, &itl, &config, &plain, "ringlist.xml"]);
        let to_learn: Vec<String> = spec.to_learn().iter().map(|op| op.what.to_string()).collect();
        assert!(to_learn.contains(&plain) && !to_learn.contains(&"a".to_owned()));
    }

    #[test]
    fn other_bytes_and_other_names_are_wrong_answers() {
        let load = Workload::new(
            &spec(&[(Part::Known, 1.0)]),
            &learnt(&[("a", Some(b"good")), ("b", None)]),
        );
        let (a, b) = (&load.item(0)[0], &load.item(1)[0]);
        let fault = |op: &Arc<Op>, got| op.check(&got, 0).map_err(|(fault, _)| fault);
        assert_eq!(fault(a, Got::File(file(b"good"))), Ok(()));
        assert_eq!(fault(a, Got::File(file(b"goof"))), Err(LoadFault::WrongBytes));
        assert_eq!(fault(a, Got::NoFile), Err(LoadFault::Missing));
        assert_eq!(fault(b, Got::NoFile), Ok(()));
        assert_eq!(fault(b, Got::File(file(b"x"))), Err(LoadFault::Unexpected));
        let (_, words) = a.check(&Got::File(file(b"longer")), 0).unwrap_err();
        assert_eq!(words, "a: 6 bytes instead of 4");
    }

    #[test]
    fn names_and_phones_that_the_server_does_not_have_are_named_and_no_load() {
        let mut spec = spec(&[(Part::Known, 0.5), (Part::Boot, 0.5)]);
        spec.names.push("typo\n".into());
        let device = "SEP001122334455";
        let there = learnt(&[("a", Some(b"a")), ("b", Some(b"b")), ("typo\n", None)]);
        let (left, said) = spec.without_missing(&there);
        assert_eq!((left.names.len(), left.devices.len()), (2, 1));
        assert_eq!(said, ["1 of 3 names are not on the server and are not asked for: `typo\\n`"]);
        let (sgn, plain) = (format!("{device}.cnf.xml.sgn"), format!("{device}.cnf.xml"));
        let gone = learnt(&[("a", None), (&sgn, None), (&plain, None)]);
        let (left, said) = spec.without_missing(&gone);
        assert!(said[1].contains("1 of 1 phones") && said[1].contains(device), "{said:?}");
        assert_eq!(left.empty_part(), Some(Part::Boot));
        let (left, _) = spec.without_missing(&learnt(&[(&sgn, None), (&plain, Some(b"c"))]));
        assert_eq!(left.empty_part(), None);
    }

    #[test]
    fn each_phone_enrols_once_in_all_levels_and_a_stranger_is_the_probe() {
        let load = Workload::new(&spec(&[(Part::Enrol, 1.0)]), &Learnt::new());
        let again = load.clone();
        assert_eq!(names(&load.item(0)), ["enrolment of SEP001122334455"]);
        assert_eq!(names(&again.item(0)), ["enrolment without a phone"], "of another level");
        assert_eq!(load.probe().unwrap().what, What::Enrolment(Caller::Stranger));
        assert_eq!(load.mean_length(), Some(1.0));
    }

    #[test]
    fn phones_register_in_turns_and_the_first_one_is_learnt_and_the_probe() {
        let mut spec = spec(&[(Part::Register, 1.0)]);
        let other = Device { name: "SEP001122334456".parse().unwrap(), ..spec.devices[0].clone() };
        spec.devices.push(other);
        let first = "registration of SEP001122334455";
        let learnt: Vec<String> = spec.to_learn().iter().map(|op| op.what.to_string()).collect();
        assert_eq!(learnt, [first]);
        let load = Workload::new(&spec, &Learnt::new());
        let [one, two, three] = [0, 1, 2].map(|ordinal| names(&load.item(ordinal)));
        assert_eq!(
            (one, two),
            (vec![first.into()], vec!["registration of SEP001122334456".into()])
        );
        assert_eq!(three, [first], "and again");
        assert_eq!(load.probe().unwrap().what.to_string(), first);
        assert_eq!(load.item(0)[0].check(&Got::Registered, 0), Ok(()));
    }

    #[test]
    fn a_file_of_any_size_is_compared_without_being_kept() {
        let mut reading = Reading::begin(true);
        (0..200).for_each(|_| reading.add(&[7; 10_000]));
        let content = reading.end();
        assert_eq!((content.length, content.bytes), (2_000_000, None));
        assert_eq!(content.digest, crate::crypto::sha256(&vec![7; 2_000_000]));
    }

    #[test]
    fn tvs_answers_are_compared_with_the_reference() {
        let ask = Ask::Verify { certificate: vec![0x30, 0] };
        let op = |expected| Op { what: question("verify x", &ask), expected };
        let answer = |session_id, roles: Option<&'static [u8]>| {
            let known = roles.map(|roles| tvs::Known { certificate: None, roles, ttl_s: 60 });
            let command = tvs::Command::VerifyResponse;
            Got::Answer(tvs::Response { command, session_id, known }.encode())
        };
        let known = op(Expected::Tvs(Some(vec![0, 2])));
        assert_eq!(known.check(&answer(5, Some(&[0, 2])), 5), Ok(()));
        for wrong in [answer(5, Some(&[0])), answer(5, None), answer(6, Some(&[0, 2]))] {
            assert_eq!(known.check(&wrong, 5).unwrap_err().0, LoadFault::WrongAnswer);
        }
        let unknown = op(Expected::Tvs(None));
        assert_eq!(unknown.check(&answer(5, None), 5), Ok(()));
        assert_eq!(unknown.check(&answer(5, Some(&[0])), 5).unwrap_err().0, LoadFault::WrongAnswer);
        let broken = Got::Answer(vec![1, 2, 3]);
        assert_eq!(unknown.check(&broken, 5).unwrap_err().0, LoadFault::Protocol);
    }
}
