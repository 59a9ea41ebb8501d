use crate::base::words;

words! {
    /// What is said of a run as a whole (`decisions.md`, verdicts).
    #[derive(Default)]
    pub enum Verdict {
        /// A condition was broken.
        Fail = "fail",
        /// A condition could not be judged, or the run is not the one that was asked for.
        #[default]
        Inconclusive = "inconclusive",
        /// A person or the system stopped it.
        Interrupted = "interrupted",
        /// All conditions held.
        Pass = "pass",
    }

    /// How a run was played.
    #[derive(Default)]
    pub enum Mode {
        /// On real sockets, to see how much a server carries.
        Capacity = "capacity",
        /// On real sockets.
        #[default]
        Live = "live",
        /// In virtual time.
        Sim = "sim",
    }

    /// Whether the generator did what was planned.
    #[derive(Default)]
    pub enum GeneratorState {
        /// Its host was taken away from it, and nothing else was wrong.
        Disturbed = "disturbed",
        /// It did.
        #[default]
        Ok = "ok",
        /// It lacked something.
        Saturated = "saturated",
    }

    /// What is said of a capacity measurement as a whole.
    #[derive(Default)]
    pub enum CapacityVerdict {
        /// The fixed load was carried.
        Carried = "carried",
        /// The generator could not offer more.
        GeneratorBound = "generator-bound",
        /// All was carried that may be offered.
        HighestOffered = "highest-offered",
        /// A person or the system stopped it.
        #[default]
        Interrupted = "interrupted",
        /// The server's knee was found.
        Knee = "knee",
        /// The server did not come back.
        Lost = "lost",
        /// No load was carried.
        NotCarried = "not-carried",
        /// What was carried once was not carried again.
        Unsteady = "unsteady",
    }

    /// What is said of one level of load.
    #[derive(Default)]
    pub enum LevelVerdict {
        /// The server did not carry it.
        Broken = "broken",
        /// The server carried it.
        Carried = "carried",
        /// It was not carried, and the generator may be why.
        GeneratorBound = "generator-bound",
        /// A person or the system stopped it.
        #[default]
        Interrupted = "interrupted",
        /// The server did not come back after it.
        Lost = "lost",
    }

    /// Why a level of load was offered.
    #[derive(Default)]
    pub enum LevelKind {
        /// Levels rise until one is not carried.
        Ramp = "ramp",
        /// It lies between one that was carried and one that was not.
        Search = "search",
        /// To see that a part of the knee is carried again.
        Confirm = "confirm",
        /// It was asked for.
        #[default]
        Fixed = "fixed",
        /// All at once, as it was asked for.
        Spike = "spike",
    }
}

impl CapacityVerdict {
    /// Those of measurements that carried all that they offered, or ended for reasons of their own.
    pub const BELOW_THE_KNEE: [CapacityVerdict; 4] = [
        CapacityVerdict::Carried,
        CapacityVerdict::GeneratorBound,
        CapacityVerdict::HighestOffered,
        CapacityVerdict::Interrupted,
    ];
}

impl LevelKind {
    /// The kind with this word.
    pub fn of(word: &str) -> Option<LevelKind> {
        LevelKind::ALL.into_iter().find(|kind| kind.name() == word)
    }

    /// Whether the user asked for this very level.
    pub const fn is_given(self) -> bool {
        matches!(self, LevelKind::Fixed | LevelKind::Spike)
    }
}
