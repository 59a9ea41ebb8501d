use std::net::IpAddr;

use serde_json::{Value, json};

use crate::base::words::{bytes, seconds};
use crate::base::{DeviceName, PhoneId, Span, Time};
use crate::measure::{
    Incident, Journal, Listen, Presented, Slice, StepEnd, StepKind, Summary, Trace,
};
use crate::phone::{
    AcceptPath, Button, CertificatePath, Fact, FileKind, LscEnd, LscFact, Outcome, PressEnd,
    PressFault, Refusal, Transport, TvsFault, Unreached, Unregistered,
};
use crate::play::{Records, group_of};
use crate::scenario::Plan;
use crate::wire::AuthMode;
use crate::wire::tvs::Command;

/// What a fact of its registration is in words, if it is one.
fn registration(fact: Fact) -> Option<String> {
    Some(match fact {
        Fact::Registering => "registers at its CallManager group".into(),
        Fact::Registered { member, .. } => {
            format!("REGISTERED with member {} of its group", u16::from(member) + 1)
        }
        Fact::RegistrationFailed { cause, .. } => {
            format!("is not registered: {}", unregistered(cause))
        }
        Fact::RegistrationFull { .. } => "the node is full (503)".into(),
        Fact::RegistrationRefreshed { .. } => "is registered anew with the same member".into(),
        Fact::RegistrationFailover { .. } => "asks another member of its group".into(),
        Fact::RegistrationLost { .. } => "LOST its connection to the node".into(),
        Fact::FallbackDue => "an earlier member is back: waits before it falls back".into(),
        Fact::FellBack { .. } => "falls back to the earlier member".into(),
        Fact::FallbackFailed => "cannot fall back, and stays where it is registered".into(),
        Fact::Unregistered { cause, .. } => format!("UNREGISTERED: {}", unregistered(cause)),
        _ => return None,
    })
}

/// Why a phone is not registered, in words.
pub(super) const fn unregistered(cause: Unregistered) -> &'static str {
    match cause {
        Unregistered::NoConfig => "no configuration names a CallManager",
        Unregistered::NoAnswer => "no member answers",
        Unregistered::Full => "the node is full",
        Unregistered::Refused => "the node refuses it",
        Unregistered::CertificateRefused => "it refuses the certificate of the node",
    }
}

/// Boots of a run as lines of JSON, `trace.jsonl`: one line for each, in the order of phones and
/// times.
pub fn traces_jsonl(plan: &Plan, summary: &Summary, records: &Records) -> String {
    let teller = Teller { plan, presented: &summary.presented };
    let traces = records.journal.traces().all().into_iter();
    let lines: Vec<String> =
        traces.map(|(why, trace)| teller.document(why, trace).to_string()).collect();
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// Puts what was heard of a boot into words.
struct Teller<'a> {
    plan: &'a Plan,
    presented: &'a [Presented],
}

/// Where a phone is in its boot.
#[derive(Default)]
struct Place {
    server: Option<IpAddr>,
    via: Option<Transport>,
    /// The TVS servers of its group by the names that its configuration calls them.
    tvs_names: Vec<String>,
    /// Which of them it asks, from 0.
    tvs: usize,
    /// Whether its own list of this kind was not there, so that the general one is asked for.
    is_general: Option<StepKind>,
}

impl Place {
    /// The TVS server that it asks, as its configuration calls it.
    fn tvs_name(&self) -> &str {
        self.tvs_names.get(self.tvs).map_or("?", String::as_str)
    }
}

/// A line about a boot.
struct Line {
    event: &'static str,
    step: Option<StepKind>,
    text: String,
    /// What the console log of a phone would say (BOOT-06, BOOT-19).
    console: Vec<String>,
    /// What the trace of the TVS server would say (TOOL-06), as far as a phone has noticed it.
    tvs: Vec<String>,
}

