use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::Span;
use crate::crypto::proof::{ProofHash, device_proof_input, sudi_proof_input};
use crate::crypto::{KeySpec, POOL, pooled_key};
use crate::phone::contract::{Fact, LscFact};
use crate::phone::errand::{Answer, Ask, ErrandFault, Message as Errand, TvsFault};
use crate::phone::lsc::{HeldLsc, LscEnd, Precedence, Shown, Unreached, asked_key, shown};
use crate::wire::capf::{Command, HashedProof, Message, Sudi, reason, tag, wrap_certificate};
use crate::wire::{AuthMode, Config, Dialogue, Enrolment, ROLE_CAPF};

use super::context::{Context, Event, Turn};

/// A phone at CAPF: what its configuration tells it to do there (`spec/capf.md`).
#[derive(Debug)]
pub(in crate::phone) enum EnrolTask {
    /// Waits for the address of CAPF.
    Resolve(Box<Visit>),
    /// Waits before it tries again.
    Pause(Box<Visit>),
    /// Waits for what CAPF says.
    Talk(Box<Visit>, Said),
    /// Makes its keys.
    Generate(Box<Visit>),
}

/// One enrolment.
#[derive(Debug)]
pub(in crate::phone) struct Visit {
    /// The configuration that tells the phone to do it.
    config: Arc<Config>,
    server: Option<IpAddr>,
    session_id: u32,
    /// Attempts without a connection.
    tries: u8,
    /// How often CAPF was busy.
    postponed: u8,
    /// The keys that the phone has made.
    made: Option<Made>,
}

/// What the phone has said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::phone) enum Said {
    /// Nothing: CAPF speaks first.
    Nothing,
    Identity,
    Key,
    Stored,
    Deleted,
    Shown,
}

/// A pair of keys that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::phone) struct Made {
    spec: KeySpec,
    number: u8,
}

/// How an enrolment leaves the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::phone) enum Left {
    /// As it was.
    Same,
    /// With another LSC: it resets itself.
    Changed,
}

/// How often a phone that reaches no CAPF tries, and how long it waits between (field-facts,
/// section 6).
const TRIES: u8 = 3;
const RETRY: Span = Span::from_secs(30);
/// How often it comes again when it is asked to (choice).
const POSTPONED_MAX: u8 = 50;

type Next = Result<EnrolTask, Left>;

impl EnrolTask {
    /// Goes to CAPF if the configuration in force says so.
    pub(in crate::phone) fn begin(cx: &mut Context<'_>) -> Option<Turn<EnrolTask, Left>> {
        let config = Arc::clone(&cx.held.config.as_ref()?.content);
        config.enrolment.as_ref()?;
        let visit =
            Visit { config, server: None, session_id: 0, tries: 0, postponed: 0, made: None };
        let begun = begin(cx, Box::new(visit));
        Some(turn(begun))
    }

    /// Advances by one event.
    pub(in crate::phone) fn on(
        self,
        cx: &mut Context<'_>,
        event: Event<'_>,
    ) -> Turn<EnrolTask, Left> {
        turn(match (self, event) {
            (EnrolTask::Resolve(visit), Event::Answered(Ok(Answer::Address(Some(address))))) => {
                Ok(call(cx, visit, address))
            }
            (EnrolTask::Resolve(visit), Event::Answered(Ok(Answer::Address(None)))) => {
                let ttl = cx.env.profile.dns_negative_ttl;
                let now = cx.env.shared.calendar().aged(cx.now);
                cx.held.learn_unknown(&visit.told().host, now, now + ttl);
                fail(cx, visit, Unreached::Name)
            }
            (EnrolTask::Resolve(visit), Event::Answered(Err(ErrandFault::NameUnanswered))) => {
                fail(cx, visit, Unreached::Name)
            }
            (EnrolTask::Pause(visit), Event::Timer) => go(cx, visit),
            (EnrolTask::Generate(visit), Event::Timer) => Ok(give_key(cx, visit)),
            (EnrolTask::Talk(visit, said), Event::Answered(Ok(Answer::Said(bytes)))) => {
                on_message(cx, visit, said, bytes)
            }
            (EnrolTask::Talk(visit, _), Event::Answered(Err(ErrandFault::Dialogue(fault)))) => {
                let why = match fault {
                    TvsFault::CertificateRefused => Unreached::Certificate,
                    TvsFault::WrongAnswer => Unreached::Answer,
                    TvsFault::Unresolved => Unreached::Name,
                    TvsFault::Connection | TvsFault::TimedOut | TvsFault::TurnedAway => {
                        Unreached::Connection
                    }
                };
                fail(cx, visit, why)
            }
            (task, _) => return Turn::Unexpected(task),
        })
    }
}

