//! Leases of fetched messages that return to the queue unless they are taken out.

use std::sync::Arc;

use super::effects::Acknowledgement;
use super::shell::Queue;
use crate::model::Lease;

/// Leases of one queue. When this is dropped, their messages are ready again, as by basic.nack: that they were looked at
/// is no failed delivery.
pub struct HeldLeases {
    queue: Arc<Queue>,
    leases: Vec<Lease>,
}

impl HeldLeases {
    pub fn new(queue: Arc<Queue>) -> HeldLeases {
        HeldLeases {
            queue,
            leases: Vec::new(),
        }
    }

    pub fn hold(&mut self, lease: Lease) {
        self.leases.push(lease);
    }

    /// Takes the leases out, in the order in which they came.
    pub fn take(&mut self) -> Vec<Lease> {
        std::mem::take(&mut self.leases)
    }
}

impl Drop for HeldLeases {
    fn drop(&mut self) {
        if !self.leases.is_empty() {
            let how = Acknowledgement::Requeue;
            self.queue.acknowledge(how, &self.leases, &[]);
        }
    }
}