impl Teller<'_> {
    fn document(&self, why: &str, trace: &Trace) -> Value {
        let name = DeviceName::of_phone(trace.phone).to_string();
        let mut place = Place { tvs_names: self.tvs_names(trace.phone), ..Place::default() };
        let mut lines = Vec::new();
        for (at, (now, incident)) in trace.events.iter().enumerate() {
            let next = trace.events.get(at + 1).map(|(_, next)| next);
            let Some(line) = self.line(&name, *now, incident, next, &mut place) else { continue };
            lines.push(json!({
                "at_s": now.as_secs_f64(),
                "event": line.event,
                "step": line.step.map(StepKind::name),
                "text": line.text,
                "console": line.console,
                "tvs": line.tvs,
            }));
        }
        let outcome = trace.ended.map_or("unfinished".to_owned(), |(_, outcome)| match outcome {
            Outcome::Ready => "ready".to_owned(),
            Outcome::Stuck => "stuck".to_owned(),
            Outcome::Failed(why) => format!("failed: {why}"),
        });
        json!({
            "spent": self.spent(trace),
            "phone": name,
            "why": why,
            "planned_s": trace.planned.as_secs_f64(),
            "ended_s": trace.ended.map(|(at, _)| at.as_secs_f64()),
            "outcome": outcome,
            "events": lines,
            "further": trace.further,
        })
    }

    /// How the configuration of a phone calls the members of its group.
    fn tvs_names(&self, phone: PhoneId) -> Vec<String> {
        let topology = &self.plan.topology;
        let sizes = topology.group_sizes(self.plan.fleet.phones);
        let group = topology.groups.get(group_of(&sizes, phone));
        let members = group.map_or(&[][..], |group| &group.members).iter();
        let name = |&id| {
            let node = topology.node(id);
            topology.full_name(node).unwrap_or_else(|| node.address.to_string())
        };
        members.map(name).collect()
    }

    /// Where the time of the boot went: what a journal of this phone alone says.
    fn spent(&self, trace: &Trace) -> Vec<Value> {
        let slice = Slice { first: trace.phone.0, every: 1, count: 1 };
        let mut journal = Journal::new(self.plan.seed, slice, self.plan.fleet.phones);
        for (now, incident) in &trace.events {
            journal.hear(trace.phone, *now, incident);
        }
        let parts = journal.attribution().into_iter();
        parts.map(|part| json!({ "cause": part.cause, "seconds": part.seconds })).collect()
    }

    fn line(
        &self,
        phone: &str,
        now: Time,
        incident: &Incident<'_>,
        next: Option<&Incident<'_>>,
        place: &mut Place,
    ) -> Option<Line> {
        let plain = |event, text: String| {
            Some(Line { event, step: None, text, console: Vec::new(), tvs: Vec::new() })
        };
        match *incident {
            Incident::Turned(server) => {
                place.server = Some(server);
                None
            }
            Incident::Asked(via) => {
                place.via = Some(via);
                None
            }
            Incident::BootBegan(planned) if now.since(planned) > Span::from_millis(1) => {
                let late = seconds(Some(now.since(planned).as_secs_f64()));
                plain("boot", format!("boot begins, {late} after its plan"))
            }
            Incident::BootBegan(_) => plain("boot", "boot begins".into()),
            Incident::ListsErased => plain("erased", "somebody erases its lists by hand".into()),
            Incident::Phone(fact) => {
                match fact {
                    Fact::TvsCacheMiss => place.tvs = 0,
                    Fact::TvsFailover => place.tvs += 1,
                    _ => {}
                }
                if fact == Fact::NameFromCache {
                    return Some(self.name(false, next, place));
                }
                self.fact(phone, now, fact, place)
            }
            Incident::Ended { step, end, planned, started } => {
                self.ended(phone, step, end, [planned, started, now], next, place)
            }
            Incident::SentAgain(step) => Some(Line {
                step: Some(step),
                ..plain("again", format!("{} silent: sent again", self.server(place)))?
            }),
            Incident::NameAsked => Some(self.name(true, next, place)),
            Incident::Waited { late, .. } if late > Span::from_millis(1) => {
                let late = seconds(Some(late.as_secs_f64()));
                plain("place", format!("waited {late} for a place of the generator"))
            }
            Incident::Lacked(lack) => plain("lack", format!("the host lacked: {lack}")),
            Incident::GivenUp(lack) => {
                plain("given up", format!("given up: the host lacked {lack}"))
            }
            Incident::Said(fault, _) => plain("said", format!("the server said: {fault}")),
            _ => None,
        }
    }

    /// A step with its server, how long it took and what came of it.
    fn ended(
        &self,
        phone: &str,
        step: StepKind,
        end: StepEnd,
        [planned, started, now]: [Time; 3],
        next: Option<&Incident<'_>>,
        place: &mut Place,
    ) -> Option<Line> {
        if step == StepKind::Boot {
            return None;
        }
        let took = seconds(Some(now.since(started).as_secs_f64()));
        let waited = started.since(planned);
        let mut result = match end {
            StepEnd::Ok => "ok".to_owned(),
            StepEnd::NotFound => "no such file".to_owned(),
            StepEnd::Failed | StepEnd::Stuck => "NO ANSWER".to_owned(),
        };
        let mut size = None;
        if let Some(Incident::Arrived(_, length)) = next {
            size = Some(*length);
            result += &format!(" {}", bytes(*length));
        }
        if waited > Span::from_millis(1) {
            result += &format!(", waited {} before", seconds(Some(waited.as_secs_f64())));
        }
        let does = match step {
            StepKind::Ctl | StepKind::Itl => "signs the list",
            _ if step.is_file() => "signs files",
            _ => "presents",
        };
        let server = self.server(place);
        let service = if step.is_file() { "tftp" } else { step.name() };
        let by = self.certificate(&format!("{service} on {server}"), does, now);
        if let (Some(by), true) = (by, end != StepEnd::NotFound && step != StepKind::Ctl) {
            let with = if does == "presents" { "" } else { " with" };
            result += &format!("  (server {does}{with} {by})");
        }
        let how = place.via.filter(|_| step.is_file()).map_or("tls", over);
        let what = what(step);
        let console = console(phone, step, end, size, place);
        if end == StepEnd::NotFound {
            place.is_general = Some(step);
        }
        let text = format!("{what:<10} {server}  {how:<5} {took:>8}  {result}");
        Some(Line { event: "ended", step: Some(step), text, console, tvs: Vec::new() })
    }

    fn fact(&self, phone: &str, now: Time, fact: Fact, place: &Place) -> Option<Line> {
        let server = self.server(place);
        let tvs = || self.certificate(&format!("tvs on {server}"), "presents", now);
        let (event, text) = match fact {
            Fact::BootStarted | Fact::NameFromCache | Fact::Unexpected => return None,
            Fact::FileAccepted { kind, path } => {
                ("accepts", format!("accepts the {}: {}", file(kind), accepted(path)))
            }
            Fact::FileRefused { kind, refusal } => {
                ("refuses", format!("REFUSES the {}: {}", file(kind), refused(refusal)))
            }
            Fact::TvsCacheHit => ("cache", "its TVS cache vouches for the signer".into()),
            Fact::TvsCacheMiss => {
                ("cache", "signer unknown, not in its TVS cache: asks TVS".into())
            }
            Fact::TvsAnswered { command, is_found } => {
                let asked = if command == Command::VerifyResponse { "verify" } else { "query" };
                let found = if is_found { "has the certificate" } else { "does NOT know it" };
                ("tvs", format!("TVS {server} answers ({asked}): {found}"))
            }
            Fact::TvsAttemptFailed { fault: TvsFault::CertificateRefused } => {
                let presents = tvs().unwrap_or_else(|| "a certificate".into());
                (
                    "tvs",
                    format!(
                        "REFUSES TVS {server}: it presents {presents}, which its lists do not hold"
                    ),
                )
            }
            Fact::TvsAttemptFailed { fault } => {
                ("tvs", format!("TVS {server} gives no answer: {}", fault_words(fault)))
            }
            Fact::TvsFailover => ("failover", "asks the next TVS server of its group".into()),
            Fact::TftpFailover => {
                ("failover", format!("{server} was silent: asks the next TFTP server"))
            }
            Fact::TransportFellBack { from, fault } => {
                ("fallback", format!("{} brought nothing ({fault:?}): asks over tftp", over(from)))
            }
            Fact::Lsc(fact) => ("lsc", lsc(fact)),
            Fact::LoadTaken => ("load", "runs the load that its configuration names".into()),
            Fact::Settled { outcome } => (
                "settled",
                match outcome {
                    Outcome::Ready => "READY: list and configuration in force".into(),
                    Outcome::Stuck => {
                        "STUCK: only a person or an action of the operator can help".into()
                    }
                    Outcome::Failed(why) => format!("FAILED: {why}"),
                },
            ),
            Fact::Pressed { button, end, .. } => ("press", press(button, end)),
            fact => ("registration", registration(fact)?),
        };
        let console = match fact {
            Fact::FileAccepted { kind, .. } if kind.is_list() => {
                let length = self.header_bytes(&server, now);
                let length = length.map_or("?".to_owned(), |length| length.to_string());
                vec![format!("File sign verify SUCCESS; header length <{length}>")]
            }
            Fact::FileAccepted { .. } => vec!["verifyFile: verify SUCCESS".to_owned()],
            Fact::FileRefused { kind, .. } if kind.is_list() => {
                vec!["Trust List Verification Failed".to_owned()]
            }
            Fact::FileRefused { .. } => vec!["Verification Failed".to_owned()],
            Fact::TvsAttemptFailed { fault: TvsFault::Unresolved } => {
                let name = place.tvs_name();
                vec![format!("Failed to resolve Tvs Ipv4 Address with hostname {name}")]
            }
            Fact::Lsc(LscFact::Began { mode }) => vec![start_line(mode)],
            Fact::Lsc(LscFact::Ended(end)) => end.log().iter().map(|&line| line.into()).collect(),
            _ => Vec::new(),
        };
        let tvs = self.tvs_trace(phone, &server, fact);
        Some(Line { event, step: None, text, console, tvs })
    }

    /// A question about a name, or that the phone knows that it has no record. What follows tells
    /// whose name it was, and that there is no address: then the console has what the resolver of
    /// the phone has logged (CAPF-24).
    fn name(&self, is_asked: bool, next: Option<&Incident<'_>>, place: &Place) -> Line {
        let topology = &self.plan.topology;
        let name = match next {
            Some(Incident::Phone(Fact::TvsAttemptFailed { fault: TvsFault::Unresolved })) => {
                Some(place.tvs_name().to_owned())
            }
            Some(Incident::Phone(Fact::Lsc(LscFact::Ended(LscEnd::ConnectionFailed(
                Unreached::Name,
            ))))) => topology.nodes.first().and_then(|publisher| topology.full_name(publisher)),
            _ => None,
        };
        let whose = name.as_deref().unwrap_or("a server");
        let text = if is_asked {
            format!("asks the DNS for the address of {whose}")
        } else {
            format!("knows that the name of {whose} has no record")
        };
        // Where the DNS may be silent, nobody has said that there is no such name.
        let is_told = self.plan.fleet.sites.iter().all(|site| site.link.dns_failure == 0.0);
        let console = |name: &String| {
            let query = format!("query[A] {name} from 127.0.0.1");
            let no_record = |how: &str| format!("{how} {name} is NXDOMAIN");
            if !is_asked {
                return vec![query, no_record("cached")];
            }
            let mut lines = vec![query, format!("forwarded {name} to the configured DNS")];
            lines.extend(is_told.then(|| no_record("reply")));
            lines
        };
        let console = name.iter().flat_map(console).collect();
        Line { event: "dns", step: None, text, console, tvs: Vec::new() }
    }

    /// The server of the step in hand by the name of its node.
    fn server(&self, place: &Place) -> String {
        let Some(address) = place.server else { return "-".to_owned() };
        let mut nodes = self.plan.topology.nodes.iter();
        let node = nodes.find(|node| node.address == address && self.plan.target.is_none());
        node.map_or_else(|| address.to_string(), |node| node.name.clone())
    }

    fn last(&self, service: &str, does: &str, now: Time) -> Option<&Presented> {
        let now = now.as_secs_f64();
        let of = |row: &&Presented| row.service == service && row.at_s <= now;
        let mut rows = self.presented.iter().filter(of).rev();
        rows.find(|row| row.does == does || row.certificate.is_none())
    }

    /// The certificate that a service used then.
    fn certificate(&self, service: &str, does: &str, now: Time) -> Option<String> {
        let row = self.last(service, does, now)?;
        Some(format!("{} {}", row.certificate.as_ref()?, row.serial.as_ref()?))
    }

    fn header_bytes(&self, server: &str, now: Time) -> Option<u64> {
        self.last(&format!("tftp on {server}"), "signs the list", now)?.header_bytes
    }

    /// A question in the words of a TVS server's trace (names of messages: Cisco's published traces
    /// of VERIFY; those of QUERY by analogy). A server that was not reached has nothing to say.
    fn tvs_trace(&self, phone: &str, server: &str, fact: Fact) -> Vec<String> {
        let line = |text: &str| format!("TVS {server} | debug {text}");
        let connects = line(&format!("Got a new ph conn {phone}"));
        match fact {
            Fact::TvsAnswered { command, is_found } => {
                let name = match command {
                    Command::VerifyResponse => "CERT_VERIFICATION",
                    _ => "QUERY_CERT",
                };
                let found = if is_found { "found and equal" } else { "not found" };
                let status = u8::from(!is_found);
                vec![
                    connects,
                    line(&format!("tvsSSLHandShake Session ciphers - {}", self.plan.tvs_cipher)),
                    line("TLS HS Done for ph_conn"),
                    line(&format!("MsgType : TVS_MSG_{name}_REQ")),
                    line(&format!(
                        "CertificateDBCache::getCertificateInformation - Certificate {found}"
                    )),
                    line(&format!("MsgType : TVS_MSG_{name}_RES, status {status}")),
                ]
            }
            Fact::TvsAttemptFailed { fault: TvsFault::CertificateRefused } => {
                vec![
                    connects,
                    line("TLS HS failed for ph_conn: the phone does not know this certificate"),
                ]
            }
            _ => Vec::new(),
        }
    }
}

