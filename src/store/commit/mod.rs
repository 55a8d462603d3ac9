//! Group commit: all changes that wait go into one batch. One thread appends it to the journal, another makes it
//! durable while the next batch gathers, and a third one applies it. No work here is per message, and no thread runs
//! while nothing waits.
//!
//! A batch is what arrived while the disk was busy with the one before. When much arrives
//! ([`shared::PIPELINE_BYTES`]) the next batch is appended during that sync. When little arrives the committer's
//! thread syncs itself, which saves a switch of threads for a publisher that waits for each confirm. When much arrives
//! in small pieces it waits a little before the next batch ([`gathering`]).
//!
//! A *source* (a queue) with changes marks itself dirty once and learns the ticket of the batch that will hold them.
//! Batches are appended in ticket order, and each passes two milestones: it is *durable* after a sync, and that is
//! reported; then it is *applied*, and reads of the store see it. "Durable up to ticket N" is reported only after a
//! sync that followed the append of every batch up to N. Two rules keep that true:
//!
//! - One lock guards the list of dirty sources and the open ticket, so a source is always in the batch whose ticket
//!   it got. Changes that it adds between being taken and being collected go along.
//! - After a failure nothing is reported until every batch since the last durable one has been appended again to the
//!   reopened journal and synced. Those batches stay in memory until they are durable.
//!
//! With [`Limits::sync_within`] a batch is reported as durable when it is appended. Everything else stays: the sync
//! thread syncs in time, and batches stay in memory until they are synced.
//!
//! Lock order: boundary, a source's own, gate; waiters alone.

mod alarm; // why publishers are stopped
mod applier; // the thread that applies
mod applying; // when durable batches are applied, pure
mod committer; // the handle
mod disk; // the watch over the free space
mod figures; // figures for operators
mod gathering; // whether to wait for more work, pure
mod milestone; // the last ticket that got somewhere, and who waits
mod pipeline; // the threads that append and sync
mod recovery; // after a failure
mod shared; // what the threads share

use std::time::Duration;

pub use alarm::Alarm;
pub use committer::{BatchGuard, Committer};
pub use figures::{Figures, Histogram};
pub use milestone::StoreFailed;

use super::Batch;
use crate::model::Ticket;

/// Gathers changes between batches.
pub trait Source: Send + Sync {
    /// Moves the pending changes into the batch and clears the source's dirty mark. Called on the committer's thread,
    /// once for each [`Committer::mark_dirty`]. Must not wait for the committer.
    fn collect(&self, batch: &mut Batch);
}

/// Waits for a ticket.
pub trait Waiter: Send + Sync {
    /// Everything up to this ticket is durable or applied, as was asked. Called on a thread of the committer: must be
    /// quick.
    fn reached(&self, upto: Ticket);
}

/// Bounds of a committer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of bytes that wait to become durable; beyond it publishers wait.
    pub pending_bytes_max: usize,
    /// Free bytes on the disk below which the alarm is raised and a failed store is not reopened.
    pub disk_free_min: u64,
    /// Interval of the checks of the free space; it is also checked when a share of it has been used.
    pub disk_check_every: Duration,
    /// How long to wait before a failed store is opened again.
    pub retry_after: Duration,
    /// `None` reports a batch when it is synced. With a time a batch is reported when it is appended, and synced
    /// within the time, or when a quarter of `pending_bytes_max` is not synced yet. Then a power loss takes what was
    /// reported since the last sync; the end of the process takes nothing.
    pub sync_within: Option<Duration>,
}

/// Default of [`Limits::pending_bytes_max`].
pub const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Default of [`Limits::disk_free_min`], as RabbitMQ's `disk_free_limit`.
pub const DISK_FREE_MIN: u64 = 50_000_000;
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            pending_bytes_max: PENDING_BYTES_MAX,
            disk_free_min: DISK_FREE_MIN,
            disk_check_every: Duration::from_secs(5),
            retry_after: Duration::from_secs(1),
            sync_within: None,
        }
    }
}

#[cfg(test)]
mod tests;
