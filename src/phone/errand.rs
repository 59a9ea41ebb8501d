use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{IpMode, Time};
use crate::crypto::{Certificate, DeviceIdentity};
use crate::transfer::TransferFault;
use crate::wire::Dialogue;

use super::button::CertificatePath;
use super::lists::{TrustLists, is_over};
use super::step::Step;
use super::transport::{HttpFault, Transport};
use super::vouched::Signer;

/// What a phone wants of the world; it wants one thing at a time. The answer comes back as
/// [`Input::Answered`](super::Input::Answered).
#[derive(Clone, Debug)]
pub struct Errand {
    /// To be given back with the answer; no two errands of a phone have the same.
    pub token: u32,
    /// Since when the phone wants it: another way may have failed before.
    pub wanted: Time,
    /// What it wants.
    pub ask: Ask,
}

/// What a phone may ask for.
#[derive(Clone, Debug)]
pub enum Ask {
    /// A file of one of its TFTP nodes; answered by [`Answer::File`] or [`Answer::NoFile`].
    File(FileRequest),
    /// The address of a name, as it stands in the configuration, that a phone of this mode can
    /// reach; answered by [`Answer::Address`].
    Name(String, IpMode),
    /// The reply to a message of a dialogue; answered by [`Answer::Said`].
    Say(Message),
    /// A page of a server; answered by [`Answer::Page`], [`Answer::Presented`] or
    /// [`Answer::NoFile`].
    Page(Box<PageRequest>),
}

/// A file that a phone asks for.
#[derive(Clone, Debug)]
pub struct FileRequest {
    /// Which step of the boot it is.
    pub step: Step,
    /// Name of the file.
    pub file: Arc<str>,
    /// How it is asked for.
    pub via: Transport,
    /// Which of the phone's TFTP nodes is asked, from 0.
    pub server: u8,
    /// How the server is judged, over HTTPS.
    pub trust: Option<Trust>,
}

/// A message of a dialogue.
#[derive(Clone, Debug)]
pub struct Message {
    /// Which dialogue.
    pub dialogue: Dialogue,
    /// Whom it is for.
    pub server: SocketAddr,
    /// The message; if it is empty, nothing is said and the next word of the server is awaited.
    pub bytes: Vec<u8>,
    /// How the server is judged in the handshake.
    pub trust: Trust,
    /// What the phone shows to a server that asks who it is.
    pub shows: Option<Arc<DeviceIdentity>>,
    /// Whether the connection stays open after the answer: the next message of the phone to the
    /// same server in the same dialogue goes on there. It ends with a fault, with a boot, with any
    /// other errand over a connection, and when the boot settles; one with TVS outlasts files over
    /// TFTP and names.
    pub stays: bool,
}

/// A page that a phone asks for.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Whom it is asked of.
    pub server: SocketAddr,
    /// Host and port of its URL.
    pub host: String,
    /// Path and query.
    pub target: String,
    /// How the server is judged, over HTTPS; `None` asks over HTTP.
    pub trust: Option<PageTrust>,
}

/// By what a phone judges a server of pages: the lists that it holds, and what TVS has vouched for.
#[derive(Clone, Debug)]
pub struct PageTrust {
    /// The lists.
    pub lists: TrustLists,
    /// What the TVS cache of the phone knows.
    pub(super) vouched: Vec<Arc<Signer>>,
    /// The date by which the certificate is judged, in Unix seconds; `None` where dates play no
    /// part.
    pub date_s: Option<u64>,
}

impl PageTrust {
    /// Where the phone finds this certificate (DER): in the CTL, the ITL or its TVS cache, in this
    /// order; in lists with whatever role (HTTPS-03).
    pub fn finds(&self, der: &[u8]) -> Option<CertificatePath> {
        let [ctl, itl] = self.lists.hold(der);
        let is_vouched = || self.vouched.iter().any(|signer| signer.is_certificate(der));
        match (ctl, itl) {
            (true, _) => Some(CertificatePath::Ctl),
            (_, true) => Some(CertificatePath::Itl),
            _ => is_vouched().then_some(CertificatePath::Cache),
        }
    }

    /// Whether the phone accepts a server that presents this certificate (DER).
    pub fn accepts(&self, der: &[u8]) -> bool {
        self.finds(der).is_some()
            && Certificate::from_der(der).is_ok_and(|certificate| self.is_in_time(&certificate))
    }

