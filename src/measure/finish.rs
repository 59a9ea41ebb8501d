use crate::phone::Failure;

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Everything had happened and all phones had settled.
    Complete,
    /// The bound on events of virtual time was reached.
    EventLimit,
    /// A person or the system stopped it.
    Interrupted,
    /// Its time limit was reached.
    TimeLimit,
}

impl Finish {
    /// What cut the run short, by its name in the summary.
    pub const fn cut_by(self) -> Option<&'static str> {
        match self {
            Finish::Complete => None,
            Finish::EventLimit => Some("events"),
            Finish::Interrupted => Some("signal"),
            Finish::TimeLimit => Some("run.max-wall"),
        }
    }

    /// Why a phone has failed that had not settled by then.
    pub const fn of_unsettled(self) -> Failure {
        match self {
            Finish::EventLimit => Failure::EventLimit,
            Finish::Interrupted => Failure::Interrupted,
            Finish::Complete | Finish::TimeLimit => Failure::TimeLimit,
        }
    }
}
