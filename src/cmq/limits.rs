//! The bounds of this room: those of the API, which an operator may raise, and those that keep the broker's own
//! resources.

use std::time::Duration;

/// Connections open at once; more wait in the system's backlog.
pub(super) const CONNECTIONS_MAX: usize = 8192;
/// Time that a connection may be idle between requests, and that a request's head may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Time that a request's body may take.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a connection's read buffer at most: the head of a request has to fit.
pub(super) const READ_BUFFER_MAX: usize = 64 * 1024;
/// Bodies beyond this size share [`LARGE_BODIES_KIB_MAX`].
pub(super) const LARGE_BODY: u64 = 64 * 1024;
/// KiB of large bodies that may be in memory at once; more wait to be read.
pub(super) const LARGE_BODIES_KIB_MAX: u32 = 128 * 1024;
/// The most that one listing answers, and what it answers if nothing is said: the API's numbers.
pub(super) const LIST_MAX: u64 = 50;
pub(super) const LIST_DEFAULT: u64 = 20;

/// What an operator may say about the API. Defaults are the API's own numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmqConfig {
    /// How far a request's time stamp may be from our clock, in milliseconds; 0 is any.
    pub clock_skew_ms: u64,
    /// Signatures remembered against replay; 0 is none.
    pub replays_max: usize,
    /// Bytes of one request.
    pub request_bytes_max: usize,
    /// Messages or handles in one batch.
    pub batch_max: usize,
    /// Bytes of the bodies in one batch.
    pub batch_bytes_max: u64,
    /// Queues of one virtual host.
    pub queues_max: usize,
    /// The largest `maxMsgHeapNum`.
    pub heap_max: u64,
    /// The largest `maxMsgSize`, in bytes.
    pub message_bytes_max: u64,
    /// The longest `pollingWaitSeconds`.
    pub polling_wait_max_secs: u64,
    /// The longest `visibilityTimeout`, in seconds.
    pub visibility_timeout_max_secs: u64,
    /// The longest `msgRetentionSeconds`.
    pub retention_max_secs: u64,
    /// The longest `delaySeconds`.
    pub delay_max_secs: u64,
    /// Delayed messages of one queue.
    pub delayed_max: u64,
    /// Received and not yet deleted messages of one queue.
    pub unacked_max: u64,
    /// Queues that share one dead letter queue.
    pub dead_letter_sources_max: usize,
}
