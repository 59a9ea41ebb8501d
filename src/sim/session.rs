use std::collections::VecDeque;

use crate::base::{Span, Time};
use crate::measure::{Queue, StepKind};
use crate::phone::{Message, Step};
use crate::scenario::Plan;
use crate::wire::Dialogue;

use super::engine::Engine;
use super::event::{Event, LinkWish, Request};
use super::places::Places;

/// What goes on between a phone and the servers; a million of these exist.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Counts fetches and questions, so that what belongs to an earlier one is recognised.
    generation: u32,
    pub step: StepKind,
    /// The file that it asks for.
    pub file: Option<Step>,
    /// Which server of its list it asked last.
    pub server: u8,
    pub waits: Waits,
    /// When the request was sent.
    pub started: Time,
    /// Since when the phone wants what it waits for, whichever way was tried first.
    pub wanted: Time,
    /// Whether a place of the server's serving count is taken.
    pub served: bool,
    /// Requests over TFTP that were lost on their way.
    pub lost_requests: u8,
    /// Whether a TFTP server fell silent in mid-transfer.
    pub stalled: bool,
    pub http: OverHttp,
    /// The place that it has among those in flight: it gives up its connection before it calls.
    place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Connection,
    /// In the queue of its dialogue.
    Call(Queue),
}

/// What is special to a request over HTTP.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OverHttp {
    /// Whether the phone has a connection, and whether that is one over TLS.
    pub connected: Option<bool>,
    /// Whether the file is asked for over HTTPS.
    pub secure: bool,
    /// Whether a connection was opened for the request.
    pub connects: bool,
    /// Whether the answer of the server is on its way.
    pub answered: bool,
}

/// What goes on between all phones and the servers.
#[derive(Debug)]
pub(super) struct Sessions {
    all: Vec<Session>,
    watches: [Watch; 3],
    lookups: Places<Message>,
    registrations: Places<Message>,
    links: Places<LinkWish>,
}

impl Sessions {
    pub(super) fn new(plan: &Plan) -> Sessions {
        let (limits, phones) = (plan.limits, plan.fleet.phones);
        // What a generator has in flight at most; phones with hosts of their own know no such limit.
        let most = |limit: u32| if plan.cost.shared_host { limit } else { phones };
        Sessions {
            all: vec![Session::default(); phones as usize],
            watches: Default::default(),
            lookups: Places::new(most(limits.lookups_in_flight)),
            registrations: Places::new(most(limits.registrations_in_flight)),
            links: Places::new(most(limits.connections_in_flight)),
        }
    }

    pub(super) fn of(&self, phone: u32) -> &Session {
        &self.all[phone as usize]
    }

    pub(super) fn of_mut(&mut self, phone: u32) -> &mut Session {
        &mut self.all[phone as usize]
    }

    /// What a phone wants now.
    pub(super) fn request(&self, phone: u32) -> Request {
        Request { phone, generation: self.of(phone).generation }
    }

    /// Whether this is what the phone wants now.
    pub(super) fn is_current(&self, request: Request) -> bool {
        self.request(request.phone) == request
    }

    /// What belongs to the request of a phone until now is void; what counts from now on.
    pub(super) fn renew(&mut self, phone: u32) -> Request {
        self.of_mut(phone).generation += 1;
        self.request(phone)
    }

    /// A new request or question of a phone begins.
    pub(super) fn begin(&mut self, phone: u32, waits: Waits, now: Time) -> Request {
        let session = self.of_mut(phone);
        (session.waits, session.started) = (waits, now);
        (session.lost_requests, session.stalled) = (0, false);
        session.http.answered = false;
        self.renew(phone)
    }

    /// A phone that has a place for a connection gives `wish` back, which it may ask for; others
    /// ask when they get one.
    pub(super) fn connect(&mut self, request: Request, wish: LinkWish) -> Option<LinkWish> {
        if self.of(request.phone).place == Some(Place::Connection) {
            return Some(wish);
        }
        self.links.enter(request, wish)
    }

    /// A phone gives up its connection: who may connect instead.
    pub(super) fn disconnect(&mut self, phone: u32) -> Option<(Request, LinkWish)> {
        let session = &mut self.all[phone as usize];
        session.http.connected = None;
        session.place.take_if(|place| *place == Place::Connection)?;
        self.links.leave(is_current(&self.all))
    }

