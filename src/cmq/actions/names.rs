//! Names that the API allows, and the ids that it shows beside them.

use crate::cmq::topics::{Subscription, TopicId};
use crate::model::QueueId;

/// Longest name of a queue, topic or subscription that the API makes, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Whether a name is a letter followed by letters, digits, `-` and `_`.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= NAME_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// `queueId`.
pub(super) fn queue_id(queue: QueueId) -> String {
    format!("queue-{:08x}", queue.0)
}

/// `topicId`.
pub(super) fn topic_id(topic: TopicId) -> String {
    format!("topic-{:08x}", topic.0)
}

/// `subscriptionId`.
pub(super) fn subscription_id(subscription: &Subscription) -> String {
    format!("subsc-{:08x}", subscription.id)
}
