use crate::base::{Model, words};

use super::families::family_of;

words! {
    /// Whether a phone keeps its session with TVS (TVS-19; `spec/tvs.md`, connection use).
    pub enum TvsSession {
        /// One for each question.
        Each = "each",
        /// As phones of the model do (`scenarios/profiles/phones.toml`).
        Model = "model",
        /// Until the boot settles, the server ends it or another server is asked.
        Kept = "kept",
    }
}

impl TvsSession {
    /// Whether a phone of `model` keeps it.
    pub fn keeps(self, model: Model) -> bool {
        match self {
            TvsSession::Each => false,
            TvsSession::Model => family_of(model).keeps_tvs_session.is_some(),
            TvsSession::Kept => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_of_the_79xx_keep_their_session_and_others_ask_once() {
        let kept = |model: u16| TvsSession::Model.keeps(model.into());
        assert_eq!([7962, 7970, 7841, 8845].map(kept), [true, true, false, false]);
        assert!(TvsSession::Kept.keeps(8845.into()) && !TvsSession::Each.keeps(7962.into()));
    }
}