    /// A phone begins its request over HTTP on a place that it has.
    pub(super) fn use_link(&mut self, phone: u32, now: Time) -> &mut Session {
        let session = self.of_mut(phone);
        (session.waits, session.started) = (Waits::Http, now);
        session.place = Some(Place::Connection);
        session
    }

    /// Gives `message` back if there is a place for a call; it is said later otherwise.
    pub(super) fn call(&mut self, request: Request, message: Message) -> Option<Message> {
        let places = match Queue::of(message.dialogue) {
            Queue::Registrations => &mut self.registrations,
            Queue::Connections | Queue::Lookups | Queue::Transfers => &mut self.lookups,
        };
        places.enter(request, message)
    }

    /// A phone begins its call on a place that it got.
    pub(super) fn use_call(&mut self, phone: u32, dialogue: Dialogue, now: Time) {
        let session = self.of_mut(phone);
        (session.waits, session.started) = (Waits::Reply, now);
        session.place = Some(Place::Call(Queue::of(dialogue)));
    }

    /// A call of a phone has ended, or is no longer wanted: who may call instead.
    pub(super) fn hang_up(&mut self, phone: u32) -> Option<(Request, Message)> {
        let place = self.of_mut(phone).place.take_if(|place| matches!(place, Place::Call(_)))?;
        let Place::Call(Queue::Registrations) = place else {
            return self.lookups.leave(is_current(&self.all));
        };
        self.registrations.leave(is_current(&self.all))
    }

    /// Begins a wait of this kind that ends after `length`.
    pub(super) fn watch(
        &mut self,
        engine: &mut Engine,
        request: Request,
        kind: Waits,
        length: Span,
    ) {
        let (at, slot) = (engine.now() + length, kind.slot());
        if self.watches[slot].add(at, request) {
            engine.push(at, Event::WatchDue(slot as u8));
        }
    }

    /// A wait in this place of the watches that is over, and its kind.
    pub(super) fn expired(&mut self, now: Time, slot: u8) -> Option<(Waits, Request)> {
        let kind = Waits::KINDS[usize::from(slot)];
        let is_current = is_current(&self.all);
        let holds = |request: Request| {
            is_current(request) && self.all[request.phone as usize].waits == kind
        };
        let request = self.watches[usize::from(slot)].expired(now, holds)?;
        Some((kind, request))
    }

    /// Nothing more of this kind is over: looks again when it may be.
    pub(super) fn watch_on(&mut self, engine: &mut Engine, slot: u8) {
        if let Some(at) = self.watches[usize::from(slot)].rest() {
            engine.push(at, Event::WatchDue(slot));
        }
    }
}

fn is_current(sessions: &[Session]) -> impl Fn(Request) -> bool + '_ {
    |request| sessions[request.phone as usize].generation == request.generation
}

/// What a phone waits for with a time-out of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// For nothing, or for something that will come.
    #[default]
    Nothing,
    /// For the first answer of a TFTP server.
    Tftp,
    Http,
    /// For the reply to a message.
    Reply,
    /// For the rest of a TFTP transfer that has begun; its end is known.
    Transfer,
}

impl Waits {
    /// The waits that are watched.
    const KINDS: [Waits; 3] = [Waits::Tftp, Waits::Http, Waits::Reply];

    /// The place of a watched wait among them.
    fn slot(self) -> usize {
        self as usize - Waits::KINDS[0] as usize
    }
}

/// Time-outs in the order in which they come; all of one kind are of one length.
#[derive(Debug, Default)]
struct Watch {
    due: VecDeque<(Time, Request)>,
    /// Whether the driver is going to look at it.
    armed: bool,
}

impl Watch {
    /// A wait begins that ends at `at`; whether the driver must look then.
    fn add(&mut self, at: Time, request: Request) -> bool {
        self.due.push_back((at, request));
        !std::mem::replace(&mut self.armed, true)
    }

    /// The first wait that `holds` says is still a wait, if it is over at `now`.
    fn expired(&mut self, now: Time, holds: impl Fn(Request) -> bool) -> Option<Request> {
        while let Some(&(at, request)) = self.due.front() {
            let is_wait = holds(request);
            if is_wait && at > now {
                return None;
            }
            self.due.pop_front();
            if is_wait {
                return Some(request);
            }
        }
        None
    }

    /// The driver has looked: when it must look again, if it must.
    fn rest(&mut self) -> Option<Time> {
        self.armed = !self.due.is_empty();
        self.due.front().map(|due| due.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_half_a_cache_line() {
        assert_eq!(size_of::<Session>(), 32);
    }
}
