//! Rewinds, driven on a machine without I/O. The tests share these helpers.

mod history_limits;
mod model;
mod rewinding;

use std::sync::Arc;

use bytes::Bytes;

use crate::broker::queue::effects::{Acknowledgement, Get};
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::work_queue::tests::rig::{Rig, body, long};
use crate::model::arguments::QueueArguments;
use crate::model::{Lease, QueueId};
use crate::wire::AMQPValue;

use super::plan::RewindError;
use super::rewind_to::RewindTo;
use super::search::find_position;

/// The log of the queue that [`Rig`] drives.
fn log(lane: u8) -> crate::model::LogId {
    QueueId(7).log(lane)
}

impl Rig {
    /// Does what `Queue::rewind` does, with `meanwhile` between the search and the rewind.
    fn rewind_while(
        &mut self,
        to: RewindTo,
        meanwhile: impl FnOnce(&mut Rig),
    ) -> Result<(Option<u64>, u64), RewindError> {
        let searches = self.state.plan_rewind(self.now_ms, to)?;
        self.commit();
        let persistent = |message: &crate::model::Message| message.persistent;
        let found: Vec<_> = searches
            .iter()
            .map(|search| find_position(&self.store, search, persistent).expect("memory store"))
            .collect();
        meanwhile(self);
        let rewound = self.state.rewind(self.now_ms, &found, &mut self.fx);
        self.carry_out();
        rewound
    }

    fn rewind(&mut self, to: RewindTo) -> Result<(Option<u64>, u64), RewindError> {
        self.rewind_while(to, |_| {})
    }

    /// Gets and acks all ready messages. Returns their bodies.
    fn drain(&mut self) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        while let Some((lease, body, _)) = self.get() {
            bodies.push(body);
            self.acknowledge(Acknowledgement::Ack, &[lease]);
        }
        bodies
    }

    fn get_with_time(&mut self) -> Option<(Lease, Bytes, bool, u64)> {
        loop {
            let got = self.state.get(self.now_ms, false, &mut self.fx);
            self.carry_out();
            match got {
                Get::Empty => return None,
                Get::Loading => {}
                Get::Got(got) => {
                    let enqueued_ms = got.enqueued.expect("a queue with a history says it").ms();
                    return Some((got.lease, body(&got.message), got.redelivered, enqueued_ms));
                }
            }
        }
    }

    fn delete(&mut self, handle: ReceiptHandle) -> Vec<bool> {
        let handles = [handle];
        let valid = self
            .state
            .delete_received(self.now_ms, &handles, &mut self.fx);
        self.carry_out();
        valid
    }

    fn set_rewind(&mut self, rewind_ms: Option<u64>) {
        let arguments = QueueArguments {
            rewind_ms,
            ..QueueArguments::clone(&self.arguments)
        };
        self.arguments = Arc::new(arguments);
        self.state
            .reconfigure(self.now_ms, Arc::clone(&self.arguments), &mut self.fx);
        self.tick(self.now_ms);
    }
}

fn rig(more: &[(&str, AMQPValue)]) -> Rig {
    let mut arguments = vec![("x-rewind-seconds", long(60))];
    arguments.extend(more.iter().cloned());
    Rig::new(&arguments)
}