fn turn(next: Next) -> Turn<EnrolTask, Left> {
    match next {
        Ok(task) => Turn::Wait(task),
        Err(left) => Turn::Done(left),
    }
}

impl Visit {
    fn told(&self) -> &Enrolment {
        self.config.enrolment.as_ref().expect("an enrolment begins with one")
    }
}

fn begin(cx: &mut Context<'_>, visit: Box<Visit>) -> Next {
    cx.fact(Fact::Lsc(LscFact::Began { mode: visit.told().mode }));
    if !cx.held.lists.holds_any_capf() || visit.told().host.is_empty() {
        return end(cx, LscEnd::NoServer);
    }
    go(cx, visit)
}

/// The enrolment is over.
fn end(cx: &mut Context<'_>, how: LscEnd) -> Next {
    cx.hang_up();
    cx.fact(Fact::Lsc(LscFact::Ended(how)));
    let is_changed = matches!(how, LscEnd::Installed | LscEnd::Deleted);
    Err(if is_changed { Left::Changed } else { Left::Same })
}

fn go(cx: &mut Context<'_>, visit: Box<Visit>) -> Next {
    let host = &visit.told().host;
    match cx.literal(host).or_else(|| visit.server.map(Ok)) {
        Some(Ok(address)) => return Ok(call(cx, visit, address)),
        Some(Err(_)) => return fail(cx, visit, Unreached::Name),
        None => {}
    }
    let now = cx.env.shared.calendar().aged(cx.now);
    if cx.held.is_unknown(host, now) {
        cx.fact(Fact::NameFromCache);
        return fail(cx, visit, Unreached::Name);
    }
    cx.ask_name(cx.now, host);
    Ok(EnrolTask::Resolve(visit))
}

/// Opens a connection; CAPF speaks first.
fn call(cx: &mut Context<'_>, mut visit: Box<Visit>, address: IpAddr) -> EnrolTask {
    visit.server = Some(address);
    say(cx, &visit, Vec::new());
    EnrolTask::Talk(visit, Said::Nothing)
}

fn say(cx: &mut Context<'_>, visit: &Visit, bytes: Vec<u8>) {
    let server = visit.server.expect("a connection has an address");
    let trust = cx.trust(&[ROLE_CAPF]);
    cx.ask(
        cx.now,
        Ask::Say(Errand {
            dialogue: Dialogue::Capf,
            server: SocketAddr::new(server, visit.told().port),
            bytes,
            trust,
            shows: None,
            stays: true,
        }),
    );
}

/// There is no connection: the phone tries again a few times. A name without a record and another
/// certificate stay what they are.
fn fail(cx: &mut Context<'_>, mut visit: Box<Visit>, why: Unreached) -> Next {
    visit.tries += 1;
    let is_final = matches!(why, Unreached::Name | Unreached::Certificate | Unreached::Answer);
    if is_final || visit.tries >= TRIES {
        return end(cx, LscEnd::ConnectionFailed(why));
    }
    visit.server = None;
    cx.hang_up();
    cx.wake_after(RETRY);
    Ok(EnrolTask::Pause(visit))
}