fn press(button: Button, end: PressEnd) -> String {
    let ended = match end {
        PressEnd::Shown(path) => {
            let found = match path {
                CertificatePath::Ctl => "certificate in the CTL",
                CertificatePath::Itl => "certificate in the ITL",
                CertificatePath::Cache => "TVS has vouched for the server before",
                CertificatePath::Tvs => "TVS vouches for the server",
                CertificatePath::Unchecked => "over HTTP",
            };
            format!("shows the page ({found})")
        }
        PressEnd::Failed(fault) => {
            let why = match fault {
                PressFault::NoUrl => "its configuration names no page",
                PressFault::Unreachable => "the server is out of reach",
                PressFault::BadPage => "what came is no page",
                PressFault::Expired => "the server's certificate has expired",
                PressFault::NotVouched => "HTTPS cert not in CTL, and TVS does not know it",
                PressFault::NoTvs => "HTTPS cert not in CTL, and no TVS that it trusts",
                PressFault::TvsUnreachable => "HTTPS cert not in CTL, and no TVS answers",
                PressFault::Generator => "this host lacked something for it",
            };
            format!("shows an error: {why}")
        }
        PressEnd::Busy => "is not at rest, and nothing happens".to_owned(),
        PressEnd::Cancelled => "is interrupted before the page".to_owned(),
    };
    format!("button {}: {ended}", button.name())
}

