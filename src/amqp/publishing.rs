//! A channel's state for publishing, and messages on their way to their queues.

use std::sync::Arc;

use super::detach::LastProperties;
use super::route_cache::RouteCache;
use super::run::Run;
use crate::broker::stats::ExchangeCounts;
use crate::model::{Message, Name, Origin};

#[derive(Default)]
pub(crate) struct Publishing {
    pub(crate) routes: RouteCache,
    pub(crate) last_properties: LastProperties,
    pub(crate) run: Run,
    pub(crate) counts: ExchangeCounts,
    /// Exchange and routing key of the last restored message, shared with the next one.
    pub(crate) restored_origin: Option<Arc<Origin>>,
}

/// A message whose properties and permissions have been checked.
#[derive(Debug)]
pub(crate) struct CheckedMessage {
    pub(crate) message: Arc<Message>,
    /// Without a queue it is returned to the publisher.
    pub(crate) mandatory: bool,
    /// Addresses of direct reply-to that it goes to, each once.
    pub(crate) reply_addresses: Vec<Name>,
}

impl CheckedMessage {
    /// A message that goes to queues only.
    pub(crate) fn for_queues(message: Arc<Message>) -> CheckedMessage {
        CheckedMessage {
            message,
            mandatory: false,
            reply_addresses: Vec::new(),
        }
    }
}
