use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::Time;
use crate::phone::contract::Fact;
use crate::phone::errand::{Answer, Ask, ErrandFault, Message, TvsFault};
use crate::phone::vouched::VouchedSigner;
use crate::wire::tvs::{Command, Known, Question, Request, Response};
use crate::wire::{Config, Dialogue, ROLE_TVS, SignedFile, TvsMember};

use super::context::{Context, Event};

/// What TVS is asked about: a certificate that is in no list and no cache of the phone.
#[derive(Debug)]
pub(in crate::phone) enum Subject {
    /// The signer of this file, which was parsed before.
    Signer(Arc<[u8]>),
    /// What a server of pages has presented (DER).
    Server(Arc<[u8]>),
}

/// A question to the TVS servers of the stored configuration, one after the other.
#[derive(Debug)]
pub(in crate::phone) struct Lookup {
    subject: Subject,
    /// The stored configuration, which names the servers.
    config: Option<Arc<Config>>,
    member: usize,
    /// Members that presented a certificate which the lists do not hold.
    refused_certificates: usize,
    waits: Waits,
}

/// What a lookup waits for.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Address,
    /// The phone itself: then it asks the server at this address.
    Pause(IpAddr),
    Reply,
}

/// How a lookup goes on.
#[derive(Debug)]
pub(in crate::phone) enum Look {
    /// It waits for what it asked for.
    Wait(Box<Lookup>),
    /// TVS vouches.
    Known(Subject, VouchedSigner),
    /// TVS says no, which is final.
    Unknown,
    /// Nobody has answered. The phone is alone if no server can: each presented a certificate that
    /// the lists do not hold, or there is none to ask; else a server was merely out of reach.
    Unanswered { is_alone: bool },
    /// It did not wait for this, and still waits.
    Unexpected(Box<Lookup>),
}

/// Most TVS servers that are asked for one certificate (TVS-04).
const TVS_MEMBERS_ASKED_MAX: usize = 3;
/// Most certificates in the TVS cache of a phone; the oldest goes first.
const TVS_CACHE_MAX: usize = 16;

impl Lookup {
    /// Asks the first server.
    pub(in crate::phone) fn begin(cx: &mut Context<'_>, subject: Subject) -> Look {
        let config = cx.held.config.as_ref().map(|config| Arc::clone(&config.content));
        let waits = Waits::Reply;
        let lookup = Lookup { subject, config, member: 0, refused_certificates: 0, waits };
        Box::new(lookup).ask_member(cx)
    }

    /// Advances by one event.
    pub(in crate::phone) fn on(self: Box<Self>, cx: &mut Context<'_>, event: Event<'_>) -> Look {
        match (self.waits, event) {
            (Waits::Address, Event::Answered(Ok(Answer::Address(address)))) => {
                self.on_address(cx, address)
            }
            (Waits::Address, Event::Answered(Err(ErrandFault::NameUnanswered))) => {
                self.on_fault(cx, TvsFault::Unresolved)
            }
            (Waits::Pause(address), Event::Timer) => self.say(cx, address),
            (Waits::Reply, Event::Answered(Ok(Answer::Said(bytes)))) => self.on_answer(cx, bytes),
            (Waits::Reply, Event::Answered(Err(ErrandFault::Dialogue(fault)))) => {
                self.on_fault(cx, fault)
            }
            _ => Look::Unexpected(self),
        }
    }

    fn members(&self) -> &[TvsMember] {
        let members = self.config.as_ref().map_or(&[][..], |config| &config.tvs);
        &members[..members.len().min(TVS_MEMBERS_ASKED_MAX)]
    }

    fn ask_member(mut self: Box<Self>, cx: &mut Context<'_>) -> Look {
        let asked = self.members().len();
        if self.member >= asked || !cx.held.lists.holds_any_tvs() {
            let is_alone = self.refused_certificates == asked || !cx.held.lists.holds_any_tvs();
            return Look::Unanswered { is_alone };
        }
        let name = &self.members()[self.member].address;
        match cx.literal(name) {
            Some(Ok(address)) => return self.ask_server(cx, address),
            Some(Err(_)) => return self.on_fault(cx, TvsFault::Unresolved),
            None => {}
        }
        if cx.held.is_unknown(name, aged(cx)) {
            cx.fact(Fact::NameFromCache);
            return self.on_fault(cx, TvsFault::Unresolved);
        }
        cx.ask_name(cx.now, name);
        self.waits = Waits::Address;
        Look::Wait(self)
    }

    /// The DNS has answered.
    fn on_address(self: Box<Self>, cx: &mut Context<'_>, address: Option<IpAddr>) -> Look {
        if let Some(address) = address {
            return self.ask_server(cx, address);
        }
        learn_unknown(cx, &self.members()[self.member].address);
        self.on_fault(cx, TvsFault::Unresolved)
    }

