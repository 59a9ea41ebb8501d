use crate::wire::{DIGEST_SHA1, DIGEST_SHA512, Dialogue};

/// A service of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKind {
    /// Cisco CallManager.
    CallManager,
    /// Certificate Authority Proxy Function.
    Capf,
    /// Cisco TFTP.
    Tftp,
    /// Trust Verification Service.
    Tvs,
    /// Cisco `CTIManager`: goes with CallManager (REG-21).
    CtiManager,
    /// Cisco Tomcat: on every node (REG-20).
    Tomcat,
    /// Cisco DRF Local: on every node (REG-24).
    DrfLocal,
    /// Cisco DRF Master: on the publisher (REG-24).
    DrfMaster,
    /// Cisco CTL Provider: on the publisher, where the CTL client reaches the cluster (CTL-19).
    CtlProvider,
}

/// The order in which services are restarted: TFTP builds its lists from what the others present.
pub const RESTART_ORDER: [ServiceKind; 8] = [
    ServiceKind::CallManager,
    ServiceKind::CtiManager,
    ServiceKind::Tvs,
    ServiceKind::Tftp,
    ServiceKind::Capf,
    ServiceKind::Tomcat,
    ServiceKind::DrfLocal,
    ServiceKind::DrfMaster,
];

/// The services that a scenario places on nodes, in the order of the enum.
pub const SERVICES: [ServiceKind; 4] =
    [ServiceKind::CallManager, ServiceKind::Capf, ServiceKind::Tftp, ServiceKind::Tvs];

/// The services that nodes have without being told (see [`Topology::is_active`]).
///
/// [`Topology::is_active`]: super::Topology::is_active
pub const IMPLIED_SERVICES: [ServiceKind; 5] = [
    ServiceKind::CtiManager,
    ServiceKind::Tomcat,
    ServiceKind::DrfLocal,
    ServiceKind::DrfMaster,
    ServiceKind::CtlProvider,
];

impl ServiceKind {
    /// The name in scenario files.
    pub fn name(self) -> &'static str {
        match self {
            ServiceKind::CallManager => "callmanager",
            ServiceKind::Capf => "capf",
            ServiceKind::Tftp => "tftp",
            ServiceKind::Tvs => "tvs",
            ServiceKind::CtiManager => "ctimanager",
            ServiceKind::Tomcat => "tomcat",
            ServiceKind::DrfLocal => "drf-local",
            ServiceKind::DrfMaster => "drf-master",
            ServiceKind::CtlProvider => "ctl-provider",
        }
    }

    /// The dialogues in which this service answers, where the cluster has them
    /// (see [`Topology::dialogues`](super::Topology::dialogues)).
    pub const fn dialogues(self) -> &'static [Dialogue] {
        match self {
            ServiceKind::Tvs => &[Dialogue::Tvs],
            ServiceKind::Capf => &[Dialogue::Capf],
            ServiceKind::CallManager => &[Dialogue::Sip, Dialogue::Sips],
            _ => &[],
        }
    }

    /// The certificate that the service shows to whoever connects, if it shows one of its own.
    pub const fn certificate(self) -> Option<CertificateKind> {
        match self {
            ServiceKind::CallManager => Some(CertificateKind::CallManager),
            ServiceKind::Capf => Some(CertificateKind::Capf),
            ServiceKind::Tvs => Some(CertificateKind::Tvs),
            ServiceKind::Tomcat => Some(CertificateKind::Tomcat),
            ServiceKind::Tftp
            | ServiceKind::CtiManager
            | ServiceKind::DrfLocal
            | ServiceKind::DrfMaster
            | ServiceKind::CtlProvider => None,
        }
    }

    /// The service that answers in a dialogue.
    pub const fn of(dialogue: Dialogue) -> ServiceKind {
        match dialogue {
            Dialogue::Tvs => ServiceKind::Tvs,
            Dialogue::Capf => ServiceKind::Capf,
            Dialogue::Sip | Dialogue::Sips => ServiceKind::CallManager,
        }
    }
}

/// A kind of service certificate (CERT-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateKind {
    /// CallManager.pem: signs the ITL (before 12.0) and every configuration file.
    CallManager,
    /// CallManager-ECDSA.pem: the EC partner of CallManager, from 11.x; signs no file here.
    CallManagerEcdsa,
    /// CAPF.pem: signs LSCs.
    Capf,
    /// ITLRecovery.pem: the second SAST of a list, from 10.x; lives on the publisher.
    ItlRecovery,
    /// TVS.pem: identity of the TVS server.
    Tvs,
    /// tomcat.pem: identity of the web server.
    Tomcat,
    /// ipsec.pem: identity of DRF and of `IPsec` tunnels.
    Ipsec,
}

/// Every kind of certificate, in the order of the enum.
pub const CERTIFICATES: [CertificateKind; 7] = [
    CertificateKind::CallManager,
    CertificateKind::CallManagerEcdsa,
    CertificateKind::Capf,
    CertificateKind::ItlRecovery,
    CertificateKind::Tvs,
    CertificateKind::Tomcat,
    CertificateKind::Ipsec,
];

