//! Replies of direct reply-to, which go to requesters instead of queues. A requester that does not take its
//! replies holds up the channels that send them; no reply is lost.

use std::sync::Arc;

use crate::amqp::channel::Channel;
use crate::amqp::connection_state::{ConnectionState, then};
use crate::amqp::direct_reply_to::is_address;
use crate::amqp::error::Handled;
use crate::amqp::publishing::CheckedMessage;
use crate::amqp::route_cache::Targets;
use crate::model::{Message, Name, Origin};

impl Channel {
    /// Sends a message to its requesters, then publishes it to its queues.
    pub(super) fn reply_and_publish(
        &mut self,
        connection: &mut ConnectionState,
        checked: CheckedMessage,
        targets: Targets,
        seq: u64,
    ) -> Handled {
        let CheckedMessage {
            message,
            reply_addresses,
            ..
        } = checked;
        let reply = Arc::clone(&message);
        self.reply(
            connection,
            &reply,
            &reply_addresses,
            move |channel, connection| {
                match targets.is_empty() {
                    true => channel.confirm_now(connection, seq),
                    false => channel.add_to_run(connection, message, targets, seq),
                }
                Ok(())
            },
        )
    }

    /// Sends a reply to requesters, and runs `rest` when all of them can take it.
    pub(in crate::amqp) fn reply(
        &mut self,
        connection: &mut ConnectionState,
        message: &Arc<Message>,
        addresses: &[Name],
        rest: impl FnOnce(&mut Channel, &mut ConnectionState) -> Handled + Send + 'static,
    ) -> Handled {
        let requesters = &connection.shared.front.requesters;
        let pending: Vec<_> = addresses
            .iter()
            .filter_map(|address| requesters.reply(address, message).err())
            .collect();
        if pending.is_empty() {
            return rest(self, connection);
        }
        // Earlier publishes go first.
        self.flush_run(connection);
        connection.wait_for(self, async move {
            for reply in pending {
                reply.deliver().await;
            }
            then(rest)
        });
        Ok(())
    }
}

/// The addresses of requesters among a message's routing keys, each once. Only the default exchange knows
/// them.
pub(super) fn reply_addresses(origin: &Origin, further_keys: &[Name]) -> Vec<Name> {
    if !origin.exchange.is_empty() {
        return Vec::new();
    }
    let keys = std::iter::once(&origin.routing_key).chain(further_keys);
    let mut addresses: Vec<Name> = keys.filter(|key| is_address(key)).cloned().collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::direct_reply_to::REPLY_TO_PREFIX;

    #[test]
    fn a_requester_gets_a_reply_once_and_only_through_the_default_exchange() {
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
        assert_eq!(reply_addresses(&origin(""), &[]), std::slice::from_ref(&a));
        assert_eq!(reply_addresses(&origin(""), &more), [b, a.clone()]);
        assert!(reply_addresses(&origin("amq.direct"), &more).is_empty());
    }
}
