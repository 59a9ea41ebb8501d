use std::fmt;

use crate::wire::{HASH_SHA1, HASH_UNNAMED, ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP};

use super::ctl::CtlMethod;
use super::kinds::{CertificateKind, FileSignature};

/// Release profile: the rules of a family of releases, a row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 8.0: security by default, with ITL and TVS.
    R8_0,
    /// 8.5 and 8.6.
    R8_6,
    /// 9.x: a regeneration may reset the phones by itself.
    R9_1,
    /// 10.x: ITLRecovery, role TFTP, a CTL without tokens.
    R10_5,
    /// 11.x: an EC certificate beside that of CallManager.
    R11_5,
    /// 12.0: ITLRecovery signs ITL and CTL.
    R12_0,
    /// 12.5.
    R12_5,
    /// 14: SHA-512 signatures and HTTPS from the start, no tokens.
    R14,
    /// 15: services take a regenerated CallManager certificate by themselves.
    R15,
}

/// Every release profile, oldest first.
pub const RELEASES: [Release; 9] = [
    Release::R8_0,
    Release::R8_6,
    Release::R9_1,
    Release::R10_5,
    Release::R11_5,
    Release::R12_0,
    Release::R12_5,
    Release::R14,
    Release::R15,
];

/// What differs between releases. Where a value is from stands beside it: S0 to S4 are the documents
/// of `spec/domain.md`, whose section 14 is the table of their statements.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The release whose rules they are.
    release: Release,
    /// The name in scenario files.
    name: &'static str,
    /// The first release that is played by it, major and minor number. That one between two rows is
    /// played by its own major number is a guess.
    from: (u8, u8),
    /// Which certificate signs the ITL: that of the TFTP node, or the cluster's.
    pub itl_signer: CertificateKind,
    /// Which certificate of the publisher signs a CTL without tokens.
    ctl_signer: CertificateKind,
    /// How a CTL can be signed (CTL-04).
    ctl_methods: &'static [CtlMethod],
    /// Certificates whose regeneration brings new lists and a reset of all phones by itself, in
    /// clusters that are set so (REG-08, ITL-16; `CSCue55353` names the three).
    pub auto_reset: &'static [CertificateKind],
    /// Certificates that the services of their node take without a restart by hand.
    pub taken_over: &'static [CertificateKind],
    /// Which nodes have a CAPF certificate.
    capf: Holders,
    /// The records of an ITL, in order (`spec/trust-list.md` section 7; ITL-06 to ITL-11).
    pub itl: &'static [ItlPart],
    /// Tag 12 of records that name their certificate by its hash.
    pub hash_algorithm: u8,
    /// Roles that TVS names for a CallManager certificate, in order (`decisions.md`, mechanism).
    pub call_manager_roles: &'static [u8],
    /// The digest of signatures while nobody changes the enterprise parameter "TFTP File Signature
    /// Algorithm" (TFTP-07).
    file_signature: FileSignature,
    /// Whether `show itl` and `show ctl` begin with checksums (CLI-08).
    pub lists_have_checksums: bool,
    /// Whether headers have tag 28, the version of the signer (`spec/trust-list.md` section 2).
    has_signer_version: bool,
    /// How long certificates last that nodes make for themselves.
    lives: Lives,
}

/// How long certificates last, in years of 365 days.
#[derive(Clone, Copy, Debug)]
struct Lives {
    /// Those that services present.
    services: u64,
    /// CAPF, which signs those of phones.
    signing: u64,
    /// ITLRecovery.
    recovery: u64,
}

/// Which nodes of a cluster have a certificate of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// None.
    Nobody,
    /// The first one.
    Publisher,
    /// Every one, of its own.
    EveryNode,
}

/// A part of an ITL: none, one or more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItlPart {
    /// CallManager of the TFTP node with this role.
    CallManager(u16),
    /// CallManager-ECDSA of the TFTP node.
    CallManagerEcdsa,
    /// TVS of the first node that runs it.
    FirstTvs,
    /// TVS of the other nodes, in their order.
    OtherTvs,
    /// CAPF of the publisher, if it is active there.
    Capf,
    /// ITLRecovery.
    Recovery,
}

/// CERT-06: five years.
const FIVE_EACH: Lives = Lives { services: 5, signing: 5, recovery: 5 };

