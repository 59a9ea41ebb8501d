use std::net::{IpAddr, SocketAddr};

use crate::base::{Span, Time};
use crate::phone::contract::{Action, Fact, Unregistered, Watch, Way};
use crate::phone::errand::{Answer, Ask, ErrandFault, Message, TvsFault};
use crate::wire::sip::{PING, Registration, parse_answer};
use crate::wire::{Dialogue, ROLE_CALLMANAGER, ROLE_CALLMANAGER_TFTP, SipMember};

use super::context::{Context, Event, Turn};

/// Registering at the members of the CallManager group of the stored configuration, and staying
/// registered.
#[derive(Debug)]
pub(in crate::phone) struct RegisterTask {
    state: State,
    /// The member that is asked, or was asked last.
    member: u8,
    /// Members that were asked since the phone was last registered, at most all of them.
    tried: u8,
    /// The member that it is registered with.
    holds: Option<u8>,
    /// What is known of the addresses of the members.
    addresses: [Option<IpAddr>; MEMBERS_MAX],
    /// Why it is not registered, as far as a member has said.
    cause: Unregistered,
    /// Since when it wants to be registered.
    since: Time,
    /// Why it asks, or has asked last.
    reason: Reason,
    /// The number of the request that is under way.
    number: u32,
    /// Whether every member was asked in vain, and nobody waits for the outcome.
    is_settled: bool,
    /// Whether the first member was silent, so that the phone wants to fall back to it.
    wants_first: bool,
    /// Attempts to fall back that have failed.
    fallbacks_failed: u8,
    /// When it asks to be registered anew, while it is registered.
    refresh_at: Time,
    /// Whether an earlier member has become reachable while it was asking.
    is_reachable: bool,
}

/// Why a phone asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// It has booted.
    Booted,
    /// Its connection has ended then.
    Lost(Time),
    /// An earlier member was reachable from then on.
    Due(Time),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waits for the address of the member.
    Resolve,
    /// Waits for the answer of the member.
    Ask,
    /// Waits until a member that was full may not be so any longer, or every member is asked again.
    Pause,
    /// Is registered.
    Rest,
    /// Waits for the member that it is registered with to renew that.
    Refresh,
    /// Is registered with a later member; waits until an earlier one was reachable for long enough.
    Monitor,
}

/// Attempts to fall back before a phone stays where it is (choice).
const FALLBACKS_MAX: u8 = 3;
/// Most members of a CallManager group.
const MEMBERS_MAX: usize = 3;

type Next = Turn<Box<RegisterTask>>;

impl RegisterTask {
    /// Begins with the first member; nothing if the phone knows of none.
    pub(in crate::phone) fn begin(cx: &mut Context<'_>) -> Next {
        if members(cx).is_empty() {
            cx.fact(Fact::Unregistered { cause: Unregistered::NoConfig, way: Way::Boot });
            return Turn::Done(());
        }
        cx.fact(Fact::Registering);
        let task = RegisterTask {
            state: State::Ask,
            member: 0,
            tried: 0,
            holds: None,
            addresses: [None; MEMBERS_MAX],
            cause: Unregistered::NoAnswer,
            since: cx.now,
            reason: Reason::Booted,
            number: 0,
            is_settled: false,
            wants_first: false,
            fallbacks_failed: 0,
            refresh_at: Time::NEVER,
            is_reachable: false,
        };
        ask_member(cx, Box::new(task))
    }

    /// Goes on after something else that the phone has done while it was at rest.
    pub(in crate::phone) fn go_on(self: Box<Self>, cx: &mut Context<'_>) -> Next {
        rest(cx, self)
    }

    /// Why it asks, at `now`.
    fn way(&self, now: Time) -> Way {
        let us = |since: Time| u32::try_from(now.since(since).as_micros()).unwrap_or(u32::MAX);
        match self.reason {
            Reason::Booted => Way::Boot,
            Reason::Lost(since) => Way::Failover { us: us(since) },
            Reason::Due(since) => Way::Fallback { us: us(since) },
        }
    }

    /// The address of the member that is asked, or was asked last.
    fn address(&self) -> Option<IpAddr> {
        self.addresses[usize::from(self.member)]
    }

    /// Whether it is registered and waits for nothing.
    pub(in crate::phone) fn is_at_rest(&self) -> bool {
        self.state == State::Rest
    }

