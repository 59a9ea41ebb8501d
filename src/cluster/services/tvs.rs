use std::sync::Arc;

use crate::base::Time;
use crate::cluster::knowledge::Knowledge;
use crate::wire::WireError;
use crate::wire::tvs::Command;

use super::dialogue::{Answering, Conversation, Said};

/// TVS is a dialogue of one turn, answered from what all nodes know.
impl Answering for Knowledge {
    fn open(self: Arc<Self>) -> Box<dyn Conversation> {
        Box::new(Questions(self))
    }
}

/// A connection to TVS, which keeps nothing from question to question.
struct Questions(Arc<Knowledge>);

impl Conversation for Questions {
    fn on(&mut self, message: &[u8], _now: Time) -> Result<Said, WireError> {
        let (reply, command) = self.0.answer(message)?;
        Ok(Said { reply, question: usize::from(command == Command::VerifyResponse) })
    }
}