/// The first release with trust lists.
const R8_0: Rules = Rules {
    release: Release::R8_0,
    name: "8.0",
    from: (8, 0),
    // S4; so in S2 of 11.5.
    itl_signer: CertificateKind::CallManager,
    // Of no use before 10.x: tokens sign (CTL-04).
    ctl_signer: CertificateKind::CallManager,
    ctl_methods: &[CtlMethod::Etoken],
    // S4: phones are reset by hand.
    auto_reset: &[],
    // S0, S4: restarts by hand.
    taken_over: &[],
    // S3.
    capf: Holders::EveryNode,
    // S4 (8.x): the listing of 5,438 bytes; no ITLRecovery before 10.x (CERT-03).
    itl: &[
        ItlPart::CallManager(ROLE_SAST),
        ItlPart::CallManager(ROLE_CALLMANAGER_TFTP),
        ItlPart::FirstTvs,
        ItlPart::OtherTvs,
        ItlPart::Capf,
    ],
    // S4 prints `SHA-1`.
    hash_algorithm: HASH_SHA1,
    // The default roles of the store (`spec/trust-list.md` section 7).
    call_manager_roles: &[0, 2],
    // S4; the parameter came later.
    file_signature: FileSignature::Sha1,
    // S4: missing without the fix of CSCto60209; that 9.x is the first with it is a guess.
    lists_have_checksums: false,
    // `spec/trust-list.md` section 2: absent up to 11.5.
    has_signer_version: false,
    lives: FIVE_EACH,
};

/// Nothing is known that tells it from 8.0: S4 is about both.
const R8_6: Rules = Rules { release: Release::R8_6, name: "8.6", from: (8, 5), ..R8_0 };

/// `spec/trust-list.md` section 7 counts its lists to those of 8.x; that it prints `SHA-1` as they
/// do is a guess.
const R9_1: Rules = Rules {
    release: Release::R9_1,
    name: "9.1",
    from: (9, 0),
    // S0, written on 9.1(2): every regeneration updates the ITL and resets the phones (ITL-16).
    auto_reset: &[CertificateKind::CallManager, CertificateKind::Capf, CertificateKind::Tvs],
    lists_have_checksums: true,
    ..R8_6
};

/// `spec/field-facts.md` section 8 and S0: ITLRecovery and the tokenless CTL came with 10.0.
const R10_5: Rules = Rules {
    release: Release::R10_5,
    name: "10.5",
    from: (10, 0),
    // S0, S3: the listing of 10.5(1) is signed by CallManager of the publisher.
    ctl_methods: &[CtlMethod::Etoken, CtlMethod::Tokenless],
    // Order and role TFTP: `spec/trust-list.md` section 7; the listing is one of 11.5 (S2).
    // No EC record: `spec/field-facts.md` names them for 11.5. That the hash is still called
    // `SHA-1` is a guess.
    itl: &[
        ItlPart::Capf,
        ItlPart::FirstTvs,
        ItlPart::Recovery,
        ItlPart::OtherTvs,
        ItlPart::CallManager(ROLE_SAST),
        ItlPart::CallManager(ROLE_TFTP),
    ],
    call_manager_roles: &[0, 3],
    ..R9_1
};

/// The listing of S2 is one of 11.5(1).
const R11_5: Rules = Rules {
    release: Release::R11_5,
    name: "11.5",
    from: (11, 0),
    // S2: the last of seven records (ITL-11, X-09).
    itl: &[
        ItlPart::Capf,
        ItlPart::FirstTvs,
        ItlPart::Recovery,
        ItlPart::OtherTvs,
        ItlPart::CallManager(ROLE_SAST),
        ItlPart::CallManager(ROLE_TFTP),
        ItlPart::CallManagerEcdsa,
    ],
    // S2 prints `null`.
    hash_algorithm: HASH_UNNAMED,
    ..R10_5
};

/// Its records are those of 11.5 (`spec/trust-list.md` section 7); that the hash has no name there
/// either is a guess.
const R12_0: Rules = Rules {
    release: Release::R12_0,
    name: "12.0",
    from: (12, 0),
    // `spec/field-facts.md` section 8: both lists from 12.0 on.
    itl_signer: CertificateKind::ItlRecovery,
    ctl_signer: CertificateKind::ItlRecovery,
    // `spec/trust-list.md` section 2; that it comes with 12.0 is a guess.
    has_signer_version: true,
    ..R11_5
};

/// Nothing of what tells it from 12.0 (`spec/field-facts.md` section 8) is in its lists.
const R12_5: Rules = Rules { release: Release::R12_5, name: "12.5", from: (12, 5), ..R12_0 };

/// After a new CallManager certificate 14 wants CallManager, `CTIManager` and `HAProxy`
/// restarted (S0); how its TFTP comes to the new key is not known, so that it is restarted as ever.
const R14: Rules = Rules {
    release: Release::R14,
    name: "14",
    from: (14, 0),
    // S0: no tokens from 14SU3; that it is so from 14 on is a guess.
    ctl_methods: &[CtlMethod::Tokenless],
    // A guess: it is seen on current clusters; the documents know it as an option.
    file_signature: FileSignature::Sha512,
    // `spec/domain.md` section 4: server certificates, signing certificates and ITLRecovery. Which
    // those of servers are, is a guess: all that a service presents.
    lives: Lives { services: 3, signing: 5, recovery: 20 },
    ..R12_5
};

