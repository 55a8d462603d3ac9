//! The threads for the reads of queues.

use std::sync::Arc;

use tokio::runtime::Handle as Runtime;

use crate::model::QueueId;
use crate::pool::{Pool, PoolLimits};

/// Maximum number of concurrent reads of all queues. More reads make a disk no faster, and each takes memory.
const READ_THREADS: usize = 8;
/// Maximum number of reads that wait for a thread. Each queue asks for few at a time; a refused
/// queue tries again later.
const WAITING_MAX: usize = 1 << 20;

/// The threads for reads.
#[derive(Debug)]
pub struct QueueThreads {
    pub(in crate::broker::queue) reads: Pool<QueueId>,
    /// Runs the pauses between two attempts.
    pub(in crate::broker::queue) runtime: Runtime,
}

impl QueueThreads {
    /// Creates the threads for all queues of a broker. Must be called within a runtime.
    pub fn new() -> Arc<QueueThreads> {
        let limits = PoolLimits {
            threads: READ_THREADS,
            waiting: WAITING_MAX,
        };
        Arc::new(QueueThreads {
            reads: Pool::new("read", limits),
            runtime: Runtime::current(),
        })
    }
}