const fn over(via: Transport) -> &'static str {
    match via {
        Transport::Tftp => "tftp",
        Transport::Http => "http",
        Transport::Https => "https",
    }
}

const fn what(step: StepKind) -> &'static str {
    match step {
        StepKind::Boot => "boot",
        StepKind::Ctl => "CTL file",
        StepKind::Itl => "ITL file",
        StepKind::Config => "config",
        StepKind::Locale => "locale",
        StepKind::RingList => "ring list",
        StepKind::Page => "page",
        step => step.name(),
    }
}

const fn file(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Ctl => "CTL",
        FileKind::Itl => "ITL",
        FileKind::Config => "configuration",
        FileKind::Locale => "locale",
        FileKind::RingList => "ring list",
    }
}

const fn accepted(path: AcceptPath) -> &'static str {
    match path {
        AcceptPath::First => "it held no list, the first one is taken unchecked",
        AcceptPath::Blank => "its ITL is blank, whoever signed is taken",
        AcceptPath::Ctl => "the signer is in its CTL",
        AcceptPath::Itl => "the signer is in its ITL",
        AcceptPath::TvsCache => "its TVS cache vouches for the signer",
        AcceptPath::Tvs => "TVS vouches for the signer",
        AcceptPath::Https => "no signature, but its lists vouch for the HTTPS server",
    }
}

const fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "it cannot be read",
        Refusal::UnknownSigner => {
            "the signer is in no list, and nobody that it trusts vouches for it"
        }
        Refusal::Expired => "the certificate of the signer has expired",
        Refusal::UnsupportedDigest => "it does not know the digest",
        Refusal::WrongSignature => "the signer is known and the signature is wrong",
        Refusal::NotValid => "TVS says that the signer is not valid",
        Refusal::WrongRole => "TVS knows the signer, but not for this",
        Refusal::Unreadable => "it is encrypted for another key",
    }
}

const fn fault_words(fault: TvsFault) -> &'static str {
    match fault {
        TvsFault::CertificateRefused => "certificate refused",
        TvsFault::Connection => "no connection",
        TvsFault::TimedOut => "time-out",
        TvsFault::TurnedAway => "refused the phone's certificate",
        TvsFault::Unresolved => "its name has no record",
        TvsFault::WrongAnswer => "a wrong answer",
    }
}

/// Lines of a phone's console log about a file (BOOT-19).
fn console(
    phone: &str,
    step: StepKind,
    end: StepEnd,
    size: Option<u64>,
    place: &Place,
) -> Vec<String> {
    let file = match step {
        StepKind::Ctl if place.is_general == Some(step) => "CTLFile.tlv".to_owned(),
        StepKind::Ctl => format!("CTL{phone}.tlv"),
        StepKind::Itl if place.is_general == Some(step) => "ITLFile.tlv".to_owned(),
        StepKind::Itl => format!("ITL{phone}.tlv"),
        StepKind::Config => format!("{phone}.cnf.xml.sgn"),
        _ => return Vec::new(),
    };
    let from = place.server.map_or("-".to_owned(), |server| server.to_string());
    let asked = format!("TFTP: [27]:Requesting {file} from {from}");
    let came = match (end, size) {
        (StepEnd::Ok, Some(size)) => format!("TFTP: [27]:Finished --> rcvd {size} bytes"),
        (StepEnd::Ok, None) => "TFTP: [27]:Finished".to_owned(),
        (StepEnd::NotFound, _) => "TFTP: [27]:Error --> File not found".to_owned(),
        (StepEnd::Failed | StepEnd::Stuck, _) => "TFTP: [27]:Error --> timed out".to_owned(),
    };
    vec![asked, came]
}

