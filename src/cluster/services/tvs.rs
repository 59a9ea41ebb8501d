use std::sync::Arc;

use crate::base::{NodeId, Time};
use crate::cluster::knowledge::Knowledge;
use crate::wire::WireError;
use crate::wire::tvs::Command;

use super::dialogue::{Answering, Conversation, Peer, Said};

/// The TVS of a node, a dialogue of one turn that is answered from the page of its node.
#[derive(Debug)]
pub(super) struct Tvs {
    pub node: NodeId,
    pub knowledge: Arc<Knowledge>,
}

impl Answering for Tvs {
    fn open(self: Arc<Self>, _peer: &Peer) -> Box<dyn Conversation> {
        Box::new(Questions(self))
    }
}

/// A connection to TVS, which keeps nothing from question to question.
#[derive(Debug)]
struct Questions(Arc<Tvs>);

impl Conversation for Questions {
    fn on(&mut self, message: &[u8], now: Time) -> Result<Said, WireError> {
        let Tvs { node, knowledge } = &*self.0;
        let (reply, command) = knowledge.answer(*node, now, message)?;
        Ok(Said::reply(reply, usize::from(command == Command::VerifyResponse)))
    }
}
