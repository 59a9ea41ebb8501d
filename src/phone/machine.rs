use std::net::IpAddr;
use std::sync::Arc;

use crate::base::{DeviceName, Model, PhoneId, Span, Time};
use crate::crypto::FileIdentity;
use crate::transfer::DownloadRequest;
use crate::wire::tftp::Options;
use crate::wire::tvs::{Command, Question, Request, Response};
use crate::wire::{ConfigError, FileName, SignedFile, TvsMember, WireError};

use super::contract::{Action, Fact, Failure, Input, Outcome, Sink, Step, TvsFault};
use super::env::Env;
use super::file_kind::FileKind;
use super::judge::{AcceptPath, Judgement, Refusal, judge};
use super::lists::TrustLists;
use super::profile::FILE_SIZE_MAX;
use super::transport::{HttpFault, Transport};
use super::vouched::VouchedSigner;

/// One virtual phone: its lists, its configuration, its TVS cache and where it is in a boot.
///
/// Inputs go into [`Phone::handle`]; everything that it wants or reports comes out of the sink.
/// At rest a phone owns no buffer and shares its lists with all phones that hold the same.
#[derive(Debug)]
pub struct Phone {
    id: PhoneId,
    model: Model,
    boot: Boot,
    token: u32,
    lists: TrustLists,
    config: Option<StoredConfig>,
    cache: Vec<VouchedSigner>,
    state: State,
}

/// The configuration that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConfig {
    /// TVS servers, first asked first.
    pub tvs: Arc<[TvsMember]>,
    /// Which content it is and who signed it.
    pub identity: FileIdentity,
}