/// From 14SU1 on nothing but `HAProxy`, which is not played, is restarted for a new
/// CallManager certificate (S0). That this is so for EC as well is a guess.
const R15: Rules = Rules {
    release: Release::R15,
    name: "15",
    from: (15, 0),
    taken_over: &[CertificateKind::CallManager, CertificateKind::CallManagerEcdsa],
    // `spec/field-facts.md` section 8 says so from 14 on; 14 is played with one on every node, so
    // that its scenarios stay valid.
    capf: Holders::Publisher,
    ..R14
};

/// The rules of each release, in the order of [`RELEASES`].
static RULES: [Rules; 9] = [R8_0, R8_6, R9_1, R10_5, R11_5, R12_0, R12_5, R14, R15];

impl Release {
    /// Its row of the table.
    pub const fn rules(self) -> &'static Rules {
        &RULES[self as usize]
    }

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        self.rules().name
    }

    /// The profile that plays the release with this major and minor number; none plays those before
    /// 8.0, which had no lists.
    pub fn playing(major: u8, minor: u8) -> Option<Release> {
        let played = RULES.iter().rev().find(|rules| rules.from <= (major, minor));
        played.map(|rules| rules.release)
    }

    /// Which nodes have such a certificate: ITLRecovery is there from 10.x on (CERT-03),
    /// CallManager-ECDSA from 11.x on (ITL-11).
    pub fn holders(self, certificate: CertificateKind) -> Holders {
        let rules = self.rules();
        let if_listed = |part, holders| {
            if rules.itl.contains(&part) { holders } else { Holders::Nobody }
        };
        match certificate {
            CertificateKind::CallManager
            | CertificateKind::Tvs
            | CertificateKind::Tomcat
            | CertificateKind::Ipsec => Holders::EveryNode,
            CertificateKind::CallManagerEcdsa => {
                if_listed(ItlPart::CallManagerEcdsa, Holders::EveryNode)
            }
            CertificateKind::ItlRecovery => if_listed(ItlPart::Recovery, Holders::Publisher),
            CertificateKind::Capf => rules.capf,
        }
    }

    /// How long a certificate lasts that its node makes, in seconds (CERT-06).
    pub const fn life_s(self, certificate: CertificateKind) -> u64 {
        let Lives { services, signing, recovery } = self.rules().lives;
        let years = match certificate {
            CertificateKind::ItlRecovery => recovery,
            CertificateKind::Capf => signing,
            CertificateKind::CallManager
            | CertificateKind::CallManagerEcdsa
            | CertificateKind::Tvs
            | CertificateKind::Tomcat
            | CertificateKind::Ipsec => services,
        };
        years * 365 * 86_400
    }

    /// Which certificate of the publisher signs a CTL without tokens.
    pub const fn ctl_signer(self) -> CertificateKind {
        self.rules().ctl_signer
    }

    /// Whether a CTL can be signed in this way.
    pub fn signs_ctl(self, method: CtlMethod) -> bool {
        self.rules().ctl_methods.contains(&method)
    }

    /// The digest of signatures unless a scenario says another one.
    pub const fn file_signature(self) -> FileSignature {
        self.rules().file_signature
    }

    /// What a trace of TVS calls the cipher suite of a session with a phone (`spec/tvs.md`, TLS): so
    /// in a trace of 8.x to 10.5; of later ones a guess.
    pub fn tvs_cipher(self) -> &'static str {
        if self <= Release::R10_5 { "AES256-SHA" } else { "ECDHE-RSA-AES256-GCM-SHA384" }
    }

    /// What header tag 28 says in this release: nothing up to 11.x, then 1.1 if files are signed
    /// with SHA-512, which also tells phones of HTTPS, else 1.0 (`spec/trust-list.md` section 2).
    pub const fn signer_version(self, signature: FileSignature) -> Option<(u8, u8)> {
        match (self.rules().has_signer_version, signature) {
            (false, _) => None,
            (true, FileSignature::Sha1) => Some((1, 0)),
            (true, FileSignature::Sha512) => Some((1, 1)),
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_where_their_releases_look_and_numbers_lead_to_one_each() {
        assert!(RELEASES.iter().all(|&release| release.rules().release == release));
        assert!(RULES.windows(2).all(|pair| pair[0].from < pair[1].from));
        let played = |major, minor| Release::playing(major, minor).map(Release::name);
        for (release, by) in [
            ((7, 1), None),
            ((8, 0), Some("8.0")),
            ((8, 5), Some("8.6")),
            ((8, 6), Some("8.6")),
            ((9, 0), Some("9.1")),
            ((10, 0), Some("10.5")),
            ((11, 0), Some("11.5")),
            ((12, 0), Some("12.0")),
            ((12, 8), Some("12.5")),
            ((13, 0), Some("12.5")),
            ((14, 0), Some("14")),
            ((255, 255), Some("15")),
        ] {
            assert_eq!(played(release.0, release.1), by, "{release:?}");
        }
    }
}
