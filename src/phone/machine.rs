use std::sync::Arc;

use crate::base::{DeviceName, Model, PhoneId, Span, Time};
use crate::crypto::FileIdentity;
use crate::transfer::DownloadRequest;
use crate::wire::tftp::Options;
use crate::wire::{ConfigError, FileName, WireError};

use super::button::PressEnd;
use super::contract::{Fact, Input, Sink};
use super::families::holds_lists;
use super::file_kind::FileKind;
use super::held::{Boot, Held, StoredConfig};
use super::lists::{TrustList, TrustLists};
use super::lsc::HeldLsc;
use super::profile::FILE_SIZE_MAX;
use super::step::Step;
use super::task::{Context, Event, Task, Turn};
use super::verifier::Env;

/// One virtual phone: what it holds and where it is in a boot.
///
/// Inputs go into [`Phone::handle`]; everything that it wants or reports comes out of the sink.
/// At rest a phone owns no buffer and shares its lists with all phones that hold the same.
#[derive(Debug)]
pub struct Phone {
    id: PhoneId,
    model: Model,
    boot: Boot,
    token: u32,
    held: Held,
    /// What it does; nothing if it is off or has settled.
    task: Option<Task>,
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

/// Lists as files, header and all.
#[derive(Clone, Copy, Debug)]
pub struct ListFiles<'a> {
    /// A CTL.
    pub ctl: Option<&'a [u8]>,
    /// An ITL.
    pub itl: Option<&'a [u8]>,
}

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
            held: Held::default(),
            task: None,
        }
    }

    /// Gives the phone lists and a configuration that it is to have accepted earlier.
    pub fn install(&mut self, lists: TrustLists, config: Option<StoredConfig>) {
        (self.held.lists, self.held.config) = (lists, config);
    }

    /// Gives the phone an LSC that it is to have got earlier, or takes the one that it has.
    pub fn keep_lsc(&mut self, lsc: Option<HeldLsc>) {
        self.held.keep_lsc(lsc);
    }

    /// Gives the phone lists and the content of a configuration as if it had accepted them
    /// earlier; `identity` says whose signature the configuration had.
    pub fn provision(
        &mut self,
        env: &Env,
        lists: ListFiles<'_>,
        config: &[u8],
        identity: FileIdentity,
    ) -> Result<(), ProvisionError> {
        let list = |bytes| Ok::<_, ProvisionError>(env.shared.list(&env.shared.signed(bytes)?)?);
        let content = env.shared.config(config)?;
        if !holds_lists(self.model) {
            let identity = FileIdentity { signer: 0, ..identity };
            self.install(TrustLists::default(), Some(StoredConfig { content, identity }));
            return Ok(());
        }
        let lists = TrustLists {
            ctl: lists.ctl.map(list).transpose()?,
            itl: lists.itl.map(list).transpose()?,
        };
        self.install(lists, Some(StoredConfig { content, identity }));
        Ok(())
    }

    /// Whether the lists and the configuration in force are those that are served now; `served`
    /// names what a file is. A file that is not served asks nothing of the phone.
    pub fn is_current(&self, served: impl Fn(FileName) -> Option<FileIdentity>) -> bool {
        let asked = |step: Step| {
            let is_asked_for = step.kind() == FileKind::Config || holds_lists(self.model);
            served(step.file_name(self.name(), self.held.lists.any())).filter(|_| is_asked_for)
        };
        let ctl = asked(Step::Ctl);
        let list = asked(Step::Itl).or_else(|| asked(Step::ItlGeneric));
        let config = asked(self.held.config_step()).or_else(|| asked(Step::ConfigDefault));
        let identity = |list: &Option<Arc<TrustList>>| list.as_ref().map(|list| list.identity());
        let (held_ctl, held_list) =
            (identity(&self.held.lists.ctl), identity(&self.held.lists.itl));
        let held_config = self.held.config.as_ref().map(|config| config.identity);
        (ctl.is_none() || ctl == held_ctl)
            && (list.is_none() || list == held_list)
            && (config.is_none() || config == held_config)
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
        &self.held.lists
    }

    /// The configuration that is in force.
    pub const fn config(&self) -> Option<&StoredConfig> {
        self.held.config.as_ref()
    }

    /// The firmware load that it runs: that of the configuration in force. The image itself is not
    /// transferred.
    pub fn load(&self) -> Option<&str> {
        self.held.config.as_ref().map(|config| config.content.load.as_str())
    }

    /// Whether it is of a model that holds trust lists.
    pub fn holds_lists(&self) -> bool {
        holds_lists(self.model)
    }

    /// The checksum of its ITL, as its menu shows it under Settings > Security Configuration >
    /// Trust List (BOOT-16).
    pub fn itl_checksum(&self) -> Option<[u8; 16]> {
        self.held.lists.itl.as_ref().map(|itl| itl.checksum())
    }

    /// The LSC that it has.
    pub fn lsc(&self) -> Option<&HeldLsc> {
        self.held.lsc()
    }

    /// Which file of this kind, of those beside lists and configuration, is in force.
    pub fn further_file(&self, kind: FileKind) -> Option<FileIdentity> {
        self.held.further(kind)
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

    /// Advances the phone by one input at `now`; what it wants and what happened go to `sink`.
    pub fn handle(&mut self, env: &Env, now: Time, input: Input<'_>, sink: &mut Sink) {
        match input {
            Input::Boot => {
                sink.facts.extend(self.task.take().and_then(|task| task.cancelled()));
                self.boot = Boot::default();
                sink.facts.push(Fact::BootStarted);
                let boot_time = self.boot_time(env);
                let turn = Task::first(&mut self.context(env, now, sink), boot_time);
                self.go_on(env, now, turn, sink);
            }
            Input::Press(button) => match self.task.take().map(Task::beneath_press) {
                Some(Err(busy)) => {
                    self.task = Some(busy);
                    sink.facts.push(Fact::Pressed { button, end: PressEnd::Busy, server: None });
                }
                beneath => {
                    let beneath = beneath.and_then(Result::ok);
                    let mut cx = self.context(env, now, sink);
                    let turn = Task::of_button(&mut cx, button, beneath);
                    self.live_on(turn, sink);
                }
            },
            Input::EraseLists => {
                (self.held.lists, self.held.vouched) = (TrustLists::default(), Vec::new());
            }
            Input::Timer { token } if token == self.token => {
                self.on(env, now, Event::Timer, sink);
            }
            Input::Lost => self.on(env, now, Event::Lost, sink),
            Input::Reachable => self.on(env, now, Event::Reachable, sink),
            // Timers are not taken back: one of an earlier boot may still fire.
            Input::Timer { token } if self.was_given(token) => {}
            Input::Answered { token, result } if token == self.token => {
                self.on(env, now, Event::Answered(result), sink);
            }
            Input::Timer { .. } | Input::Answered { .. } => sink.facts.push(Fact::Unexpected),
        }
    }

    /// What the phone waited for has happened.
    fn on(&mut self, env: &Env, now: Time, event: Event<'_>, sink: &mut Sink) {
        match (self.task.take(), event) {
            (Some(task), _) if task.is_of_boot() => {
                let turn = task.on(&mut self.context(env, now, sink), event);
                self.go_on(env, now, turn, sink);
            }
            (Some(task), _) => {
                let turn = task.on(&mut self.context(env, now, sink), event);
                self.live_on(turn, sink);
            }
            (None, Event::Timer | Event::Lost | Event::Reachable) => {}
            (None, Event::Answered(_)) => sink.facts.push(Fact::Unexpected),
        }
    }

    fn context<'a>(&'a mut self, env: &'a Env, now: Time, sink: &'a mut Sink) -> Context<'a> {
        let Phone { id, model, boot, token, held, task: _ } = self;
        Context { env, now, id: *id, model: *model, held, boot, token, sink }
    }

    /// Goes on in a boot; with its end comes what is behind it.
    fn go_on(&mut self, env: &Env, now: Time, turn: Turn<Task>, sink: &mut Sink) {
        if !matches!(turn, Turn::Done(())) {
            return self.live_on(turn, sink);
        }
        self.task = None;
        sink.facts.push(Fact::Settled { outcome: self.boot.outcome() });
        if let Some(turn) = Task::behind_boot(&mut self.context(env, now, sink)) {
            self.live_on(turn, sink);
        }
    }

    fn live_on(&mut self, turn: Turn<Task>, sink: &mut Sink) {
        match turn {
            Turn::Wait(task) => self.task = Some(task),
            Turn::Done(()) => self.task = None,
            Turn::Unexpected(task) => {
                self.task = Some(task);
                sink.facts.push(Fact::Unexpected);
            }
        }
    }
}
