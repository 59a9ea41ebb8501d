use std::fmt;

use serde::{Serialize, Serializer};

/// What is said of a run as a whole (`decisions.md`, verdicts).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// A condition was broken.
    Fail,
    /// A condition could not be judged, or the run is not the one that was asked for.
    #[default]
    Inconclusive,
    /// A person or the system stopped it.
    Interrupted,
    /// All conditions held.
    Pass,
}

impl Verdict {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Interrupted => "interrupted",
            Verdict::Pass => "pass",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// How a run was played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// On real sockets.
    #[default]
    Live,
    /// In virtual time.
    Sim,
}

impl Mode {
    /// The word in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Live => "live",
            Mode::Sim => "sim",
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