/// In whose words a boot is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// For people.
    Plain,
    /// As the console log of the phone.
    Console,
    /// As the traces of the TVS servers that it asked.
    Tvs,
}

/// A boot of `trace.jsonl`.
pub fn trace_text(boot: &Value, row: Option<&str>, words: Words) -> String {
    let text = |key: &str| boot[key].as_str().unwrap_or("-").to_owned();
    let planned = boot["planned_s"].as_f64().unwrap_or_default();
    let length = boot["ended_s"].as_f64().map(|ended| ended - planned);
    let row = row.map(|row| format!("  {row}")).unwrap_or_default();
    let mut out = format!(
        "{}{row}  {} in {} (planned {planned:.3} s)\n",
        text("phone"),
        text("outcome"),
        seconds(length)
    );
    for event in boot["events"].as_array().into_iter().flatten() {
        let at = event["at_s"].as_f64().unwrap_or_default();
        if words != Words::Plain {
            let key = if words == Words::Console { "console" } else { "tvs" };
            for line in event[key].as_array().into_iter().flatten() {
                out += &format!("{at:>9.3}  {}\n", line.as_str().unwrap_or_default());
            }
            continue;
        }
        let after = ((at - planned) * 1e3).round();
        let words = event["text"].as_str().unwrap_or_default();
        out += &format!("{at:>9.3}  {:>9}  {words}\n", format!("+{after} ms"));
    }
    let spent: Vec<(&str, f64)> = boot["spent"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|part| Some((part["cause"].as_str()?, part["seconds"].as_f64()?)))
        .collect();
    let whole: f64 = spent.iter().map(|(_, seconds)| seconds).sum();
    if whole > 0.0 && words == Words::Plain {
        let part =
            |(cause, seconds): &(&str, f64)| format!("{:.0} % {cause}", seconds / whole * 100.0);
        let parts: Vec<String> = spent.iter().take(5).map(part).collect();
        out += &format!(" why: {}\n", parts.join(" · "));
    }
    if let Some(further @ 1..) = boot["further"].as_u64() {
        out += &format!("           and {further} more\n");
    }
    out
}
/// What a phone does at CAPF, in words.
fn lsc(fact: LscFact) -> String {
    match fact {
        LscFact::Began { mode } => format!("goes to CAPF, {}", mode.words()),
        LscFact::Postponed => "CAPF is busy and asks it to come again".into(),
        LscFact::KeyAsked { length, is_pooled: true } => {
            format!("makes a pair of keys, which takes {length}")
        }
        LscFact::KeyAsked { length, is_pooled: false } => {
            format!("cannot make such a pair of keys, and says so after {length}")
        }
        LscFact::Reset => "its LSC has changed: it resets itself".into(),
        LscFact::Ended(LscEnd::Fetched) => "has shown its LSC".into(),
        LscFact::Ended(LscEnd::NothingToDo) => "CAPF has nothing to do for it".into(),
        LscFact::Ended(end) => format!("shows \"{}\"", end.text()),
    }
}

/// The line of the console log with which an enrolment begins (CAPF-25).
fn start_line(mode: AuthMode) -> String {
    let (number, name) = match mode {
        AuthMode::String => (0, "AUTH_STR"),
        AuthMode::NullString => (1, "NULL_STR"),
        AuthMode::None | AuthMode::Lsc => (2, "LSC"),
        AuthMode::Mic => (3, "MIC"),
    };
    // Of the names and numbers only those of the null string are documented.
    format!("CAPF_START_MODE: Start CAPF - mode:[{number}]([{name}]), reason:[1]([AUTO])")
}