/// Why a phone cannot be given a list and a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The list is malformed.
    #[error("the list cannot be read: {0}")]
    List(#[from] WireError),
    /// The configuration is malformed.
    #[error("the configuration cannot be read: {0}")]
    Config(#[from] ConfigError),
}

#[derive(Debug)]
enum State {
    /// Not booting: off, or settled.
    Rest,
    /// Waits for a timer before it asks for the file of this step.
    Wait(Step),
    /// Waits for the file of this step over this transport.
    Fetch(Step, Transport),
    /// Waits for the address of the TVS server that is asked next.
    Resolve(Box<Lookup>),
    /// Waits for TVS to vouch for the signer of a file.
    Lookup(Box<Lookup>),
}

/// A file whose signer TVS is asked about.
#[derive(Debug)]
struct Lookup {
    step: Step,
    file: Arc<[u8]>,
    members: Arc<[TvsMember]>,
    member: usize,
    /// Members that presented a certificate which the lists do not hold.
    refused_certificates: usize,
}

/// What has happened in this boot.
#[derive(Clone, Copy, Debug, Default)]
struct Boot {
    /// HTTP or HTTPS was out of reach: files are asked for over TFTP until the next boot.
    without_http: bool,
    config_accepted: bool,
    stuck: bool,
    failure: Option<Failure>,
}

/// Most TVS servers that are asked for one signer (TVS-04).
const TVS_MEMBERS_ASKED_MAX: usize = 3;
/// Most signers in the TVS cache of a phone; the oldest goes first.
const TVS_CACHE_MAX: usize = 16;
/// The first session id that a phone uses, and the first token (seen in traces, `spec/tvs.md`).
const FIRST_SESSION: u32 = 1_001;

impl Phone {
    /// A phone from the factory: no list, no configuration.
    pub fn new(id: PhoneId, model: impl Into<Model>) -> Phone {
        Phone {
            id,
            model: model.into(),
            boot: Boot::default(),
            token: FIRST_SESSION - 1,
            lists: TrustLists::default(),
            config: None,
            cache: Vec::new(),
            state: State::Rest,
        }
    }

    /// Gives the phone lists and a configuration that it is to have accepted earlier.
    pub fn install(&mut self, lists: TrustLists, config: Option<StoredConfig>) {
        (self.lists, self.config) = (lists, config);
    }

    /// Gives the phone a list and the content of a configuration as if it had accepted them
    /// earlier; `identity` says whose signature the configuration had.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn provision(
        &mut self,
        env: &Env,
        list: &[u8],
        config: &[u8],
        identity: FileIdentity,
    ) -> Result<(), ProvisionError> {
        let list = env.shared.list(&SignedFile::parse(list)?)?;
        let tvs = env.shared.members(config)?;
        let lists = TrustLists { ctl: None, itl: Some(list) };
        self.install(lists, Some(StoredConfig { tvs, identity }));
        Ok(())
    }

    /// Whether the list and the configuration in force are those that are served now; `served`
    /// names what a file is. A file that is not served asks nothing of the phone.
    pub fn is_current(&self, served: impl Fn(FileName) -> Option<FileIdentity>) -> bool {
        let asked = |step: Step| served(step.file_name(self.name(), self.lists.any()));
        let list = asked(Step::Itl).or_else(|| asked(Step::ItlGeneric));
        let config = asked(Step::Config).or_else(|| asked(Step::ConfigDefault));
        let held_list = self.lists.itl.as_ref().map(|itl| itl.identity());
        let held_config = self.config.as_ref().map(|config| config.identity);
        (list.is_none() || list == held_list) && (config.is_none() || config == held_config)
    }

    /// The phone's number.
    pub const fn id(&self) -> PhoneId {
        self.id
    }

    /// The phone's name.
    pub fn name(&self) -> DeviceName {
        DeviceName::of_phone(self.id)
    }

    /// The lists that are in force.
    pub const fn lists(&self) -> &TrustLists {
        &self.lists
    }

    /// The configuration that is in force.
    pub const fn config(&self) -> Option<&StoredConfig> {
        self.config.as_ref()
    }

    /// From a reset of this phone to its first request.
    pub fn boot_time(&self, env: &Env) -> Span {
        env.profile.boot_time.of(self.id, self.model)
    }

    /// How this phone asks for a file over TFTP.
    pub fn download(&self, env: &Env, file: Arc<str>) -> DownloadRequest {
        let profile = &env.profile;
        let block_size = profile.tftp_block_size.of(self.model).map(u64::from);
        DownloadRequest {
            file,
            options: Options { block_size, ..Options::default() },
            size_max: FILE_SIZE_MAX,
            timeout: profile.tftp_timeout,
            tries: profile.tftp_tries,
        }
    }

    /// The token of the timer or question that was asked for last.
    pub const fn token(&self) -> u32 {
        self.token
    }

    /// Whether this is the token of a timer that was set: the last one, too, may belong to a boot
    /// that a reset has ended.
    const fn was_given(&self, token: u32) -> bool {
        matches!(self.token.wrapping_sub(token), 0..=0x7FFF_FFFF)
    }

    /// Whether the phone waits for the answer of TVS with this token.
    pub fn awaits_tvs(&self, token: u32) -> bool {
        matches!(self.state, State::Lookup(_)) && self.token == token
    }

    /// Advances the phone by one input at `now`; what it wants and what happened go to `sink`.
    pub fn handle(&mut self, env: &Env, now: Time, input: Input<'_>, sink: &mut Sink) {
        match (std::mem::replace(&mut self.state, State::Rest), input) {
            (_, Input::Boot) => self.start_boot(env, now, sink),
            (state, Input::EraseLists) => {
                (self.lists, self.cache) = (TrustLists::default(), Vec::new());
                self.state = state;
            }
            (State::Wait(step), Input::Timer { token }) if token == self.token => {
                self.fetch(env, step, sink);
            }
            (State::Fetch(step, transport), Input::File { bytes }) => {
                self.on_file(env, now, (step, transport), bytes, sink);
            }
            (State::Fetch(step, _), Input::FileMissing) => self.on_missing(env, now, step, sink),
            (
                State::Fetch(step, from @ (Transport::Http | Transport::Https)),
                Input::HttpFailed { fault },
            ) => self.fall_back(step, from, fault, sink),
            (State::Fetch(step, Transport::Tftp), Input::FileFailed { fault }) => {
                self.fail(Failure::Transfer(fault));
                self.next_step(env, now, step, sink);
            }
            (State::Resolve(lookup), Input::Resolved { token, address }) if token == self.token => {
                match address {
                    Some(address) => self.ask_server(lookup, address, sink),
                    None => self.on_tvs_fault(env, now, lookup, TvsFault::Unresolved, sink),
                }
            }
            (State::Lookup(lookup), Input::TvsAnswer { token, bytes }) if token == self.token => {
                self.on_tvs_answer(env, now, lookup, bytes, sink);
            }
            (State::Lookup(lookup), Input::TvsFailed { token, fault }) if token == self.token => {
                self.on_tvs_fault(env, now, lookup, fault, sink);
            }
            // Timers are not taken back: one of an earlier boot may still fire.
            (state, Input::Timer { token }) if self.was_given(token) => self.state = state,
            (state, _) => {
                self.state = state;
                sink.fact(Fact::Unexpected);
            }
        }
    }

    fn start_boot(&mut self, env: &Env, now: Time, sink: &mut Sink) {
        self.boot = Boot::default();
        sink.fact(Fact::BootStarted);
        let boot_time = self.boot_time(env);
        self.after(env, boot_time, now, Step::Ctl, sink);
    }

    /// Goes to `step` after a pause, or at once if there is none.
    fn after(&mut self, env: &Env, pause: Span, now: Time, step: Step, sink: &mut Sink) {
        if pause.is_zero() {
            return self.fetch(env, step, sink);
        }
        self.token = self.token.wrapping_add(1);
        self.state = State::Wait(step);
        sink.act(Action::SetTimer { at: now + pause, token: self.token });
    }

    fn fetch(&mut self, env: &Env, step: Step, sink: &mut Sink) {
        let transport = match env.profile.transport.first(self.model) {
            Transport::Http if self.boot.without_http => Transport::Tftp,
            Transport::Http if step.kind() == FileKind::Config && self.lists.offers_https() => {
                Transport::Https
            }
            first => first,
        };
        self.fetch_over(transport, step, sink);
    }

    fn fetch_over(&mut self, transport: Transport, step: Step, sink: &mut Sink) {
        self.state = State::Fetch(step, transport);
        let file = step.file_name(self.name(), self.lists.any()).into();
        sink.act(Action::Fetch { step, file, transport });
    }

    /// HTTP is never the last word on a file: TFTP is.
    fn fall_back(&mut self, step: Step, from: Transport, fault: HttpFault, sink: &mut Sink) {
        self.boot.without_http |= fault.is_lasting();
        sink.fact(Fact::TransportFellBack { from, fault });
        self.fetch_over(Transport::Tftp, step, sink);
    }

    fn on_missing(&mut self, env: &Env, now: Time, step: Step, sink: &mut Sink) {
        let generic = match step {
            Step::Ctl if env.profile.asks_generic_ctl => Some(Step::CtlGeneric),
            Step::Itl => Some(Step::ItlGeneric),
            Step::Config => Some(Step::ConfigDefault),
            _ => None,
        };
        if let Some(generic) = generic {
            return self.after(env, env.profile.think, now, generic, sink);
        }
        if step == Step::ConfigDefault {
            self.fail(Failure::ConfigMissing);
        }
        self.next_step(env, now, step, sink);
    }

    fn on_file(
        &mut self,
        env: &Env,
        now: Time,
        (step, transport): (Step, Transport),
        bytes: &[u8],
        sink: &mut Sink,
    ) {
        if bytes.is_empty() {
            // Phones are sometimes served a file of no bytes: it counts as no file.
            return self.on_missing(env, now, step, sink);
        }
        let kind = step.kind();
        if let Some(path) = self.needs_no_signature(kind, transport, bytes) {
            let identity = FileIdentity::unsigned(bytes);
            let stored = self.store_config(env, bytes, identity, path, sink);
            return self.finish_file(env, now, step, stored, sink);
        }
        let Ok(file) = SignedFile::parse(bytes) else {
            return self.finish_file(env, now, step, Err(Refusal::Malformed), sink);
        };
        let verdict = match judge(&self.lists, kind, &file, &env.verifier) {
            Judgement::Accept(path) => self.install_file(env, kind, &file, path, sink),
            Judgement::Refuse(refusal) => {
                // State B asks nobody; without a TVS record in its list there is nobody to ask.
                self.boot.stuck |= refusal == Refusal::UnknownSigner && !self.lists.holds_any_tvs();
                Err(refusal)
            }
            Judgement::AskTvs => return self.ask_cache(env, now, step, &file, sink),
        };
        self.finish_file(env, now, step, verdict, sink);
    }

    /// Why a configuration is taken without a signature, if it is: state A asks for the unsigned
    /// name, and over HTTPS the lists vouch for the server (`spec/signed-file.md`, names).
    fn needs_no_signature(
        &self,
        kind: FileKind,
        transport: Transport,
        bytes: &[u8],
    ) -> Option<AcceptPath> {
        match (kind, transport) {
            (FileKind::Config, _) if !self.lists.any() => Some(AcceptPath::First),
            (FileKind::Config, Transport::Https) if !SignedFile::is_signed(bytes) => {
                Some(AcceptPath::Https)
            }
            _ => None,
        }
    }

    /// Steps 5 and 6 of the procedure: the TVS cache, then the servers of the stored
    /// configuration in their order.
    fn ask_cache(
        &mut self,
        env: &Env,
        now: Time,
        step: Step,
        file: &SignedFile<'_>,
        sink: &mut Sink,
    ) {
        let kind = step.kind();
        self.cache.retain(|signer| signer.expires > now);
        let fitting = |known: &&VouchedSigner| known.signer.is(file) && known.signer.fits(kind);
        let vouched = self.cache.iter().find(fitting).map(|known| Arc::clone(&known.signer));
        if let Some(signer) = vouched {
            sink.fact(Fact::TvsCacheHit);
            let verdict = env
                .verifier
                .verify(file, &signer.public_key)
                .map_err(Refusal::from)
                .and_then(|()| self.install_file(env, kind, file, AcceptPath::TvsCache, sink));
            return self.finish_file(env, now, step, verdict, sink);
        }
        let members =
            self.config.as_ref().map(|config| Arc::clone(&config.tvs)).unwrap_or_default();
        let lookup = Lookup {
            step,
            file: env.shared.keep(file.bytes()),
            members,
            member: 0,
            refused_certificates: 0,
        };
        self.ask_member(env, now, Box::new(lookup), sink);
    }

    fn ask_member(&mut self, env: &Env, now: Time, lookup: Box<Lookup>, sink: &mut Sink) {
        let asked = lookup.members.len().min(TVS_MEMBERS_ASKED_MAX);
        if lookup.member >= asked || !self.lists.holds_any_tvs() {
            return self.give_up(env, now, &lookup, asked, sink);
        }
        let name = &lookup.members[lookup.member].address;
        if let Ok(address) = name.parse() {
            return self.ask_server(lookup, address, sink);
        }
        self.token = self.token.wrapping_add(1);
        sink.act(Action::Resolve { name: name.clone(), token: self.token });
        self.state = State::Resolve(lookup);
    }

    fn ask_server(&mut self, lookup: Box<Lookup>, address: IpAddr, sink: &mut Sink) {
        let file =
            SignedFile::parse(&lookup.file).expect("a file is looked up after it was parsed");
        self.token = self.token.wrapping_add(1);
        let device_name = format!("CP-{}-{}", self.model.short(), self.name());
        let request = Request {
            session_id: self.token,
            device_name: &device_name,
            question: Question::Query {
                subject: file.header.signer_name,
                issuer: file.header.issuer,
                serial: file.header.serial,
            },
        };
        sink.act(Action::AskTvs {
            members: Arc::clone(&lookup.members),
            member: lookup.member,
            address,
            token: self.token,
            request: request.encode(),
            lists: self.lists.clone(),
        });
        self.state = State::Lookup(lookup);
    }

    /// Nobody vouches. Stuck, if no server can: each presented a certificate that the lists do
    /// not hold, or there is none to ask; else a server was merely out of reach.
    fn give_up(&mut self, env: &Env, now: Time, lookup: &Lookup, asked: usize, sink: &mut Sink) {
        if lookup.refused_certificates == asked || !self.lists.holds_any_tvs() {
            self.boot.stuck = true;
        } else {
            self.fail(Failure::TvsUnreachable);
        }
        self.finish_file(env, now, lookup.step, Err(Refusal::UnknownSigner), sink);
    }

    fn on_tvs_fault(
        &mut self,
        env: &Env,
        now: Time,
        mut lookup: Box<Lookup>,
        fault: TvsFault,
        sink: &mut Sink,
    ) {
        sink.fact(Fact::TvsAttemptFailed { fault });
        lookup.refused_certificates += usize::from(fault == TvsFault::CertificateRefused);
        lookup.member += 1;
        if lookup.member < lookup.members.len().min(TVS_MEMBERS_ASKED_MAX) {
            sink.fact(Fact::TvsFailover);
        }
        self.ask_member(env, now, lookup, sink);
    }

    fn on_tvs_answer(
        &mut self,
        env: &Env,
        now: Time,
        lookup: Box<Lookup>,
        bytes: &[u8],
        sink: &mut Sink,
    ) {
        let file =
            SignedFile::parse(&lookup.file).expect("a file is looked up after it was parsed");
        let answer = match Response::parse(bytes) {
            Ok(answer)
                if answer.session_id == self.token && answer.command == Command::QueryResponse =>
            {
                answer
            }
            _ => return self.on_tvs_fault(env, now, lookup, TvsFault::WrongAnswer, sink),
        };
        let verdict = match answer.known {
            None => Err(Refusal::NotValid),
            Some(known) => match env.shared.signer(&known, now) {
                Some(vouched) if vouched.signer.is(&file) => Ok(vouched),
                _ => return self.on_tvs_fault(env, now, lookup, TvsFault::WrongAnswer, sink),
            },
        };
        sink.fact(Fact::TvsAnswered { command: answer.command });
        let step = lookup.step;
        let verdict = verdict.and_then(|signer| self.use_signer(env, step, &file, signer, sink));
        self.finish_file(env, now, step, verdict, sink);
    }

    /// TVS vouched for a signer: caches it, checks role and signature, installs the file.
    fn use_signer(
        &mut self,
        env: &Env,
        step: Step,
        file: &SignedFile<'_>,
        vouched: VouchedSigner,
        sink: &mut Sink,
    ) -> Result<(), Refusal> {
        let kind = step.kind();
        let signer = Arc::clone(&vouched.signer);
        self.cache.retain(|known| !known.signer.is(file));
        if self.cache.len() >= TVS_CACHE_MAX {
            self.cache.remove(0);
        }
        // Most phones know one signer: no room for more until there are more.
        self.cache.reserve_exact(1);
        self.cache.push(vouched);
        if !signer.fits(kind) {
            return Err(Refusal::WrongRole);
        }
        env.verifier.verify(file, &signer.public_key)?;
        self.install_file(env, kind, file, AcceptPath::Tvs, sink)
    }

    fn install_file(
        &mut self,
        env: &Env,
        kind: FileKind,
        file: &SignedFile<'_>,
        path: AcceptPath,
        sink: &mut Sink,
    ) -> Result<(), Refusal> {
        if kind == FileKind::Config {
            return self.store_config(env, file.body, env.shared.identity(file), path, sink);
        }
        let list = env.shared.list(file).map_err(|_| Refusal::Malformed)?;
        match kind {
            FileKind::Ctl => self.lists.ctl = Some(list),
            FileKind::Itl | FileKind::Config => self.lists.itl = Some(list),
        }
        sink.fact(Fact::FileAccepted { kind, path });
        Ok(())
    }

    fn store_config(
        &mut self,
        env: &Env,
        content: &[u8],
        identity: FileIdentity,
        path: AcceptPath,
        sink: &mut Sink,
    ) -> Result<(), Refusal> {
        let tvs = env.shared.members(content).map_err(|_| Refusal::Malformed)?;
        self.config = Some(StoredConfig { tvs, identity });
        self.boot.config_accepted = true;
        sink.fact(Fact::FileAccepted { kind: FileKind::Config, path });
        Ok(())
    }

    fn finish_file(
        &mut self,
        env: &Env,
        now: Time,
        step: Step,
        verdict: Result<(), Refusal>,
        sink: &mut Sink,
    ) {
        if let Err(refusal) = verdict {
            sink.fact(Fact::FileRefused { kind: step.kind(), refusal });
            self.fail(Failure::File(refusal));
        }
        self.next_step(env, now, step, sink);
    }

    fn next_step(&mut self, env: &Env, now: Time, step: Step, sink: &mut Sink) {
        let next = match step.kind() {
            FileKind::Ctl => Step::Itl,
            FileKind::Itl => Step::Config,
            FileKind::Config => return self.settle(sink),
        };
        self.after(env, env.profile.think, now, next, sink);
    }

    /// A refusal is final until the next reset: no back-off, no loop.
    fn settle(&mut self, sink: &mut Sink) {
        let outcome = match self.boot {
            Boot { stuck: true, .. } => Outcome::Stuck,
            Boot { failure: Some(failure), .. } => Outcome::Failed(failure),
            Boot { config_accepted: true, .. } => Outcome::Ready,
            Boot { .. } => Outcome::Failed(Failure::ConfigMissing),
        };
        sink.fact(Fact::Settled { outcome });
    }

    /// Remembers the first reason why this boot does not end ready.
    fn fail(&mut self, failure: Failure) {
        self.boot.failure.get_or_insert(failure);
    }
}
