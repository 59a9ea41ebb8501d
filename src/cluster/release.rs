use std::fmt;
use std::ops::RangeInclusive;

use crate::wire::{ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP};

use super::kinds::{CertificateKind, FileSignature};

/// Release profile: the rules of a family of releases, a row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 8.x and 9.x: no ITLRecovery, role CCM+TFTP.
    R8_6,
    /// 10.x and 11.x: ITLRecovery as second SAST, role TFTP.
    R11_5,
    /// 12.x: ITLRecovery signs the ITL.
    R12_5,
    /// 14 and later: as 12.x, with SHA-512 signatures and HTTPS from the start.
    R14,
}

/// Every release profile, oldest first.
pub const RELEASES: [Release; 4] = [Release::R8_6, Release::R11_5, Release::R12_5, Release::R14];

/// What differs between releases. Columns of `spec/domain.md` section 14 unless said.
#[derive(Debug)]
pub struct Rules {
    /// The release whose rules they are.
    release: Release,
    /// The name in scenario files.
    name: &'static str,
    /// Releases that are played by it, by their first number (the heads of the columns).
    majors: RangeInclusive<u8>,
    /// Whether the cluster has an ITLRecovery certificate (CERT-03, ITL-10).
    has_itl_recovery: bool,
    /// Which certificate signs the ITL: that of the TFTP node before 12.x, then the cluster's.
    pub itl_signer: CertificateKind,
    /// Which certificate of the publisher signs a CTL without tokens.
    ctl_signer: CertificateKind,
    /// Certificates whose regeneration brings new lists and a reset of all phones by itself, in
    /// clusters that are set so (REG-08, ITL-16; CSCue55353 names the three).
    pub auto_reset: &'static [CertificateKind],
    /// The records of an ITL, in order (`spec/trust-list.md` section 7; ITL-06 to ITL-10). Those
    /// with EC keys of 11.x (ITL-11) are not there yet.
    pub itl: &'static [ItlPart],
    /// Roles that TVS names for a CallManager certificate, in order (`decisions.md`, mechanism).
    pub call_manager_roles: &'static [u8],
    /// The digest of signatures while nobody changes the enterprise parameter "TFTP File Signature
    /// Algorithm" (TFTP-07). SHA-512 as the default of 14 is a guess: it is seen on current
    /// clusters.
    file_signature: FileSignature,
    /// Whether headers have tag 28, the version of the signer (`spec/trust-list.md` section 2).
    has_signer_version: bool,
}

/// A part of an ITL: none, one or more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItlPart {
    /// CallManager of the TFTP node with this role.
    CallManager(u16),
    /// TVS of the first node that runs it.
    FirstTvs,
    /// TVS of the other nodes, in their order.
    OtherTvs,
    /// CAPF of the publisher, if it is active there.
    Capf,
    /// ITLRecovery.
    Recovery,
}

/// A list in which the TFTP node's own certificate comes first.
const SIGNER_FIRST: &[ItlPart] = &[
    ItlPart::CallManager(ROLE_SAST),
    ItlPart::CallManager(ROLE_CALLMANAGER_TFTP),
    ItlPart::FirstTvs,
    ItlPart::OtherTvs,
    ItlPart::Capf,
];

/// A list with ITLRecovery.
const WITH_RECOVERY: &[ItlPart] = &[
    ItlPart::Capf,
    ItlPart::FirstTvs,
    ItlPart::Recovery,
    ItlPart::OtherTvs,
    ItlPart::CallManager(ROLE_SAST),
    ItlPart::CallManager(ROLE_TFTP),
];

/// What newer releases reset the phones for.
const RESETS: &[CertificateKind] =
    &[CertificateKind::CallManager, CertificateKind::Capf, CertificateKind::Tvs];

/// The rules of each release, in the order of [`RELEASES`].
static RULES: [Rules; 4] = [
    Rules {
        release: Release::R8_6,
        name: "8.6",
        majors: 8..=9,
        has_itl_recovery: false,
        itl_signer: CertificateKind::CallManager,
        ctl_signer: CertificateKind::CallManager,
        auto_reset: &[],
        itl: SIGNER_FIRST,
        call_manager_roles: &[0, 2],
        file_signature: FileSignature::Sha1,
        has_signer_version: false,
    },
    Rules {
        release: Release::R11_5,
        name: "11.5",
        majors: 10..=11,
        has_itl_recovery: true,
        itl_signer: CertificateKind::CallManager,
        ctl_signer: CertificateKind::CallManager,
        auto_reset: RESETS,
        itl: WITH_RECOVERY,
        call_manager_roles: &[0, 3],
        file_signature: FileSignature::Sha1,
        has_signer_version: false,
    },
    Rules {
        release: Release::R12_5,
        name: "12.5",
        majors: 12..=13,
        has_itl_recovery: true,
        itl_signer: CertificateKind::ItlRecovery,
        ctl_signer: CertificateKind::ItlRecovery,
        auto_reset: RESETS,
        itl: WITH_RECOVERY,
        call_manager_roles: &[0, 3],
        file_signature: FileSignature::Sha1,
        has_signer_version: true,
    },
    Rules {
        release: Release::R14,
        name: "14",
        majors: 14..=u8::MAX,
        has_itl_recovery: true,
        itl_signer: CertificateKind::ItlRecovery,
        ctl_signer: CertificateKind::ItlRecovery,
        auto_reset: RESETS,
        itl: WITH_RECOVERY,
        call_manager_roles: &[0, 3],
        file_signature: FileSignature::Sha512,
        has_signer_version: true,
    },
];

impl Release {
    /// Its row of the table.
    pub const fn rules(self) -> &'static Rules {
        &RULES[self as usize]
    }

    /// The name in scenario files.
    pub const fn name(self) -> &'static str {
        self.rules().name
    }

    /// The profile that plays releases with this first number, if there is one.
    pub fn of_major(major: u8) -> Option<Release> {
        RULES.iter().find(|rules| rules.majors.contains(&major)).map(|rules| rules.release)
    }

    /// Whether the cluster has an ITLRecovery certificate (CERT-03).
    pub const fn has_itl_recovery(self) -> bool {
        self.rules().has_itl_recovery
    }

    /// Which certificate of the publisher signs a CTL without tokens.
    pub const fn ctl_signer(self) -> CertificateKind {
        self.rules().ctl_signer
    }

    /// Whether a CTL can be signed with tokens: not from 14 on (`spec/domain.md` section 14).
    pub fn has_etokens(self) -> bool {
        self < Release::R14
    }

    /// Whether a CTL can be made without tokens: from 10.x, with ITLRecovery (CTL-04).
    pub const fn has_tokenless_ctl(self) -> bool {
        self.has_itl_recovery()
    }

    /// The digest of signatures unless a scenario says another one.
    pub const fn file_signature(self) -> FileSignature {
        self.rules().file_signature
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
        let played = |major| Release::of_major(major).map(Release::name);
        let majors = [7, 8, 9, 10, 11, 12, 13, 14, 15, 255];
        let (first, second, third, last) = (Some("8.6"), Some("11.5"), Some("12.5"), Some("14"));
        let expected = [None, first, first, second, second, third, third, last, last, last];
        assert_eq!(majors.map(played), expected);
    }
}