    /// Advances by one event.
    pub(in crate::phone) fn on(
        mut self: Box<Self>,
        cx: &mut Context<'_>,
        event: Event<'_>,
    ) -> Next {
        match (self.state, event) {
            (State::Resolve, Event::Answered(Ok(Answer::Address(Some(address))))) => {
                self.addresses[usize::from(self.member)] = Some(address);
                ask_server(cx, self, address)
            }
            (
                State::Resolve,
                Event::Answered(Ok(Answer::Address(None)) | Err(ErrandFault::NameUnanswered)),
            ) => on_silence(cx, self, Unregistered::NoAnswer),
            (State::Ask, Event::Answered(Ok(Answer::Said(bytes)))) => on_answer(cx, self, bytes),
            (State::Ask, Event::Answered(Err(ErrandFault::Dialogue(fault)))) => {
                on_silence(cx, self, cause_of(fault))
            }
            (State::Pause, Event::Timer) => ask_member(cx, self),
            (State::Monitor, Event::Timer) => {
                // The earlier member has been there for long enough.
                (self.member, self.tried, self.since) = (0, 0, cx.now);
                ask_member(cx, self)
            }
            (State::Rest, Event::Timer) => refresh(cx, self),
            (State::Refresh, Event::Answered(answer)) => on_refreshed(cx, self, answer),
            (State::Rest, Event::Reachable) => monitor(cx, self),
            (State::Refresh, Event::Reachable) => {
                self.is_reachable = true;
                Turn::Wait(self)
            }
            (_, Event::Lost) => on_lost(cx, self),
            (_, Event::Reachable) => Turn::Wait(self),
            _ => Turn::Unexpected(self),
        }
    }
}

fn members<'a>(cx: &'a Context<'_>) -> &'a [SipMember] {
    let config = cx.held.config.as_ref();
    let members = config.map_or(&[][..], |config| &config.content.call_managers);
    &members[..members.len().min(MEMBERS_MAX)]
}

/// Whether the configuration wants TLS and a certificate of the phone.
fn is_secure(cx: &Context<'_>) -> bool {
    cx.held.config.as_ref().is_some_and(|config| config.content.is_secure)
}

/// Asks the member whose turn it is.
fn ask_member(cx: &mut Context<'_>, mut task: Box<RegisterTask>) -> Next {
    let Some(member) = members(cx).get(usize::from(task.member)) else {
        return give_up(cx, task);
    };
    let known = task.addresses[usize::from(task.member)].map(Ok);
    match known.or_else(|| cx.literal(&member.address)) {
        Some(Ok(address)) => {
            task.addresses[usize::from(task.member)] = Some(address);
            return ask_server(cx, task, address);
        }
        Some(Err(_)) => return on_silence(cx, task, Unregistered::NoAnswer),
        None => {}
    }
    let name = member.address.clone();
    task.state = State::Resolve;
    cx.ask_name(task.since, &name);
    Turn::Wait(task)
}

fn ask_server(cx: &mut Context<'_>, mut task: Box<RegisterTask>, address: IpAddr) -> Next {
    (task.state, task.number) = (State::Ask, cx.next_token());
    let message = message(cx, task.member, address, Some(task.number));
    cx.ask(task.since, Ask::Say(message));
    Turn::Wait(task)
}

/// The REGISTER with this number for a member at this address; a keep-alive without one.
fn message(cx: &mut Context<'_>, member: u8, address: IpAddr, number: Option<u32>) -> Message {
    let secure = is_secure(cx);
    let shows = if secure { cx.held.shows(cx.id, cx.model) } else { None };
    let ports = &members(cx)[usize::from(member)];
    let (dialogue, port) =
        if secure { (Dialogue::Sips, ports.secured_port) } else { (Dialogue::Sip, ports.port) };
    let server = SocketAddr::new(address, port);
    let (model, config) = (cx.model.short().to_string(), cx.held.config.as_ref());
    let register = |number| {
        let registration = Registration {
            server,
            device: cx.name(),
            model: &model,
            load: config.map_or("", |config| &config.content.load),
            secure,
            number,
            expires: cx.env.profile.registration.expires,
        };
        registration.encode()
    };
    Message {
        dialogue,
        server,
        bytes: number.map_or_else(|| PING.to_vec(), register),
        trust: cx.trust(&[ROLE_CALLMANAGER, ROLE_CALLMANAGER_TFTP]),
        shows,
        stays: false,
    }
}