fn on_message(cx: &mut Context<'_>, mut visit: Box<Visit>, said: Said, bytes: &[u8]) -> Next {
    let Ok(message) = Message::parse(bytes) else { return fail(cx, visit, Unreached::Answer) };
    if said == Said::Nothing {
        visit.session_id = message.session_id;
    }
    if message.session_id != visit.session_id {
        return fail(cx, visit, Unreached::Answer);
    }
    match (message.command, said) {
        (Command::AuthRequest, Said::Nothing) => Ok(introduce(cx, visit)),
        (Command::KeyGenerateRequest, Said::Identity) => generate(cx, visit, &message),
        (Command::StoreCertificateRequest, Said::Key) => match visit.made {
            Some(made) => Ok(store(cx, visit, made, &message)),
            None => fail(cx, visit, Unreached::Answer),
        },
        (Command::FetchCertificateRequest, Said::Identity) => Ok(show(cx, visit)),
        (Command::DeleteCertificateRequest, Said::Identity) => Ok(delete(cx, visit)),
        (Command::RetryLater, Said::Nothing | Said::Identity) => postpone(cx, visit, &message),
        (Command::EndSession, _) => conclude(cx, said, message.reason()),
        _ => fail(cx, visit, Unreached::Answer),
    }
}

/// Says who the phone is, and proves it as its configuration tells it.
fn introduce(cx: &mut Context<'_>, visit: Box<Visit>) -> EnrolTask {
    let mode = visit.told().mode;
    let name = cx.name().to_string();
    let proof = prove(cx, mode, &name, visit.session_id);
    let password = match mode {
        AuthMode::String => cx.env.profile.capf_string.as_str(),
        _ => "",
    };
    let (name, password) =
        ([name.as_bytes(), b"\0"].concat(), [password.as_bytes(), b"\0"].concat());
    let mut message =
        Message::new(Command::AuthResponse, visit.session_id).with(tag::REASON, &[reason::DONE]);
    if let Some(Proof { certificate, sha1, .. }) = &proof {
        message = message.with(tag::CERTIFICATE, certificate).with(tag::SIGNED_DATA, sha1);
    }
    message = message
        .with(tag::VERSION, &[3])
        .with(tag::PASSWORD, &password)
        .with(tag::DEVICE_NAME, &name);
    if let Some(Proof { sudi, sha512, .. }) = &proof {
        message = match sudi {
            Some(sudi) => message.with(tag::SUDI_DATA, sudi),
            None => message,
        };
        message = message.with(tag::SHA2_SIGNED_DATA, sha512);
    }
    let bytes = message.encode();
    say(cx, &visit, bytes);
    EnrolTask::Talk(visit, Said::Identity)
}

/// What a certificate proves, as it stands in a message.
struct Proof {
    certificate: Vec<u8>,
    sha1: Vec<u8>,
    sha512: Vec<u8>,
    sudi: Option<Vec<u8>>,
}

/// The proof that the mode asks for, if it asks for one and the phone has anything to show.
fn prove(cx: &Context<'_>, mode: AuthMode, name: &str, session_id: u32) -> Option<Proof> {
    if !mode.wants_certificate() {
        return None;
    }
    let of = |order| shown(cx.held.lsc(), cx.id, cx.model, order);
    let Shown { certificate, key, is_lsc } = of(Precedence::of(mode))?;
    let input = device_proof_input(name, certificate.der());
    let proof = key.prove(ProofHash::Sha512, &input);
    // The MIC proves that the phone is genuine beside an LSC.
    let mic = is_lsc.then(|| of(Precedence::Mic)).flatten().filter(|mic| !mic.is_lsc);
    Some(Proof {
        certificate: wrap_certificate(certificate.der()),
        sha1: key.prove(ProofHash::Sha1, &input),
        sha512: HashedProof { hash: 3, proof: &proof }.encode(),
        sudi: mic.map(|mic| sudi(&mic, session_id)),
    })
}

fn sudi(mic: &Shown, session_id: u32) -> Vec<u8> {
    let input = sudi_proof_input(session_id, mic.certificate.der());
    let [sha1_proof, sha512_proof] =
        [ProofHash::Sha1, ProofHash::Sha512].map(|hash| mic.key.prove(hash, &input));
    let certificate = mic.certificate.der();
    Sudi { certificate, sha1_proof: &sha1_proof, sha512_proof: &sha512_proof }.encode()
}

