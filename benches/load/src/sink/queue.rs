//! Queues of the sink: counts of messages, without the messages.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::stamp::Stamp;

#[derive(Debug)]
pub(super) struct Queues {
    by_name: Mutex<HashMap<String, Arc<Queue>>>,
    /// Sequence number of the message that is not delivered.
    pub(super) lost: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) state: Mutex<QueueState>,
    pub(super) changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueueState {
    /// The stamp and size of the latest message.
    pub(super) latest: Stamp,
    pub(super) size: u64,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) acked: u64,
}

impl Queues {
    pub(super) fn new(lost: Option<u64>) -> Queues {
        Queues {
            by_name: Mutex::default(),
            lost,
        }
    }

    pub(super) fn get(&self, name: &str) -> Arc<Queue> {
        self.by_name
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    pub(super) fn remove(&self, name: &str) {
        self.by_name.lock().remove(name);
    }
}
