use std::fmt;

/// What CAPF is to do with a phone ("Certificate Operation", CAPF-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LscOperation {
    /// Install or upgrade an LSC.
    Install,
    /// Delete the LSC.
    Delete,
    /// Fetch the LSC that the phone has ("Troubleshoot").
    Fetch,
}

impl LscOperation {
    /// Every operation.
    pub const ALL: [LscOperation; 3] =
        [LscOperation::Install, LscOperation::Delete, LscOperation::Fetch];

    /// Its name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            LscOperation::Install => "install",
            LscOperation::Delete => "delete",
            LscOperation::Fetch => "fetch",
        }
    }

    /// The word with which its results begin.
    pub const fn word(self) -> &'static str {
        match self {
            LscOperation::Install => "Upgrade",
            LscOperation::Delete => "Delete",
            LscOperation::Fetch => "Troubleshoot",
        }
    }
}

/// Why an operation failed, as the phone page says it (`spec/capf.md`, status texts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LscCause {
    /// The LSC of the phone is none that CAPF trusts.
    InvalidLsc,
    /// Another authentication string than that of the operation.
    InvalidString,
    /// The MIC of the phone is none that CAPF trusts.
    InvalidMic,
    /// What came proves nothing.
    InvalidCredentials,
    /// What the phone says breaks the rules of the protocol.
    PhoneCommunication,
    /// The phone has made no key.
    KeyGeneration,
    /// The phone has taken too long to make its key.
    KeyGenerationTimeout,
    /// The time of the operation was over before the phone came (CAPF-20).
    Late,
    /// No further cause is told.
    Untold,
}

impl LscCause {
    /// Every cause.
    pub const ALL: [LscCause; 9] = [
        LscCause::InvalidLsc,
        LscCause::InvalidString,
        LscCause::InvalidMic,
        LscCause::InvalidCredentials,
        LscCause::PhoneCommunication,
        LscCause::KeyGeneration,
        LscCause::KeyGenerationTimeout,
        LscCause::Late,
        LscCause::Untold,
    ];

    /// Its text; empty for [`LscCause::Untold`].
    pub const fn text(self) -> &'static str {
        match self {
            LscCause::InvalidLsc => "Invalid LSC",
            LscCause::InvalidString => "Invalid Authentication String",
            LscCause::InvalidMic => "Invalid MIC",
            LscCause::InvalidCredentials => "Invalid Credentials",
            LscCause::PhoneCommunication => "Phone Communication Failure",
            LscCause::KeyGeneration => "Key Generation Failed",
            LscCause::KeyGenerationTimeout => "Key Generation Timeout",
            LscCause::Late => "User Initiated Request Late/Timedout",
            LscCause::Untold => "",
        }
    }
}

/// "Certificate Operation Status" of a phone, with the texts of the phone page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LscStatus {
    /// There never was an operation.
    #[default]
    None,
    /// The phone has not carried it out.
    Pending,
    /// Carried out.
    Success(LscOperation),
    /// Failed.
    Failed(LscOperation, LscCause),
}

impl fmt::Display for LscStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LscStatus::None => f.write_str("None"),
            LscStatus::Pending => f.write_str("Operation Pending"),
            LscStatus::Success(operation) => write!(f, "{} Success", operation.word()),
            LscStatus::Failed(operation, LscCause::Untold) => {
                write!(f, "{} Failed", operation.word())
            }
            LscStatus::Failed(operation, cause) => {
                write!(f, "{} Failed: {}", operation.word(), cause.text())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_the_texts_of_the_phone_page() {
        let texts = [
            (LscStatus::None, "None"),
            (LscStatus::Pending, "Operation Pending"),
            (LscStatus::Success(LscOperation::Install), "Upgrade Success"),
            (LscStatus::Success(LscOperation::Delete), "Delete Success"),
            (LscStatus::Success(LscOperation::Fetch), "Troubleshoot Success"),
            (
                LscStatus::Failed(LscOperation::Install, LscCause::Late),
                "Upgrade Failed: User Initiated Request Late/Timedout",
            ),
            (
                LscStatus::Failed(LscOperation::Install, LscCause::InvalidString),
                "Upgrade Failed: Invalid Authentication String",
            ),
            (LscStatus::Failed(LscOperation::Delete, LscCause::Untold), "Delete Failed"),
        ];
        for (status, text) in texts {
            assert_eq!(status.to_string(), text);
        }
    }
}