/// Makes the keys, which takes its time; the screen says so.
fn generate(cx: &mut Context<'_>, mut visit: Box<Visit>, message: &Message<'_>) -> Next {
    let Some(spec) = asked_key(message) else { return fail(cx, visit, Unreached::Answer) };
    // A new key each time.
    let number = cx.held.lsc().map_or(0, |lsc| usize::from(lsc.number) + 1) + cx.id.0 as usize;
    let number = (number % POOL) as u8;
    visit.made = pooled_key(spec, usize::from(number)).map(|_| Made { spec, number });
    let length = cx.env.profile.key_generation.of(cx.id, cx.model, spec);
    cx.fact(Fact::Lsc(LscFact::KeyAsked { length, is_pooled: visit.made.is_some() }));
    if length.is_zero() {
        return Ok(give_key(cx, visit));
    }
    cx.wake_after(length);
    Ok(EnrolTask::Generate(visit))
}

fn give_key(cx: &mut Context<'_>, visit: Box<Visit>) -> EnrolTask {
    let answer = Message::new(Command::KeyGenerateResponse, visit.session_id);
    let key = visit.made.and_then(|made| pooled_key(made.spec, usize::from(made.number)));
    let (bytes, said) = match key {
        Some(key) => (answer.with(tag::PUBLIC_KEY, &key.public_key_info()).encode(), Said::Key),
        // A kind of key that phones do not make here.
        None => (answer.with(tag::REASON, &[reason::REFUSED]).encode(), Said::Identity),
    };
    say(cx, &visit, bytes);
    EnrolTask::Talk(visit, said)
}

/// Stores the certificate, if it is of the phone's own key.
fn store(cx: &mut Context<'_>, visit: Box<Visit>, made: Made, message: &Message<'_>) -> EnrolTask {
    let certificate = message.certificate().ok().flatten();
    let certificate = certificate.and_then(|der| cx.env.shared.certificate(der));
    let key = pooled_key(made.spec, usize::from(made.number));
    let own = certificate
        .filter(|certificate| key.is_some_and(|key| key.public_key() == certificate.public_key()));
    let why = if own.is_some() { reason::DONE } else { reason::REFUSED };
    let said = if own.is_some() { Said::Stored } else { Said::Identity };
    if let Some(certificate) = own {
        let Made { spec, number } = made;
        cx.held.keep_lsc(Some(HeldLsc { certificate, spec, number }));
    }
    let answer = Message::new(Command::StoreCertificateResponse, visit.session_id);
    say(cx, &visit, answer.with(tag::REASON, &[why]).encode());
    EnrolTask::Talk(visit, said)
}

fn show(cx: &mut Context<'_>, visit: Box<Visit>) -> EnrolTask {
    let answer = Message::new(Command::FetchCertificateResponse, visit.session_id);
    let held = cx.held.lsc().map(|lsc| wrap_certificate(lsc.certificate.der()));
    let bytes = match held {
        Some(held) => {
            answer.with(tag::REASON, &[reason::DONE]).with(tag::CERTIFICATE, &held).encode()
        }
        None => answer.with(tag::REASON, &[reason::REFUSED]).encode(),
    };
    say(cx, &visit, bytes);
    EnrolTask::Talk(visit, Said::Shown)
}

fn delete(cx: &mut Context<'_>, visit: Box<Visit>) -> EnrolTask {
    let had = cx.held.lsc().is_some();
    cx.held.keep_lsc(None);
    let why = if had { reason::DONE } else { reason::REFUSED };
    let answer = Message::new(Command::DeleteCertificateResponse, visit.session_id);
    say(cx, &visit, answer.with(tag::REASON, &[why]).encode());
    EnrolTask::Talk(visit, Said::Deleted)
}

/// CAPF is busy: the phone comes again when it is told to.
fn postpone(cx: &mut Context<'_>, mut visit: Box<Visit>, message: &Message<'_>) -> Next {
    cx.fact(Fact::Lsc(LscFact::Postponed));
    visit.postponed += 1;
    if visit.postponed > POSTPONED_MAX {
        return end(cx, LscEnd::ConnectionFailed(Unreached::Busy));
    }
    cx.hang_up();
    let told = message.find(tag::RETRY_DELAY).and_then(|element| element.fixed::<2>().ok());
    let seconds = told.map(|bytes| u64::from(u16::from_be_bytes(bytes)));
    cx.wake_after(seconds.map_or(RETRY, |seconds| Span::from_secs(seconds.max(1))));
    Ok(EnrolTask::Pause(visit))
}

