//! Answering requesters of direct reply-to, which are no queues. A requester that does not take its answers holds back
//! the channels that send them, and loses none.

use std::sync::Arc;

use crate::amqp::channel::Channel;
use crate::amqp::cx::{Cx, Handled, done};
use crate::amqp::replies::is_address;
use crate::model::{Message, Name, Origin};

impl Channel {
    /// Sends an answer to its requesters, and goes on with `then` when each of them had room for it.
    pub(in crate::amqp) fn answer(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Arc<Message>,
        requesters: &[Name],
        then: impl FnOnce(&mut Channel, &mut Cx<'_>) -> Handled + Send + 'static,
    ) -> Handled {
        let replies = &cx.shared.front.replies;
        let waiting: Vec<_> = requesters
            .iter()
            .filter_map(|name| replies.answer(name, message).err())
            .collect();
        if waiting.is_empty() {
            return then(self, cx);
        }
        // What was published before it goes before it.
        self.flush_run(cx);
        cx.later(self, async move {
            for answer in waiting {
                answer.deliver().await;
            }
            done(then)
        });
        Ok(())
    }
}

/// The requesters that a message is for, each once: only the default exchange knows them.
pub(super) fn requesters(origin: &Origin, more_keys: &[Name]) -> Vec<Name> {
    if !origin.exchange.is_empty() {
        return Vec::new();
    }
    let keys = std::iter::once(&origin.routing_key).chain(more_keys);
    let mut found: Vec<Name> = keys.filter(|key| is_address(key)).cloned().collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::replies::REPLY_TO_PREFIX;

    #[test]
    fn a_requester_is_answered_once_and_only_through_the_default_exchange() {
        let address = |key: &str| Name::from(format!("{REPLY_TO_PREFIX}{key}"));
        let (a, b) = (
            address("BBBBBBBBBBBBBBBBBBBBBA"),
            address("AAAAAAAAAAAAAAAAAAAAAA"),
        );
        let origin = |exchange: &str| Origin {
            exchange: exchange.into(),
            routing_key: a.clone(),
        };
        let more = [
            a.clone(),
            "q".into(),
            b.clone(),
            address("nonsense"),
            a.clone(),
        ];
        assert_eq!(requesters(&origin(""), &[]), std::slice::from_ref(&a));
        assert_eq!(requesters(&origin(""), &more), [b, a.clone()]);
        assert!(requesters(&origin("amq.direct"), &more).is_empty());
    }
}
