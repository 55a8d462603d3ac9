//! The bounds of this room: those of the API, which an operator may raise, and those that keep the broker's own
//! resources.

use std::time::Duration;

use super::error::CmqError;
use super::filter::TAG_HEADER;
use super::push::PushConfig;
use crate::accept::Capacity;
use crate::broker::vhost::NAME_BYTES_MAX;

/// Time that a connection may be idle between requests, and that a request's head may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Time that the bytes of a request's body may take to come.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a connection's read buffer at most: the head of a request has to fit.
pub(super) const READ_BUFFER_MAX: usize = 64 * 1024;
/// Bytes that a byte of a value becomes at most in a form: `%`, and two digits.
const ENCODED_BYTES_MAX: u64 = 3;
/// Bytes of a form for an item of a batch beside its body, or for a handle.
const ITEM_BYTES_MAX: u64 = 256;
/// Bytes of a form for everything else.
const BESIDE_BYTES_MAX: u64 = 64 * 1024;
/// Parameters beside the items of a batch.
const OPTIONS_MAX: usize = 496;
/// Bytes of a request that is too large which are read, and forgotten, so that its sender comes to read the answer.
pub(super) const FORGOTTEN_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Requests and answers beyond this size, in bytes, share [`LARGE_KIB_MAX`].
pub(super) const LARGE_BYTES: u64 = 64 * 1024;
/// Room for a large request is taken in pieces of so many bytes.
pub(super) const GRAIN_BYTES: u64 = 64 * 1024;
/// KiB of large requests, and as much again of bodies in large answers, that may be in memory at once; more wait to be
/// read, or to be received.
pub(super) const LARGE_KIB_MAX: u32 = 128 * 1024;
/// Lines that the log has in [`DENIED_LOGGED_EVERY`] on requests whose senders are not known; others are counted.
pub(super) const DENIED_LOGGED_MAX: u64 = 20;
/// See [`DENIED_LOGGED_MAX`].
pub(super) const DENIED_LOGGED_EVERY: Duration = Duration::from_secs(10);
/// QueueLookup of names that are remembered.
pub(super) const SPELLINGS_MAX: usize = 4_096;
/// How long, and how many bytes, of a request that cannot be read are taken and forgotten so that its sender comes to
/// read the answer.
pub(super) const LINGER_TIME_MAX: Duration = Duration::from_secs(2);
/// See [`LINGER_TIME_MAX`].
pub(super) const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a client may take nothing of its answer before its connection ends.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The most that one listing answers, and what it answers if nothing is said: the API's numbers.
pub(super) const LIST_MAX: u64 = 50;
pub(super) const LIST_DEFAULT: u64 = 20;

/// How long a topic keeps a message, in seconds: the API's number, which cannot be chosen.
pub(super) const TOPIC_RETENTION_SECS: u64 = 86_400;
/// The same for listings of subscriptions, and how far those go.
pub(super) const SUBSCRIPTION_LIST_MAX: u64 = 100;
pub(super) const SUBSCRIPTION_OFFSET_MAX: u64 = 1000;
/// How much later than a request's time stamp it may have been made, in milliseconds: time stamps are in seconds.
pub(super) const STAMP_MS: u64 = 999;
/// Dots of routing keys and binding keys.
const KEY_DOTS_MAX: usize = 15;

/// How many KiB of those that are shared something of this size takes; `None` if it is not large.
pub(super) fn large_kib(bytes: u64) -> Option<u32> {
    let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
    (bytes > LARGE_BYTES).then(|| kib.min(LARGE_KIB_MAX))
}

/// What an operator may say about the API. Defaults are the API's own numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmqConfig {
    /// Connections of clients whose key is known, and of newcomers.
    pub connections: Capacity,
    /// How long a newcomer has until its first signed request is there.
    pub newcomer_timeout: Duration,
    /// How far a request's time stamp may be from our clock, in milliseconds; 0 is any.
    pub clock_skew_ms: u64,
    /// Signatures remembered of each key against replay; 0 is none.
    pub replays_max: usize,
    /// Messages or handles in one batch.
    pub batch_max: usize,
    /// Bytes of the bodies in one batch.
    pub batch_bytes_max: u64,
    /// Requests a second of each kind that brings messages to a queue or topic; 0 is any number.
    pub requests_max: u64,
    /// How long the name of a deleted queue or topic rests.
    pub name_rest: Duration,
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
    /// Topics of one virtual host.
    pub topics_max: usize,
    /// Subscriptions of one topic.
    pub subscriptions_max: usize,
    /// Tags of one message; tags or binding keys of one subscription.
    pub filters_max: usize,
    /// Characters of a tag.
    pub tag_chars_max: usize,
    /// Bytes of a routing key or binding key.
    pub key_bytes_max: usize,
    /// What concerns pushing.
    pub push: PushConfig,
}

impl CmqConfig {
    /// Bytes of one request: those of the largest batch or message, however it is encoded, and what comes beside it.
    pub(super) fn request_bytes_max(&self) -> u64 {
        let bodies = self.batch_bytes_max.max(self.message_bytes_max);
        let items = u64::try_from(self.batch_max).unwrap_or(u64::MAX);
        bodies
            .saturating_mul(ENCODED_BYTES_MAX)
            .saturating_add(items.saturating_mul(ITEM_BYTES_MAX))
            .saturating_add(BESIDE_BYTES_MAX)
    }

    /// Parameters of one request: a batch and its options.
    pub(super) fn parameters_max(&self) -> usize {
        self.batch_max.saturating_add(OPTIONS_MAX)
    }

    /// Whether a tag is one that messages and subscriptions may have.
    pub(super) fn is_tag(&self, tag: &str) -> bool {
        // It is to fit into the name of a header.
        tag.chars().count() <= self.tag_chars_max && TAG_HEADER.len() + tag.len() <= NAME_BYTES_MAX
    }

    /// Refuses a routing key or binding key that is too long or has too many words.
    pub(super) fn check_key(&self, name: &str, key: &str) -> Result<(), CmqError> {
        if key.len() > self.key_bytes_max.min(NAME_BYTES_MAX) {
            return Err(CmqError::OutOfRange(name.to_owned()));
        }
        match key.bytes().filter(|byte| *byte == b'.').count() {
            dots if dots > KEY_DOTS_MAX => Err(CmqError::TooManyDelimiters),
            _ => Ok(()),
        }
    }
}
