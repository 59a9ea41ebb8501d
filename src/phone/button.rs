use crate::base::named;

named! {
    /// A button of a phone that leads to a service over HTTPS (HTTPS-08).
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Button {
        /// The corporate directory.
        Directory = "directory",
        /// The login of Extension Mobility.
        ExtensionMobility = "extension-mobility",
        /// The login of Extension Mobility across clusters.
        Emcc = "emcc",
    }
}

/// How the press of a button ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PressEnd {
    /// The phone shows the page; how it found the server's certificate.
    Shown(CertificatePath),
    /// The phone shows an error.
    Failed(PressFault),
    /// The phone was not at rest, and nothing happened.
    Busy,
    /// A reset came before the page.
    Cancelled,
}

/// How a phone found the certificate of a server of pages (HTTPS-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificatePath {
    /// It is in the CTL.
    Ctl,
    /// It is in the ITL.
    Itl,
    /// TVS has vouched for it before (HTTPS-04).
    Cache,
    /// TVS vouched for it now (HTTPS-01).
    Tvs,
    /// There was none to find: the page came over HTTP.
    Unchecked,
}

/// Why a phone shows an error instead of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PressFault {
    /// Its configuration, if it has one, names no page.
    NoUrl,
    /// The server, or an address for its name, is out of reach.
    Unreachable,
    /// The server has no such page, or what it sent is none.
    BadPage,
    /// The time of the server's certificate is over (CERT-19).
    Expired,
    /// TVS knows nothing of the server's certificate.
    NotVouched,
    /// The lists name no TVS that answers for the server: it is blank, or its members present other
    /// certificates (HTTPS-06, BOOT-09).
    NoTvs,
    /// No TVS gave an answer.
    TvsUnreachable,
    /// Whoever plays the phone lacked something for it.
    Generator,
}

impl PressFault {
    /// Whether it is one of trust: the phone does not know whether the server is the one that it
    /// should be.
    pub const fn is_of_trust(self) -> bool {
        matches!(self, PressFault::Expired | PressFault::NotVouched | PressFault::NoTvs)
    }
}
