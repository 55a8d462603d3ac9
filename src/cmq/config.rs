//! What an operator may configure of the API, and the limits that follow from it.

use std::time::Duration;

use super::error::CmqError;
use super::filter::TAG_HEADER;
use super::limits::KEY_DOTS_MAX;
use super::push::PushConfig;
use crate::broker::vhost::NAME_BYTES_MAX;
use crate::net::Capacity;

/// Bytes of a form that one byte of a value takes at most: `%` and two digits.
const ENCODED_BYTES_MAX: u64 = 3;
/// Bytes of a form for one item of a batch beside its body, or for one receipt handle.
const ITEM_BYTES_MAX: u64 = 256;
/// Bytes of a form for all other parameters.
const OTHER_BYTES_MAX: u64 = 64 * 1024;
/// Parameters beside the items of a batch.
const OTHER_PARAMETERS_MAX: usize = 496;

/// The options of the API. Their defaults are CMQ's own limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmqConfig {
    /// Connections of authenticated clients, and of newcomers.
    pub connections: Capacity,
    /// Time that a newcomer has for its first signed request.
    pub newcomer_timeout: Duration,
    /// How far a request's time stamp may be from the broker's clock, in milliseconds; 0 allows any distance.
    pub clock_skew_ms: u64,
    /// Signatures per key that are remembered against replay; 0 remembers none.
    pub replays_max: usize,
    /// Messages or receipt handles in one batch.
    pub batch_max: usize,
    /// Bytes of the bodies in one batch.
    pub batch_bytes_max: u64,
    /// Requests a second of each sending action to one queue or topic; 0 allows any number.
    pub requests_max: u64,
    /// How long the name of a deleted queue or topic may not be used again.
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
    pub push: PushConfig,
}

impl CmqConfig {
    /// Largest request in bytes: the largest batch or message, with every byte encoded, and the other parameters.
    pub(super) fn request_bytes_max(&self) -> u64 {
        let bodies = self.batch_bytes_max.max(self.message_bytes_max);
        let items = u64::try_from(self.batch_max).unwrap_or(u64::MAX);
        bodies
            .saturating_mul(ENCODED_BYTES_MAX)
            .saturating_add(items.saturating_mul(ITEM_BYTES_MAX))
            .saturating_add(OTHER_BYTES_MAX)
    }

    /// Maximum number of parameters of one request.
    pub(super) fn parameters_max(&self) -> usize {
        self.batch_max.saturating_add(OTHER_PARAMETERS_MAX)
    }

    /// Whether messages and subscriptions may have this tag.
    pub(super) fn is_tag(&self, tag: &str) -> bool {
        // A tag is stored in the name of a header.
        tag.chars().count() <= self.tag_chars_max && TAG_HEADER.len() + tag.len() <= NAME_BYTES_MAX
    }

    /// Refuses a routing key or binding key that is too long or has too many words. `name` is its parameter.
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
