//! What the memory of the process is used for, under RabbitMQ's names.

use std::sync::Arc;

use super::sources::Views;
use crate::memory;

/// Kinds of memory that RabbitMQ has and this broker does not.
const NO_SUCH_MEMORY: [&str; 24] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "msg_index",
    "code",
    "atom",
    "reserved_unallocated",
    "allocated_unused",
];

/// What the memory of the process is used for.
#[derive(Clone, Debug)]
pub struct MemoryView {
    /// Resident bytes.
    pub resident: u64,
    /// Bytes of each of RabbitMQ's kinds: messages are `binary`, all else is `other_system`.
    pub kinds: Vec<(&'static str, u64)>,
}

impl Views {
    pub fn memory(&self) -> MemoryView {
        let resident = memory::resident_bytes();
        // Pages that the system has swapped out are not resident.
        let messages = Arc::clone(self.broker.budget()).used().min(resident);
        let own = [("binary", messages), ("other_system", resident - messages)];
        let others = NO_SUCH_MEMORY.iter().map(|kind| (*kind, 0));
        MemoryView {
            resident,
            kinds: own.into_iter().chain(others).collect(),
        }
    }
}