fn on_answer(cx: &mut Context<'_>, task: Box<RegisterTask>, bytes: &[u8]) -> Next {
    let Ok(answer) = parse_answer(bytes, task.number) else {
        return on_silence(cx, task, Unregistered::NoAnswer);
    };
    let Some(server) = task.address() else { return Turn::Unexpected(task) };
    match (answer.status, answer.retry_after_s) {
        (200..=299, _) => on_registered(cx, task, server, answer.expires_s),
        (503, Some(seconds)) => {
            // The node says when, and the phone obeys.
            cx.fact(Fact::RegistrationFull { server });
            pause(cx, task, Span::from_secs(u64::from(seconds.clamp(1, RETRY_AFTER_MAX_S))))
        }
        (503, None) => {
            cx.fact(Fact::RegistrationFull { server });
            on_silence(cx, task, Unregistered::Full)
        }
        _ => on_silence(cx, task, Unregistered::Refused),
    }
}

/// Longest `Retry-After` in seconds that a phone obeys (choice).
const RETRY_AFTER_MAX_S: u32 = 3_600;

fn pause(cx: &mut Context<'_>, mut task: Box<RegisterTask>, length: Span) -> Next {
    task.state = State::Pause;
    cx.wake_after(length);
    Turn::Wait(task)
}

fn on_registered(
    cx: &mut Context<'_>,
    mut task: Box<RegisterTask>,
    server: IpAddr,
    expires_s: Option<u32>,
) -> Next {
    if task.holds.is_some_and(|before| task.member < before) {
        cx.fact(Fact::FellBack { server });
        task.fallbacks_failed = 0;
    }
    cx.fact(Fact::Registered { member: task.member, server, way: task.way(cx.now) });
    task.holds = Some(task.member);
    (task.tried, task.cause, task.is_settled) = (0, Unregistered::NoAnswer, false);
    (task.refresh_at, task.is_reachable) = (refresh_at(cx, expires_s), false);
    watch(cx, &task);
    rest(cx, task)
}

/// When a registration is renewed that holds for so many seconds; for as long as the phone has asked
/// for, if the node does not say how long.
fn refresh_at(cx: &Context<'_>, expires_s: Option<u32>) -> Time {
    let asked = cx.env.profile.registration.expires;
    let holds = expires_s.map_or(asked, |seconds| Span::from_secs(u64::from(seconds)));
    let half = Span::from_nanos(holds.as_nanos() / 2);
    cx.now + Span::from_nanos(holds.as_nanos() - half.min(REFRESH_EARLY).as_nanos())
}

/// How long before the end of a registration a phone asks anew (`timerRegisterDelta` of the
/// configurations of CUCM); no earlier than after half of it (choice).
const REFRESH_EARLY: Span = Span::from_secs(5);

/// Is registered until that is to be renewed, or an earlier member is to be had.
fn rest(cx: &mut Context<'_>, mut task: Box<RegisterTask>) -> Next {
    task.state = State::Rest;
    if std::mem::take(&mut task.is_reachable) {
        return monitor(cx, task);
    }
    cx.wake_after(task.refresh_at.since(cx.now));
    Turn::Wait(task)
}

/// Waits until the earlier member was there for long enough.
fn monitor(cx: &mut Context<'_>, mut task: Box<RegisterTask>) -> Next {
    (task.state, task.reason) = (State::Monitor, Reason::Due(cx.now));
    cx.fact(Fact::FallbackDue);
    cx.wake_after(cx.env.profile.registration.monitor);
    Turn::Wait(task)
}

/// Asks the member that it is registered with to renew that.
fn refresh(cx: &mut Context<'_>, mut task: Box<RegisterTask>) -> Next {
    let holds = task.holds.map(|member| (member, task.addresses[usize::from(member)]));
    let Some((member, Some(address))) = holds else { return Turn::Unexpected(task) };
    (task.member, task.since) = (member, cx.now);
    let mut next = ask_server(cx, task, address);
    if let Turn::Wait(task) = &mut next {
        task.state = State::Refresh;
    }
    next
}

