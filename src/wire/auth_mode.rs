/// How a phone proves to CAPF who it is (`spec/capf.md`, Authentication); `capfAuthMode` of a
/// configuration says it by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthMode {
    /// Nothing is to be done.
    #[default]
    None,
    /// By Authentication String.
    String,
    /// By Null String.
    NullString,
    /// By Existing Certificate (precedence to LSC).
    Lsc,
    /// By Existing Certificate (precedence to MIC).
    Mic,
}

impl AuthMode {
    /// Every mode in the order of its number.
    pub const ALL: [AuthMode; 5] =
        [AuthMode::None, AuthMode::String, AuthMode::NullString, AuthMode::Lsc, AuthMode::Mic];
    /// Those that an operation can have (CAPF-13).
    pub const OF_OPERATIONS: [AuthMode; 4] =
        [AuthMode::String, AuthMode::NullString, AuthMode::Lsc, AuthMode::Mic];

    /// Its number in configurations.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The mode with this number.
    pub fn from_number(number: u8) -> Option<AuthMode> {
        AuthMode::ALL.get(usize::from(number)).copied()
    }

    /// Its name in scenario files.
    pub const fn name(self) -> &'static str {
        match self {
            AuthMode::None => "none",
            AuthMode::String => "string",
            AuthMode::NullString => "null-string",
            AuthMode::Lsc => "existing-lsc",
            AuthMode::Mic => "existing-mic",
        }
    }

    /// Its words on the phone page.
    pub const fn words(self) -> &'static str {
        match self {
            AuthMode::None => "No Pending Operation",
            AuthMode::String => "By Authentication String",
            AuthMode::NullString => "By Null String",
            AuthMode::Lsc => "By Existing Certificate (precedence to LSC)",
            AuthMode::Mic => "By Existing Certificate (precedence to MIC)",
        }
    }

    /// Whether a certificate proves it.
    pub const fn wants_certificate(self) -> bool {
        matches!(self, AuthMode::Lsc | AuthMode::Mic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_the_numbers_of_configurations() {
        for mode in AuthMode::ALL {
            assert_eq!(AuthMode::from_number(mode.number()), Some(mode));
        }
        assert_eq!((AuthMode::NullString.number(), AuthMode::Mic.number()), (2, 4));
        assert_eq!(AuthMode::from_number(5), None);
    }
}
