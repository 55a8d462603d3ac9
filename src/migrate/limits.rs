//! Limits of a migration: memory, time, and what runs at the same time.

use std::time::Duration;

/// The largest answer of a management API, in bytes.
pub(super) const ANSWER_MAX: usize = 256 * 1024 * 1024;
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Queues that are moved at the same time: at most, and without `--parallel`. Each takes three connections.
pub(super) const PARALLEL_MAX: usize = 64;
pub(super) const PARALLEL: usize = 4;
/// Unacked messages of each queue without `--prefetch`.
pub(super) const PREFETCH: u16 = 2_000;
/// Pause before a queue's connections are opened again, doubled up to the maximum.
pub(super) const RETRY: Duration = Duration::from_millis(500);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(15);
/// A queue whose connections fail for that long without a message moved is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);
/// How often an idle queue is asked whether it is empty.
pub(super) const IDLE_CHECK: Duration = Duration::from_millis(250);
/// How long the source may take to notice that an earlier connection has ended: two heartbeats, and more.
pub(super) const OTHER_RUN_WAIT: Duration = Duration::from_secs(60);
/// A stream is copied when it has brought nothing for that long.
pub(super) const STREAM_IDLE: Duration = Duration::from_secs(3);
/// How long the ends of connections wait for their brokers.
pub(super) const CLOSE: Duration = Duration::from_secs(10);
/// How often the state file is written. A run that is killed moved at most that much more than the file says.
pub(super) const SAVE_EVERY: Duration = Duration::from_millis(250);
/// A stream's offsets are reserved in the state file this many at a time, before they are published: after a crash,
/// reserved messages without a confirm are published again with a mark.
pub(super) const OFFSETS_RESERVED: u64 = 10_000;
/// How often progress is printed when standard error is no terminal.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(5);
