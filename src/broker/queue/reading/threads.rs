//! The threads on which queues read and remove.

use std::sync::Arc;

use tokio::runtime::Handle as Runtime;

use crate::model::QueueId;
use crate::pool::{Pool, PoolLimits};

/// Reads at once, of all queues together. More of them make a disk no faster, and each holds what it reads.
const READ_THREADS: usize = 8;
/// Sweeps at once.
const SWEEP_THREADS: usize = 2;
/// Reads or sweeps that wait for a thread. A queue asks for few at a time; with more queues than this at once some try
/// again later.
const WAITING_MAX: usize = 1 << 20;

/// Threads that read for queues, and those that remove what nobody reads again.
#[derive(Debug)]
pub struct QueueThreads {
    pub(in crate::broker::queue) reads: Pool<QueueId>,
    pub(in crate::broker::queue) sweeps: Pool<QueueId>,
    /// For what waits between two tries.
    pub(in crate::broker::queue) runtime: Runtime,
}

impl QueueThreads {
    /// Threads for all queues of a broker. Made within a runtime.
    pub fn new() -> Arc<QueueThreads> {
        let limits = |threads| PoolLimits {
            threads,
            waiting: WAITING_MAX,
        };
        Arc::new(QueueThreads {
            reads: Pool::new("read", limits(READ_THREADS)),
            sweeps: Pool::new("sweep", limits(SWEEP_THREADS)),
            runtime: Runtime::current(),
        })
    }
}