/// What came of it: a member that does not renew the registration has lost the phone.
fn on_refreshed(
    cx: &mut Context<'_>,
    mut task: Box<RegisterTask>,
    answer: Result<Answer<'_>, ErrandFault>,
) -> Next {
    let Some(server) = task.address() else { return Turn::Unexpected(task) };
    let said = match answer {
        Ok(Answer::Said(bytes)) => parse_answer(bytes, task.number).ok(),
        Ok(_) => return Turn::Unexpected(task),
        Err(_) => None,
    };
    let cause = match (said, answer) {
        (Some(said), _) if (200..=299).contains(&said.status) => {
            cx.fact(Fact::RegistrationRefreshed { server });
            task.refresh_at = refresh_at(cx, said.expires_s);
            return rest(cx, task);
        }
        (Some(said), _) if said.status == 503 => {
            cx.fact(Fact::RegistrationFull { server });
            if let Some(seconds) = said.retry_after_s {
                let seconds = seconds.clamp(1, RETRY_AFTER_MAX_S);
                task.refresh_at = cx.now + Span::from_secs(u64::from(seconds));
                return rest(cx, task);
            }
            Unregistered::Full
        }
        (Some(_), _) => Unregistered::Refused,
        (None, Err(ErrandFault::Dialogue(fault))) => cause_of(fault),
        (None, _) => Unregistered::NoAnswer,
    };
    cx.fact(Fact::RegistrationFailed { cause, server: Some(server) });
    on_lost(cx, task)
}

/// Why a phone is not registered after a fault of a connection.
const fn cause_of(fault: TvsFault) -> Unregistered {
    match fault {
        TvsFault::CertificateRefused => Unregistered::CertificateRefused,
        TvsFault::TurnedAway => Unregistered::Refused,
        _ => Unregistered::NoAnswer,
    }
}

/// Has the driver watch the member that the phone is registered with, and the first one, to which
/// it wants to fall back.
fn watch(cx: &mut Context<'_>, task: &RegisterTask) {
    let mut of = |member: u8| {
        let address = task.addresses[usize::from(member)]?;
        Some(message(cx, member, address, None))
    };
    let holds = task.holds.and_then(&mut of);
    let wants_first = task.wants_first && task.fallbacks_failed < FALLBACKS_MAX;
    let awaits = task.holds.filter(|&member| member > 0 && wants_first).and_then(|_| of(0));
    cx.sink.actions.push(Action::Watch(Box::new(Watch { holds, awaits })));
}

/// A member did not register the phone: the next one is asked, each once.
fn on_silence(cx: &mut Context<'_>, mut task: Box<RegisterTask>, cause: Unregistered) -> Next {
    let server = task.address();
    if !task.is_settled {
        cx.fact(Fact::RegistrationFailed { cause, server });
    }
    task.cause = task.cause.max(cause);
    if task.member == 0 {
        task.wants_first = cause == Unregistered::NoAnswer;
    }
    if task.holds.is_some() {
        // It was an attempt to fall back: the phone stays where it is.
        cx.fact(Fact::FallbackFailed);
        task.fallbacks_failed += 1;
        watch(cx, &task);
        return rest(cx, task);
    }
    let count = members(cx).len() as u8;
    task.tried += 1;
    task.member = if task.member + 1 < count { task.member + 1 } else { 0 };
    if task.tried >= count {
        return give_up(cx, task);
    }
    if !task.is_settled {
        cx.fact(Fact::RegistrationFailover { from: server });
    }
    ask_member(cx, task)
}

/// Every member was asked: the phone is not registered, and asks all again after a while.
fn give_up(cx: &mut Context<'_>, mut task: Box<RegisterTask>) -> Next {
    if !std::mem::replace(&mut task.is_settled, true) {
        cx.fact(Fact::Unregistered { cause: task.cause, way: task.way(cx.now) });
    }
    (task.member, task.tried, task.cause) = (0, 0, Unregistered::NoAnswer);
    pause(cx, task, cx.env.profile.registration.retry)
}

/// The connection to the member has ended that the phone was registered with: the next one is
/// asked, and at last that one.
fn on_lost(cx: &mut Context<'_>, mut task: Box<RegisterTask>) -> Next {
    let Some(lost) = task.holds.take() else { return Turn::Wait(task) };
    let Some(server) = task.addresses[usize::from(lost)] else { return Turn::Unexpected(task) };
    cx.fact(Fact::RegistrationLost { server });
    let count = members(cx).len() as u8;
    (task.tried, task.since, task.cause) = (0, cx.now, Unregistered::NoAnswer);
    (task.reason, task.is_reachable) = (Reason::Lost(cx.now), false);
    task.wants_first |= lost == 0;
    task.member = if lost + 1 < count { lost + 1 } else { 0 };
    if task.member != lost {
        cx.fact(Fact::RegistrationFailover { from: Some(server) });
    }
    ask_member(cx, task)
}
