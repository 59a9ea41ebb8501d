use crate::base::Span;

/// How CAPF is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapfSettings {
    /// Operations under way at the same time, at least 1 (guess: 50).
    pub sessions: u32,
    /// When a phone is to come again that found no place; nothing stands for "when it is its turn"
    /// (choice: what a real one says is not known).
    pub retry_delay: Option<Span>,
    /// "Maximum Allowable Time for Key Generation" (guess: 30 minutes).
    pub key_deadline: Span,
    /// A phone that has said nothing for longer than that loses its place to one that finds none
    /// (guess: 10 minutes; a real one says nothing of it).
    pub silence: Span,
    /// "Duration of Certificate Validity" in days, 1 to 1,825.
    pub valid_days: u16,
    /// Whether its greeting says an authentication type, as that of the free server does.
    pub greets_with_type: bool,
    /// It has the defect `CSCub62243`.
    pub is_flaky: bool,
}

impl Default for CapfSettings {
    fn default() -> CapfSettings {
        CapfSettings {
            sessions: 50,
            retry_delay: None,
            key_deadline: Span::from_secs(30 * 60),
            silence: Span::from_secs(10 * 60),
            valid_days: 1_825,
            greets_with_type: true,
            is_flaky: false,
        }
    }
}
