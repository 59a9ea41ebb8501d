use std::sync::Arc;

use crate::base::DeviceName;

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
    /// `XMLDefault.cnf.xml`, with `.sgn` once a list is installed.
    ConfigDefault,
}

impl Step {
    /// What kind of file is asked for.
    pub const fn kind(self) -> FileKind {
        match self {
            Step::Ctl | Step::CtlGeneric => FileKind::Ctl,
            Step::Itl | Step::ItlGeneric => FileKind::Itl,
            Step::Config | Step::ConfigDefault => FileKind::Config,
        }
    }

    /// The name that is asked for by `device`, which asks for signed files if `signed`.
    pub fn file_name(self, device: DeviceName, signed: bool) -> Arc<str> {
        let suffix = if signed { ".sgn" } else { "" };
        match self {
            Step::Ctl => format!("CTL{device}.tlv").into(),
            Step::CtlGeneric => "CTLFile.tlv".into(),
            Step::Itl => format!("ITL{device}.tlv").into(),
            Step::ItlGeneric => "ITLFile.tlv".into(),
            Step::Config => format!("{device}.cnf.xml{suffix}").into(),
            Step::ConfigDefault => format!("XMLDefault.cnf.xml{suffix}").into(),
        }
    }
}
