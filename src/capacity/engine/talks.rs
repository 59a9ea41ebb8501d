use std::sync::Arc;

use super::{Answer, Engine, session_id};
use crate::capacity::tcp::Talk;
use crate::capacity::workload::{Op, What};

impl Engine {
    /// Asks the remaining requests that go to TCP servers, in a task of their own.
    pub(super) fn talk(&mut self, slot: u32) {
        let phone = self.phone(slot);
        let keep = self.keeps_bytes();
        let over_tcp = |op: &&Arc<Op>| self.sockets.is_none() || !matches!(op.what, What::File(_));
        let name = self.workload.as_ref();
        let place = &mut self.places.slots[slot as usize];
        place.generation += 1;
        let generation = place.generation;
        let Some(work) = &mut place.work else { return };
        let ops: Vec<Arc<Op>> = work.ops[work.at..].iter().take_while(over_tcp).cloned().collect();
        let session = session_id(work.ordinal);
        let device = name.map_or("CP-8841-SEP001122334455", |load| load.tvs_name(work.ordinal));
        let messages: Vec<Vec<u8>> = ops.iter().map(|op| op.tvs_request(session, device)).collect();
        let mut conversation = Talk::new(&self.target, phone, keep);
        let answers = self.answers.clone();
        let task = tokio::spawn(async move {
            for (at, (op, message)) in ops.iter().zip(&messages).enumerate() {
                let got = conversation.ask(op, message).await;
                let last = got.is_err() || at + 1 == ops.len();
                // The engine is gone when all is over; then nobody wants the answer.
                let _ = answers.send(Answer { slot, generation, got, last });
                if last {
                    return;
                }
            }
        });
        work.task = Some(task.abort_handle());
    }

    /// A request over TCP has ended.
    pub(super) fn on_answer(&mut self, answer: Answer) {
        let Answer { slot, generation, got, last } = answer;
        let place = &mut self.places.slots[slot as usize];
        let Some(work) = place.work.as_mut().filter(|_| place.generation == generation) else {
            return;
        };
        if last {
            work.task = None;
        }
        if got.is_ok() {
            self.hear(slot);
        }
        self.on_got(slot, got, !last);
    }
}
