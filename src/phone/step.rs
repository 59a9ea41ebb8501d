use crate::base::DeviceName;
use crate::wire::{FileName, Seal};

use super::file_kind::FileKind;

/// A step of a boot that asks for a file (`spec/phone-boot.md` section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// `CTLSEP<MAC>.tlv`.
    Ctl,
    /// `CTLFile.tlv`.
    CtlGeneric,
    /// `ITLSEP<MAC>.tlv`.
    Itl,
    /// `ITLFile.tlv`.
    ItlGeneric,
    /// `SEP<MAC>.cnf.xml`, with `.sgn` once a list is installed.
    Config,
    /// `SEP<MAC>.cnf.xml.enc.sgn`.
    ConfigEncrypted,
    /// `XMLDefault.cnf.xml`, with `.sgn` once a list is installed.
    ConfigDefault,
    /// The file of the network locale, with `.sgn` once a list is installed.
    Locale,
    /// `Ringlist.xml`, with `.sgn` once a list is installed.
    RingList,
}

impl Step {
    /// What kind of file is asked for.
    pub const fn kind(self) -> FileKind {
        match self {
            Step::Ctl | Step::CtlGeneric => FileKind::Ctl,
            Step::Itl | Step::ItlGeneric => FileKind::Itl,
            Step::Config | Step::ConfigEncrypted | Step::ConfigDefault => FileKind::Config,
            Step::Locale => FileKind::Locale,
            Step::RingList => FileKind::RingList,
        }
    }

    /// The name that is asked for by `device`, which asks for signed files if `signed`.
    pub fn file_name(self, device: DeviceName, signed: bool) -> FileName {
        let seal = if signed { Seal::Signed } else { Seal::Plain };
        match self {
            Step::Ctl => FileName::Ctl(Some(device)),
            Step::CtlGeneric => FileName::Ctl(None),
            Step::Itl => FileName::Itl(Some(device)),
            Step::ItlGeneric => FileName::Itl(None),
            Step::Config => FileName::Config(Some(device), seal),
            Step::ConfigEncrypted => FileName::Config(Some(device), Seal::Encrypted),
            Step::ConfigDefault => FileName::Config(None, seal),
            Step::Locale => FileName::Locale(seal),
            Step::RingList => FileName::RingList(seal),
        }
    }
}