/// CAPF has ended the session.
fn conclude(cx: &mut Context<'_>, said: Said, why: Option<u8>) -> Next {
    let how = match (said, why) {
        (Said::Stored, Some(reason::DONE)) => LscEnd::Installed,
        (Said::Deleted, Some(reason::DONE)) => LscEnd::Deleted,
        (Said::Shown, Some(reason::NO_ACTION)) => LscEnd::Fetched,
        (Said::Nothing | Said::Identity, Some(reason::NO_ACTION)) => LscEnd::NothingToDo,
        _ => LscEnd::Failed,
    };
    end(cx, how)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::base::{PhoneId, Time};
    use crate::crypto::FileIdentity;
    use crate::phone::contract::{Action, Sink};
    use crate::phone::held::{Boot, Held, StoredConfig};
    use crate::phone::lists::TrustList;
    use crate::phone::profile::PhoneProfile;
    use crate::phone::shared::Shared;
    use crate::phone::verifier::{Env, Verifier};

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
    }

    /// A phone whose configuration tells it to go to CAPF at an address.
    struct Bench {
        env: Env,
        held: Held,
        boot: Boot,
        token: u32,
        sink: Sink,
        task: Option<EnrolTask>,
        left: Option<Left>,
    }

    impl Bench {
        fn new(mode: AuthMode, string: &str) -> Bench {
            let profile = PhoneProfile { capf_string: string.into(), ..PhoneProfile::default() };
            let enrolment = Some(Enrolment { mode, host: "127.0.0.1".into(), port: 3_804 });
            let content = Arc::new(Config { enrolment, ..Config::default() });
            let list = std::fs::read(folder().join("trustlist").join(LIST)).unwrap();
            let mut held = Held::default();
            held.lists.itl = Some(Arc::new(TrustList::parse(&list).unwrap()));
            held.config = Some(StoredConfig { content, identity: FileIdentity::default() });
            Bench {
                env: Env {
                    profile: Arc::new(profile),
                    shared: Arc::new(Shared::default()),
                    verifier: Verifier::real(),
                },
                held,
                boot: Boot::default(),
                token: 0,
                sink: Sink::default(),
                task: None,
                left: None,
            }
        }

        fn step(&mut self, step: impl FnOnce(&mut Context<'_>) -> Turn<EnrolTask, Left>) {
            let Bench { env, held, boot, token, sink, .. } = self;
            let (id, model, now) = (PhoneId(7), 8_861.into(), Time::ZERO);
            let mut cx = Context { env, now, id, model, held, boot, token, sink };
            match step(&mut cx) {
                Turn::Wait(task) => self.task = Some(task),
                Turn::Done(left) => self.left = Some(left),
                Turn::Unexpected(task) => panic!("{task:?}"),
            }
        }

        fn begin(&mut self) {
            self.step(|cx| EnrolTask::begin(cx).unwrap());
        }

        fn hear(&mut self, bytes: &[u8]) {
            let task = self.task.take().unwrap();
            self.step(|cx| task.on(cx, Event::Answered(Ok(Answer::Said(bytes)))));
        }

        /// What the phone has said since it was asked last.
        fn said(&mut self) -> Option<Vec<u8>> {
            let actions = std::mem::take(&mut self.sink.actions);
            let said = actions.into_iter().rev().find_map(|action| match action {
                Action::Do(errand) => match errand.ask {
                    Ask::Say(message) => Some(message.bytes),
                    _ => None,
                },
                _ => None,
            });
            said.filter(|bytes| !bytes.is_empty())
        }

        fn ended(&self) -> Option<LscEnd> {
            self.sink.facts.iter().find_map(|fact| match fact {
                Fact::Lsc(LscFact::Ended(end)) => Some(*end),
                _ => None,
            })
        }
    }

    /// A list with a CAPF record.
    const LIST: &str = "ITLFile-all-roles-sha1-v10.tlv";

    /// A session of the vectors: whether the server says it, and what.
    fn session(name: &str) -> Vec<(bool, Vec<u8>)> {
        let files = std::fs::read_dir(folder().join("capf").join(name)).unwrap();
        let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: PathBuf| (path.to_string_lossy().contains("_s2c_"), path);
        let all = paths.into_iter().map(read);
        all.map(|(is_server, path)| (is_server, std::fs::read(path).unwrap())).collect()
    }

    /// The vectors' device has another name of the same length.
    fn renamed(bytes: &[u8], name: &[u8]) -> Vec<u8> {
        let (mut out, theirs) = (bytes.to_vec(), b"SEP001122334455");
        let at = bytes.windows(theirs.len()).position(|window| window == theirs).unwrap();
        out[at..at + name.len()].copy_from_slice(name);
        out
    }

    /// Plays the server of a session to a phone; what the phone says is compared up to its key.
    fn replay(name: &str, mode: AuthMode, string: &str) -> Bench {
        let mut bench = Bench::new(mode, string);
        bench.begin();
        for (is_server, bytes) in session(name) {
            if bench.left.is_some() || bench.task.is_none() {
                break;
            }
            if is_server {
                bench.said();
                bench.hear(&bytes);
                continue;
            }
            let theirs = Message::parse(&bytes).unwrap();
            if theirs.command == Command::RequestInProgress {
                continue;
            }
            let said = bench.said().unwrap_or_else(|| panic!("{name}: {:?}", theirs.command));
            let ours = Message::parse(&said).unwrap();
            assert_eq!(
                (ours.command, ours.session_id),
                (theirs.command, theirs.session_id),
                "{name}"
            );
            match ours.command {
                Command::AuthResponse => {
                    let own = crate::base::DeviceName::of_phone(PhoneId(7)).to_string();
                    assert_eq!(said, renamed(&bytes, own.as_bytes()), "{name}");
                }
                Command::KeyGenerateResponse => {
                    let key = ours.find(tag::PUBLIC_KEY).map(|element| element.value.len());
                    let expected = theirs.find(tag::PUBLIC_KEY).map(|element| element.value.len());
                    assert_eq!(key, expected, "{name}");
                }
                // The certificate of the vectors is for another key than the phone has made.
                Command::StoreCertificateResponse => {
                    assert_eq!(ours.reason(), Some(reason::REFUSED), "{name}");
                }
                _ => assert_eq!(said, bytes, "{name}"),
            }
        }
        bench
    }

    #[test]
    fn a_phone_says_to_a_real_server_what_its_client_says() {
        use AuthMode::{NullString, String};
        let sessions = [
            ("install-rsa2048", NullString, LscEnd::Failed),
            ("install-ec256", NullString, LscEnd::Failed),
            ("install-password-ok", String, LscEnd::Failed),
            ("install-password-wrong", String, LscEnd::Failed),
            ("unknown-device", NullString, LscEnd::Failed),
            ("fetch-absent", NullString, LscEnd::Fetched),
            ("delete-absent", NullString, LscEnd::Deleted),
            ("no-operation", NullString, LscEnd::NothingToDo),
        ];
        for (name, mode, end) in sessions {
            let string = if name == "install-password-wrong" { "654321" } else { "123456" };
            let bench = replay(name, mode, if mode == String { string } else { "" });
            assert_eq!(bench.ended(), Some(end), "{name}");
            assert!(bench.held.lsc().is_none(), "{name}");
        }
        let busy = replay("retry-later", NullString, "");
        assert_eq!((busy.ended(), busy.left), (None, None), "it comes again");
        assert!(matches!(busy.task, Some(EnrolTask::Pause(_))));
    }

    #[test]
    fn what_breaks_the_rules_ends_with_a_failed_connection() {
        let greeting = session("install-rsa2048").remove(0).1;
        let other = Message::new(Command::KeyGenerateRequest, 99).encode();
        let no_key = Message::new(Command::KeyGenerateRequest, 1).encode();
        let out_of_turn = Message::new(Command::StoreCertificateRequest, 1).encode();
        for bytes in [b"garbage".as_slice(), &other, &no_key, &out_of_turn, &greeting] {
            let mut bench = Bench::new(AuthMode::NullString, "");
            bench.begin();
            bench.hear(&greeting);
            bench.hear(bytes);
            assert_eq!(bench.ended(), Some(LscEnd::ConnectionFailed(Unreached::Answer)));
            assert_eq!(bench.left, Some(Left::Same));
        }
        let mut bench = Bench::new(AuthMode::NullString, "");
        bench.held.lists.itl = None;
        bench.begin();
        assert_eq!(bench.ended(), Some(LscEnd::NoServer));
    }
}