    fn ask_server(mut self: Box<Self>, cx: &mut Context<'_>, address: IpAddr) -> Look {
        let pause = cx.env.profile.tvs_think;
        if pause.is_zero() {
            return self.say(cx, address);
        }
        cx.wake_after(pause);
        self.waits = Waits::Pause(address);
        Look::Wait(self)
    }

    fn say(mut self: Box<Self>, cx: &mut Context<'_>, address: IpAddr) -> Look {
        let device_name = format!("CP-{}-{}", cx.model.short(), cx.name());
        let file;
        let question = match &self.subject {
            Subject::Signer(bytes) => {
                file = parsed(cx, bytes);
                Question::Query {
                    subject: file.header.signer_name,
                    issuer: file.header.issuer,
                    serial: file.header.serial,
                }
            }
            Subject::Server(certificate) => Question::Verify { certificate },
        };
        let request = Request { session_id: cx.next_token(), device_name: &device_name, question };
        let message = Message {
            dialogue: Dialogue::Tvs,
            server: SocketAddr::new(address, self.members()[self.member].port),
            bytes: request.encode(),
            trust: cx.trust(&[ROLE_TVS]),
            shows: None,
            stays: self.keeps_session(cx),
        };
        cx.ask(cx.now, Ask::Say(message));
        self.waits = Waits::Reply;
        Look::Wait(self)
    }

    /// Whether the phone keeps its session with TVS for the next file of the boot (TVS-19). One
    /// for a page is over with the answer.
    fn keeps_session(&self, cx: &Context<'_>) -> bool {
        let is_of_file = matches!(self.subject, Subject::Signer(_));
        is_of_file && cx.env.profile.tvs_session.keeps(cx.model)
    }

    fn on_fault(mut self: Box<Self>, cx: &mut Context<'_>, fault: TvsFault) -> Look {
        cx.fact(Fact::TvsAttemptFailed { fault });
        self.refused_certificates += usize::from(fault == TvsFault::CertificateRefused);
        self.member += 1;
        if self.member < self.members().len() {
            cx.fact(Fact::TvsFailover);
        }
        self.ask_member(cx)
    }

    fn on_answer(self: Box<Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Look {
        let awaited = match self.subject {
            Subject::Signer(_) => Command::QueryResponse,
            Subject::Server(_) => Command::VerifyResponse,
        };
        let answer = match Response::parse(bytes) {
            Ok(answer) if answer.session_id == *cx.token && answer.command == awaited => answer,
            _ => return self.on_fault(cx, TvsFault::WrongAnswer),
        };
        let vouched = match answer.known {
            None => None,
            Some(known) => match self.vouched(cx, known) {
                Some(vouched) => Some(vouched),
                None => return self.on_fault(cx, TvsFault::WrongAnswer),
            },
        };
        cx.fact(Fact::TvsAnswered { command: answer.command, is_found: vouched.is_some() });
        match vouched {
            Some(vouched) => Look::Known(self.subject, vouched),
            None => Look::Unknown,
        }
    }

    /// What an answer vouches for, if that is what was asked for.
    fn vouched(&self, cx: &Context<'_>, known: Known<'_>) -> Option<VouchedSigner> {
        match &self.subject {
            Subject::Signer(bytes) => {
                let vouched = cx.env.shared.signer(&known, cx.now);
                vouched.filter(|vouched| vouched.signer.is(&parsed(cx, bytes)))
            }
            Subject::Server(der) => {
                let known = Known { certificate: Some(der), ..known };
                cx.env.shared.signer(&known, cx.now)
            }
        }
    }
}

/// Puts into the TVS cache what TVS has vouched for.
pub(in crate::phone) fn remember(cx: &mut Context<'_>, vouched: VouchedSigner) {
    let cache = &mut cx.held.vouched;
    cache.retain(|known| !known.signer.is_like(&vouched.signer));
    if cache.len() >= TVS_CACHE_MAX {
        cache.remove(0);
    }
    // Most phones know one signer: no room for more until there are more.
    cache.reserve_exact(1);
    cache.push(vouched);
}

/// Takes out of the TVS cache what has had its time.
pub(in crate::phone) fn forget_old(cx: &mut Context<'_>) {
    let (now, date_s) = (aged(cx), cx.env.date_s(cx.now));
    cx.held.vouched.retain(|known| known.expires > now && !known.signer.is_over(date_s));
}

/// The DNS has no record of this name.
pub(in crate::phone) fn learn_unknown(cx: &mut Context<'_>, name: &str) {
    let now = aged(cx);
    cx.held.learn_unknown(name, now, now + cx.env.profile.dns_negative_ttl);
}

/// Now, for what ages by the calendar.
pub(in crate::phone) fn aged(cx: &Context<'_>) -> Time {
    cx.env.shared.calendar().aged(cx.now)
}

/// A file whose signer is or was looked up.
pub(in crate::phone) fn parsed<'a>(cx: &Context<'_>, file: &'a [u8]) -> SignedFile<'a> {
    cx.env.shared.signed(file).expect("a file is looked up after it was parsed")
}
