use std::net::IpAddr;

use crate::base::{DeviceName, Model, PhoneId, Span, Time};

use crate::phone::contract::{Action, Fact, Sink};
use crate::phone::errand::{Answer, Ask, Errand, ErrandFault, Trust};
use crate::phone::held::{Boot, Held};
use crate::phone::verifier::Env;

/// What every task of a phone works with.
pub(in crate::phone) struct Context<'a> {
    pub(in crate::phone) env: &'a Env,
    pub(in crate::phone) now: Time,
    pub(in crate::phone) id: PhoneId,
    pub(in crate::phone) model: Model,
    pub(in crate::phone) held: &'a mut Held,
    pub(in crate::phone) boot: &'a mut Boot,
    /// Token of the timer or errand that was asked for last.
    pub(in crate::phone) token: &'a mut u32,
    pub(in crate::phone) sink: &'a mut Sink,
}

/// An address is not of the phone's mode (BOOT-21).
pub(in crate::phone) struct Unreachable;

/// What happens to a task: always what it asked for last.
#[derive(Clone, Copy, Debug)]
pub(in crate::phone) enum Event<'a> {
    Timer,
    /// The connection of its watch has ended.
    Lost,
    /// The server that its watch awaits can be reached.
    Reachable,
    /// Its errand came back.
    Answered(Result<Answer<'a>, ErrandFault>),
}

/// How a task goes on.
#[derive(Debug)]
pub(in crate::phone) enum Turn<T, D = ()> {
    /// It waits for what it asked for.
    Wait(T),
    /// It is over, with this.
    Done(D),
    /// It did not wait for this, and still waits.
    Unexpected(T),
}

impl<T> Turn<T> {
    /// The same of a task that holds this one.
    pub(super) fn map<U>(self, holds: impl FnOnce(T) -> U) -> Turn<U> {
        self.and_then(holds, |()| Turn::Done(()))
    }
}

impl<T, D> Turn<T, D> {
    /// The same of a task that holds this one and goes on behind its end as `then` says.
    pub(super) fn and_then<U>(
        self,
        holds: impl FnOnce(T) -> U,
        then: impl FnOnce(D) -> Turn<U>,
    ) -> Turn<U> {
        match self {
            Turn::Wait(task) => Turn::Wait(holds(task)),
            Turn::Done(done) => then(done),
            Turn::Unexpected(task) => Turn::Unexpected(holds(task)),
        }
    }
}

impl Context<'_> {
    /// The phone's name.
    pub(super) fn name(&self) -> DeviceName {
        DeviceName::of_phone(self.id)
    }

    pub(super) fn fact(&mut self, fact: Fact) {
        self.sink.facts.push(fact);
    }

    /// By what the phone judges servers now.
    pub(super) fn trust(&self, roles: &'static [u16]) -> Trust {
        Trust { lists: self.held.lists.clone(), roles, date_s: self.env.date_s(self.now) }
    }

    /// The token that the next timer or errand has.
    pub(super) const fn next_token(&self) -> u32 {
        self.token.wrapping_add(1)
    }

    /// Asks for the address of a name, wanted since `wanted`.
    pub(super) fn ask_name(&mut self, wanted: Time, name: &str) {
        self.ask(wanted, Ask::Name(name.to_owned(), self.env.profile.ip_mode));
    }

    /// The address that a host of a configuration is, `Err` if it is none that the phone can reach;
    /// `None` if it is a name.
    pub(super) fn literal(&self, host: &str) -> Option<Result<IpAddr, Unreachable>> {
        let address = host.parse().ok()?;
        let permits = self.env.profile.ip_mode.permits(address);
        Some(permits.then_some(address).ok_or(Unreachable))
    }

    /// Runs an errand for something that the phone wants since `wanted`.
    pub(super) fn ask(&mut self, wanted: Time, ask: Ask) {
        *self.token = self.next_token();
        self.sink.actions.push(Action::Do(Errand { token: *self.token, wanted, ask }));
    }

    /// Closes the connection that the last message has left open, if it did.
    pub(super) fn hang_up(&mut self) {
        self.sink.actions.push(Action::HangUp);
    }

    pub(super) fn wake_after(&mut self, pause: Span) {
        *self.token = self.next_token();
        self.sink.actions.push(Action::Wake { at: self.now + pause, token: *self.token });
    }
}
