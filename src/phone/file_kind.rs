use crate::wire::{ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP};

/// What a file is to a phone; decides which roles its signer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `CTL*.tlv`.
    Ctl,
    /// `ITL*.tlv`.
    Itl,
    /// `*.cnf.xml`.
    Config,
    /// Tones and texts of a country.
    Locale,
    /// `Ringlist.xml`.
    RingList,
}

/// Files that a phone may ask for beside lists and configuration, in the order of a boot
/// (`spec/phone-boot.md` section 1): it goes on without those that it does not get.
pub const FURTHER_FILES: [FileKind; 2] = [FileKind::Locale, FileKind::RingList];

impl FileKind {
    /// The name in scenario files and outputs.
    pub const fn name(self) -> &'static str {
        match self {
            FileKind::Ctl => "ctl",
            FileKind::Itl => "itl",
            FileKind::Config => "config",
            FileKind::Locale => "locale",
            FileKind::RingList => "ring-list",
        }
    }

    /// Whether it is a CTL or an ITL.
    pub const fn is_list(self) -> bool {
        matches!(self, FileKind::Ctl | FileKind::Itl)
    }

    /// Whether a phone goes on without it.
    pub const fn is_further(self) -> bool {
        matches!(self, FileKind::Locale | FileKind::RingList)
    }

    /// Roles that let a record of the ITL, or an answer of TVS, vouch for this kind.
    pub const fn roles(self) -> &'static [u16] {
        match self {
            FileKind::Ctl | FileKind::Itl => &[ROLE_SAST],
            FileKind::Config | FileKind::Locale | FileKind::RingList => {
                &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP]
            }
        }
    }

    /// Roles that let a record of the CTL vouch for this kind: for an ITL CCM+TFTP as well
    /// (CTL-12).
    pub const fn ctl_roles(self) -> &'static [u16] {
        match self {
            FileKind::Itl => &[ROLE_SAST, ROLE_CALLMANAGER_TFTP],
            FileKind::Ctl | FileKind::Config | FileKind::Locale | FileKind::RingList => {
                self.roles()
            }
        }
    }
}
