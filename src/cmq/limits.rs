//! Fixed limits: numbers of the API that no operator can change, and bounds that protect the broker.

use std::time::Duration;

/// Time that a connection may be idle between requests, and that the head of a request may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Time that all bytes of a request's body may take.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Size of a connection's read buffer in bytes. The head of a request has to fit into it.
pub(super) const READ_BUFFER_MAX: usize = 64 * 1024;
/// Bytes of a too large request that are read and discarded, so that its client gets to read the response.
pub(super) const DISCARDED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Requests and responses above this size, in bytes, count against [`LARGE_KIB_MAX`].
pub(super) const LARGE_BYTES: u64 = 64 * 1024;
/// A large request takes memory in pieces of this many bytes.
pub(super) const BODY_GRAIN_BYTES: u64 = 64 * 1024;
/// KiB of large requests that may be in memory together, and as much again of bodies in large responses. Further
/// requests and responses wait.
pub(super) const LARGE_KIB_MAX: u32 = 128 * 1024;
/// Log lines per [`DENIED_LOGGED_EVERY`] about requests that were denied. Further ones are only counted.
pub(super) const DENIED_LOGGED_MAX: u64 = 20;
/// See [`DENIED_LOGGED_MAX`].
pub(super) const DENIED_LOGGED_EVERY: Duration = Duration::from_secs(10);
/// Maximum number of names that [`super::queue_lookup`] remembers.
pub(super) const REMEMBERED_NAMES_MAX: usize = 4_096;
/// How long the bytes of a request that hyper cannot read are discarded, so that its client gets to read the response.
pub(super) const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// How many bytes of such a request are discarded.
pub(super) const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take nothing of its response before its connection ends.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Milliseconds by which a request may be younger than its time stamp, which is in seconds.
pub(super) const STAMP_MS: u64 = 999;

/// Largest `limit` of a listing of queues or topics.
pub(super) const LIST_MAX: u64 = 50;
/// `limit` of a listing that does not name one.
pub(super) const LIST_DEFAULT: u64 = 20;
/// Largest `limit` of a listing of subscriptions.
pub(super) const SUBSCRIPTION_LIST_MAX: u64 = 100;
/// Largest `offset` of a listing of subscriptions.
pub(super) const SUBSCRIPTION_OFFSET_MAX: u64 = 1000;
/// How long a topic keeps a message, in seconds. The API offers no choice.
pub(super) const TOPIC_RETENTION_SECS: u64 = 86_400;
/// Dots in a routing key or binding key.
pub(super) const KEY_DOTS_MAX: usize = 15;

/// The part of [`LARGE_KIB_MAX`] that a response of this size takes; `None` if it is not large.
pub(super) fn large_kib(bytes: u64) -> Option<u32> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    (bytes > LARGE_BYTES).then(|| kib.min(LARGE_KIB_MAX))
}
