//! What a phone does when somebody presses a button: two pages, a menu and what it leads to.
//!
//! A handshake wants its verdict at once, and TVS takes a while. So a server whose certificate is in
//! neither list nor cache is refused, and the phone has seen the certificate; it asks TVS and, if
//! that vouches, comes again. No request ever goes out before somebody vouches for the server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::crypto::Certificate;
use crate::phone::button::{Button, CertificatePath, PressEnd, PressFault};
use crate::phone::contract::Fact;
use crate::phone::errand::{Answer, Ask, ErrandFault, PageRequest, PageTrust};
use crate::phone::families::holds_lists;
use crate::phone::transport::HttpFault;
use crate::wire::Url;
use crate::wire::phone_page::{
    CORPORATE_DIRECTORY, CROSS_CLUSTER, EXTENSION_MOBILITY, PageKind, PhonePage,
};

use super::context::{Context, Event, Turn};
use super::lookup::{Look, Lookup, Subject, aged, forget_old, learn_unknown, remember};

/// The press of a button and how far the phone has come with it.
#[derive(Debug)]
pub(in crate::phone) struct PressTask {
    button: Button,
    /// The page that is asked for.
    url: Url,
    /// Whether the page before it was the menu.
    is_item: bool,
    /// Whether TVS was asked in this press, which it is once.
    has_asked: bool,
    /// How the certificate of the server was found.
    path: CertificatePath,
    /// Who is asked, once that is known.
    server: Option<IpAddr>,
    waits: Waits,
}

#[derive(Debug)]
enum Waits {
    Address,
    Page,
    Tvs(Box<Lookup>),
}

type Next = Turn<PressTask>;

impl PressTask {
    /// Somebody presses `button`.
    pub(in crate::phone) fn begin(cx: &mut Context<'_>, button: Button) -> Next {
        let Some(url) = first_url(cx, button) else {
            return end(cx, button, None, PressEnd::Failed(PressFault::NoUrl));
        };
        let task = PressTask {
            button,
            url,
            is_item: false,
            has_asked: false,
            path: CertificatePath::Unchecked,
            server: None,
            waits: Waits::Address,
        };
        task.find(cx)
    }

    /// Advances by one event.
    pub(in crate::phone) fn on(mut self, cx: &mut Context<'_>, event: Event<'_>) -> Next {
        match (self.waits, event) {
            (Waits::Address, Event::Answered(Ok(Answer::Address(Some(address))))) => {
                self.waits = Waits::Address;
                self.ask(cx, address)
            }
            (Waits::Address, Event::Answered(Ok(Answer::Address(None)))) => {
                learn_unknown(cx, &self.url.host);
                self.waits = Waits::Address;
                self.fail(cx, PressFault::Unreachable)
            }
            (Waits::Address, Event::Answered(Err(ErrandFault::NameUnanswered))) => {
                self.waits = Waits::Address;
                self.fail(cx, PressFault::Unreachable)
            }
            (Waits::Page, Event::Answered(answer)) => {
                self.waits = Waits::Page;
                self.on_page(cx, answer)
            }
            (Waits::Tvs(lookup), event) => {
                let look = lookup.on(cx, event);
                self.waits = Waits::Page;
                self.look(cx, look)
            }
            (waits, _) => {
                self.waits = waits;
                Turn::Unexpected(self)
            }
        }
    }

    /// A reset comes before the page.
    pub(in crate::phone) fn cancelled(&self) -> Fact {
        Fact::Pressed { button: self.button, end: PressEnd::Cancelled, server: self.server }
    }

    /// Finds the address of the server.
    fn find(mut self, cx: &mut Context<'_>) -> Next {
        match cx.literal(&self.url.host) {
            Some(Ok(address)) => return self.ask(cx, address),
            Some(Err(_)) => return self.fail(cx, PressFault::Unreachable),
            None => {}
        }
        if cx.held.is_unknown(&self.url.host, aged(cx)) {
            cx.fact(Fact::NameFromCache);
            return self.fail(cx, PressFault::Unreachable);
        }
        cx.ask_name(cx.now, &self.url.host);
        self.waits = Waits::Address;
        Turn::Wait(self)
    }

    fn ask(mut self, cx: &mut Context<'_>, address: IpAddr) -> Next {
        self.server = Some(address);
        forget_old(cx);
        let trust = self.url.is_secure.then(|| page_trust(cx));
        let request = PageRequest {
            server: SocketAddr::new(address, self.url.port),
            host: self.url.authority(),
            target: self.url.target.clone(),
            trust,
        };
        cx.ask(cx.now, Ask::Page(Box::new(request)));
        self.waits = Waits::Page;
        Turn::Wait(self)
    }

    fn on_page(self, cx: &mut Context<'_>, answer: Result<Answer<'_>, ErrandFault>) -> Next {
        match answer {
            Ok(Answer::Page { certificate, body }) => self.on_body(cx, certificate, body),
            Ok(Answer::Presented(certificate)) => self.on_presented(cx, certificate),
            Ok(Answer::NoFile) => self.fail(cx, PressFault::BadPage),
            Err(ErrandFault::Http(fault)) => self.fail(cx, fault_of(fault)),
            Err(ErrandFault::Lacked) => self.fail(cx, PressFault::Generator),
            _ => Turn::Unexpected(self),
        }
    }

