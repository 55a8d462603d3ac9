//! The threads for the reads and sweeps of queues.

use std::sync::Arc;

use tokio::runtime::Handle as Runtime;

use crate::model::QueueId;
use crate::pool::{Pool, PoolLimits};

/// Maximum number of concurrent reads of all queues. More reads make a disk no faster, and each takes memory.
const READ_THREADS: usize = 8;
/// Maximum number of concurrent sweeps.
const SWEEP_THREADS: usize = 2;
/// Maximum number of reads or sweeps that wait for a thread. Each queue asks for few at a time; a refused
/// queue tries again later.
const WAITING_MAX: usize = 1 << 20;

/// The threads for reads, and those for sweeps.
#[derive(Debug)]
pub struct QueueThreads {
    pub(in crate::broker::queue) reads: Pool<QueueId>,
    pub(in crate::broker::queue) sweeps: Pool<QueueId>,
    /// Runs the pauses between two attempts.
    pub(in crate::broker::queue) runtime: Runtime,
}

impl QueueThreads {
    /// Creates the threads for all queues of a broker. Must be called within a runtime.
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