    /// Whether a certificate's time is not over (CERT-19).
    pub fn is_in_time(&self, certificate: &Certificate) -> bool {
        !is_over(certificate.validity_s().1, self.date_s)
    }
}

/// By what a phone judges a server: the lists that it holds now, and the roles that they must give
/// the server's certificate.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The lists.
    pub lists: TrustLists,
    /// One of these is enough.
    pub roles: &'static [u16],
    /// The date by which the certificate is judged, in Unix seconds; `None` where dates play no
    /// part.
    pub date_s: Option<u64>,
}

impl Trust {
    /// Whether the phone accepts a server that presents this certificate.
    pub fn accepts(&self, certificate_der: &[u8]) -> bool {
        Certificate::from_der(certificate_der).is_ok_and(|certificate| {
            self.lists.judge_server(self.roles, &certificate) && self.is_in_time(&certificate)
        })
    }

    /// Whether a certificate's time is not over (CERT-23).
    pub fn is_in_time(&self, certificate: &Certificate) -> bool {
        !is_over(certificate.validity_s().1, self.date_s)
    }
}

/// What comes back from an errand.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// The file.
    File(&'a [u8]),
    /// The server has no such file.
    NoFile,
    /// Where the name leads; `None` if it has no record (NXDOMAIN).
    Address(Option<IpAddr>),
    /// The reply.
    Said(&'a [u8]),
    /// The page, and over HTTPS the certificate (DER) of the server that sent it, which the phone
    /// had accepted.
    Page {
        /// The certificate.
        certificate: Option<&'a [u8]>,
        /// The page.
        body: &'a [u8],
    },
    /// A server of pages presented this certificate (DER), which the phone did not accept: nothing
    /// was asked for.
    Presented(&'a [u8]),
}

/// Why an errand came back without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrandFault {
    /// Of a dialogue.
    Dialogue(TvsFault),
    /// Of HTTP or HTTPS.
    Http(HttpFault),
    /// The DNS has not answered.
    NameUnanswered,
    /// The phone's list has no such server.
    NoServer,
    /// Of TFTP.
    Tftp(TransferFault),
    /// Whoever carries it lacked something.
    Lacked,
}

/// Why a TVS server gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TvsFault {
    /// The phone refused the certificate that the server presented: it is not in its lists.
    CertificateRefused,
    /// No connection, no handshake, a closed or broken connection.
    Connection,
    /// The answer is no answer: malformed, of another session, or for another certificate.
    WrongAnswer,
    /// No answer in time.
    TimedOut,
    /// The name of the server has no address (`Failed to resolve Tvs Ipv4 Address with hostname`,
    /// TVS-17).
    Unresolved,
    /// The server refused the certificate that the phone has shown, or that it has shown none.
    TurnedAway,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{CertificateSpec, Identity, KeySource};

    fn certificate(seed: u64) -> Certificate {
        let spec =
            CertificateSpec { common_name: "pub", not_before_s: 1_700_000_000, key_bits: 2048 };
        Identity::self_signed(&spec, &mut KeySource::bank(seed)).certificate
    }

    #[test]
    fn a_server_of_pages_is_looked_for_in_ctl_itl_and_cache_in_this_order() {
        let (own, other) = (certificate(1), certificate(2));
        let list = |held: &Certificate| Some(super::super::lists::tests::any_role(held));
        let signer = |of: &Certificate| Arc::new(Signer::new(of.clone(), &[7]));
        let finds = |ctl: Option<&Certificate>, itl: Option<&Certificate>, cache: &Certificate| {
            let lists = TrustLists { ctl: ctl.and_then(list), itl: itl.and_then(list) };
            let trust = PageTrust { lists, vouched: vec![signer(cache)], date_s: None };
            assert_eq!(trust.accepts(own.der()), trust.finds(own.der()).is_some());
            trust.finds(own.der())
        };
        let (yes, no) = (Some(&own), Some(&other));
        assert_eq!(finds(yes, yes, &own), Some(CertificatePath::Ctl));
        assert_eq!(finds(no, yes, &own), Some(CertificatePath::Itl));
        assert_eq!(finds(no, None, &own), Some(CertificatePath::Cache));
        assert_eq!(finds(no, no, &other), None, "TVS has to be asked");
        let past = PageTrust {
            lists: TrustLists::default(),
            vouched: vec![signer(&own)],
            date_s: Some(u64::MAX >> 1),
        };
        assert!(!past.accepts(own.der()), "its time is over");
    }
}