impl CertificateKind {
    /// Services to restart for a new certificate of this kind: on its node, and on every other
    /// (`spec/domain.md` section 9.3; X-07 takes the union of the documents).
    pub const fn restarts(self) -> (&'static [ServiceKind], &'static [ServiceKind]) {
        use ServiceKind::{CallManager, Capf, CtiManager, DrfLocal, DrfMaster, Tftp, Tomcat};
        const TVS: ServiceKind = ServiceKind::Tvs;
        match self {
            // The documents name CallManager alone; that its partner needs the same is a guess.
            CertificateKind::CallManager | CertificateKind::CallManagerEcdsa => {
                (&[CallManager, TVS, Tftp, CtiManager], &[])
            }
            // Every list names them.
            CertificateKind::Tvs | CertificateKind::ItlRecovery => (&[TVS, Tftp], &[TVS, Tftp]),
            CertificateKind::Capf => (&[Capf, Tftp], &[Tftp]),
            CertificateKind::Tomcat => (&[Tomcat], &[]),
            CertificateKind::Ipsec => (&[DrfLocal, DrfMaster], &[DrfLocal, DrfMaster]),
        }
    }

    /// The trust stores that get a copy of a new certificate (CERT-09 to CERT-14). That those of the
    /// newer kinds go to CallManager-trust is a guess.
    pub const fn copied_to(self) -> &'static [TrustStore] {
        match self {
            CertificateKind::CallManager
            | CertificateKind::CallManagerEcdsa
            | CertificateKind::ItlRecovery => &[TrustStore::CallManager],
            CertificateKind::Capf => &[TrustStore::Capf, TrustStore::CallManager],
            CertificateKind::Tvs => &[],
            CertificateKind::Tomcat => &[TrustStore::Tomcat],
            CertificateKind::Ipsec => &[TrustStore::Ipsec],
        }
    }

    /// Whether its key is an EC key.
    pub const fn is_ec(self) -> bool {
        matches!(self, CertificateKind::CallManagerEcdsa)
    }

    /// The name in scenario files and of the PEM file.
    pub const fn name(self) -> &'static str {
        match self {
            CertificateKind::CallManager => "CallManager",
            CertificateKind::CallManagerEcdsa => "CallManager-ECDSA",
            CertificateKind::Capf => "CAPF",
            CertificateKind::ItlRecovery => "ITLRecovery",
            CertificateKind::Tvs => "TVS",
            CertificateKind::Tomcat => "tomcat",
            CertificateKind::Ipsec => "ipsec",
        }
    }
}

/// A store of certificates that a node trusts, as the page *Certificate Management* names them: its
/// items are deleted or imported, never regenerated (CERT-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustStore {
    /// `CallManager-trust`.
    CallManager,
    /// `CAPF-trust`.
    Capf,
    /// `tomcat-trust`.
    Tomcat,
    /// `ipsec-trust`.
    Ipsec,
    /// `TVS-trust`: nothing goes there by itself (CERT-14).
    Tvs,
    /// `phone-sast-trust`: who may sign a CTL (CERT-25).
    PhoneSast,
    /// `phone-vpn-trust` (CERT-24).
    PhoneVpn,
    /// `phone-trust` (CERT-26).
    Phone,
    /// `phone-ctl-trust` (CERT-26).
    PhoneCtl,
}

/// Every trust store, in the order of the enum; any of them may be empty (CERT-04).
pub const TRUST_STORES: [TrustStore; 9] = [
    TrustStore::CallManager,
    TrustStore::Capf,
    TrustStore::Tomcat,
    TrustStore::Ipsec,
    TrustStore::Tvs,
    TrustStore::PhoneSast,
    TrustStore::PhoneVpn,
    TrustStore::Phone,
    TrustStore::PhoneCtl,
];

impl TrustStore {
    /// The name on the page and in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            TrustStore::CallManager => "CallManager-trust",
            TrustStore::Capf => "CAPF-trust",
            TrustStore::Tomcat => "tomcat-trust",
            TrustStore::Ipsec => "ipsec-trust",
            TrustStore::Tvs => "TVS-trust",
            TrustStore::PhoneSast => "phone-sast-trust",
            TrustStore::PhoneVpn => "phone-vpn-trust",
            TrustStore::Phone => "phone-trust",
            TrustStore::PhoneCtl => "phone-ctl-trust",
        }
    }

    /// The name without its end, as the console takes it (CLI-04).
    pub fn short_name(self) -> &'static str {
        self.name().strip_suffix("-trust").unwrap_or(self.name())
    }

    /// Whether a deletion restarts the devices of a cluster with defect `CSCut58407` (X-13, REG-29).
    pub const fn restarts_devices(self) -> bool {
        matches!(self, TrustStore::CallManager | TrustStore::Capf | TrustStore::Tvs)
    }
}

/// A place of certificates on the page of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// One of its own, which it has the key of.
    Service(CertificateKind),
    /// What it trusts.
    Trust(TrustStore),
}

impl Unit {
    /// The name on the page, such as `CallManager` or `CallManager-trust`.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Service(kind) => kind.name(),
            Unit::Trust(store) => store.name(),
        }
    }
}

/// Digest of the signatures of lists and files: the enterprise parameter "TFTP File Signature
/// Algorithm".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileSignature {
    /// SHA-1, weak, and what clusters up to 12.x use by default.
    Sha1,
    /// SHA-512.
    Sha512,
}

/// Every digest of file signatures.
pub const FILE_SIGNATURES: [FileSignature; 2] = [FileSignature::Sha1, FileSignature::Sha512];

impl FileSignature {
    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            FileSignature::Sha1 => "sha1",
            FileSignature::Sha512 => "sha512",
        }
    }

    /// The digest id of header tag 8.
    pub const fn digest(self) -> u8 {
        match self {
            FileSignature::Sha1 => DIGEST_SHA1,
            FileSignature::Sha512 => DIGEST_SHA512,
        }
    }
}