    /// A page came, from a server that somebody vouches for.
    fn on_body(mut self, cx: &mut Context<'_>, certificate: Option<&[u8]>, body: &[u8]) -> Next {
        if self.path != CertificatePath::Tvs {
            let found = certificate.and_then(|der| page_trust(cx).finds(der));
            self.path = found.unwrap_or(CertificatePath::Unchecked);
        }
        let page = PhonePage::parse(body).ok();
        if self.is_item {
            let end = match page {
                Some(_) => PressEnd::Shown(self.path),
                None => PressEnd::Failed(PressFault::BadPage),
            };
            return self.end(cx, end);
        }
        let menu = page.filter(|page| page.kind == PageKind::Menu);
        let leads = |menu: PhonePage| {
            let mut items = menu.items.into_iter();
            items.find(|(name, _)| name == item(self.button))?.1.parse::<Url>().ok()
        };
        let Some(url) = menu.and_then(leads) else { return self.fail(cx, PressFault::BadPage) };
        self.has_asked &= url.authority() == self.url.authority();
        self.url = url.with_parameter("name", &cx.name().to_string());
        self.is_item = true;
        self.find(cx)
    }

    /// The server has presented a certificate that the phone did not know, and was refused.
    fn on_presented(mut self, cx: &mut Context<'_>, der: &[u8]) -> Next {
        let Ok(certificate) = Certificate::from_der(der) else {
            return self.fail(cx, PressFault::NotVouched);
        };
        if !page_trust(cx).is_in_time(&certificate) {
            return self.fail(cx, PressFault::Expired);
        }
        if std::mem::replace(&mut self.has_asked, true) {
            return self.fail(cx, PressFault::NotVouched);
        }
        let look = Lookup::begin(cx, Subject::Server(Arc::from(der)));
        self.look(cx, look)
    }

    fn look(mut self, cx: &mut Context<'_>, look: Look) -> Next {
        match look {
            Look::Wait(lookup) => {
                self.waits = Waits::Tvs(lookup);
                Turn::Wait(self)
            }
            Look::Known(_, vouched) => {
                remember(cx, vouched);
                self.path = CertificatePath::Tvs;
                match self.server {
                    Some(server) => self.ask(cx, server),
                    None => self.find(cx),
                }
            }
            Look::Unknown => self.fail(cx, PressFault::NotVouched),
            Look::Unanswered { is_alone: true } => self.fail(cx, PressFault::NoTvs),
            Look::Unanswered { is_alone: false } => self.fail(cx, PressFault::TvsUnreachable),
            Look::Unexpected(lookup) => {
                self.waits = Waits::Tvs(lookup);
                Turn::Unexpected(self)
            }
        }
    }

    fn fail(self, cx: &mut Context<'_>, fault: PressFault) -> Next {
        self.end(cx, PressEnd::Failed(fault))
    }

    fn end(self, cx: &mut Context<'_>, how: PressEnd) -> Next {
        end(cx, self.button, self.server, how)
    }
}

fn end(cx: &mut Context<'_>, button: Button, server: Option<IpAddr>, end: PressEnd) -> Next {
    cx.fact(Fact::Pressed { button, end, server });
    Turn::Done(())
}

/// Where a button leads first; models without lists know no HTTPS (BOOT-08).
fn first_url(cx: &Context<'_>, button: Button) -> Option<Url> {
    let urls = &cx.held.config.as_ref()?.content.urls;
    let (secure, plain) = match button {
        Button::Directory => (&urls.secure_directory, &urls.directory),
        Button::ExtensionMobility | Button::Emcc => (&urls.secure_services, &urls.services),
    };
    let counts = if holds_lists(cx.model) && !secure.is_empty() { secure } else { plain };
    counts.parse().ok()
}

/// The item of the menu that a button is for.
const fn item(button: Button) -> &'static str {
    match button {
        Button::Directory => CORPORATE_DIRECTORY,
        Button::ExtensionMobility => EXTENSION_MOBILITY,
        Button::Emcc => CROSS_CLUSTER,
    }
}

/// By what the phone judges a server of pages now. Where no list names a TVS, what one has said
/// before counts no longer: with a blank list all of security by default is lost (HTTPS-06, X-02).
fn page_trust(cx: &Context<'_>) -> PageTrust {
    let lists = cx.held.lists.clone();
    let vouched = if lists.holds_any_tvs() { &cx.held.vouched[..] } else { &[] };
    PageTrust {
        vouched: vouched.iter().map(|known| Arc::clone(&known.signer)).collect(),
        lists,
        date_s: cx.env.date_s(cx.now),
    }
}

const fn fault_of(fault: HttpFault) -> PressFault {
    match fault {
        HttpFault::Connection | HttpFault::TimedOut => PressFault::Unreachable,
        HttpFault::Protocol | HttpFault::Status(_) | HttpFault::TooLarge => PressFault::BadPage,
        // It presented nothing that could be read.
        HttpFault::CertificateRefused => PressFault::NotVouched,
    }
}
