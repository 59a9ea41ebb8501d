use crate::wire::{ROLE_CALLMANAGER_TFTP, ROLE_SAST, ROLE_TFTP};

/// What a file is to a phone; decides which roles its signer needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `CTL*.tlv`.
    Ctl,
    /// `ITL*.tlv`.
    Itl,
    /// `*.cnf.xml` and other content.
    Config,
}

impl FileKind {
    /// Roles that let a record of the ITL, or an answer of TVS, vouch for this kind.
    pub const fn roles(self) -> &'static [u16] {
        match self {
            FileKind::Ctl | FileKind::Itl => &[ROLE_SAST],
            FileKind::Config => &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP],
        }
    }

    /// Roles that let a record of the CTL vouch for this kind: for an ITL CCM+TFTP as well
    /// (CTL-12).
    pub const fn ctl_roles(self) -> &'static [u16] {
        match self {
            FileKind::Ctl => &[ROLE_SAST],
            FileKind::Itl => &[ROLE_SAST, ROLE_CALLMANAGER_TFTP],
            FileKind::Config => &[ROLE_CALLMANAGER_TFTP, ROLE_TFTP],
        }
    }
}
