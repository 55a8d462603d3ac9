//! The bounds of this room: those of the API, which an operator may raise, and those that keep the broker's own
//! resources.

use std::time::Duration;

use super::error::CmqError;
use super::filter::TAG_HEADER;
use super::push::PushConfig;
use crate::broker::vhost::NAME_BYTES_MAX;

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

/// How long a topic keeps a message, in seconds: the API's number, which cannot be chosen.
pub(super) const TOPIC_RETENTION_SECS: u64 = 86_400;
/// The same for listings of subscriptions, and how far those go.
pub(super) const SUBSCRIPTION_LIST_MAX: u64 = 100;
pub(super) const SUBSCRIPTION_OFFSET_MAX: u64 = 1000;
/// Dots of routing keys and binding keys.
const KEY_DOTS_MAX: usize = 15;

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
