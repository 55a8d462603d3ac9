//! Messages that a delayed exchange routes: some queues get them after a delay, others immediately.

use std::sync::Arc;

use super::route::DelayedTargets;
use crate::amqp::channel::{Channel, Mode};
use crate::amqp::connection_state::ConnectionState;
use crate::amqp::error::Handled;
use crate::amqp::publishing::CheckedMessage;
use crate::amqp::route_cache::Targets;
use crate::amqp::run::{Published, is_durable};
use crate::broker::exchange::delay_message;
use crate::model::Message;

impl Channel {
    pub(super) fn publish_delayed(
        &mut self,
        connection: &mut ConnectionState,
        message: Arc<Message>,
        now: Targets,
        delayed: DelayedTargets,
    ) -> Handled {
        let delayed_message = delay_message(&message, delayed.delay_ms);
        let later: Targets = delayed.queues.into();
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.publish(CheckedMessage::for_queues(delayed_message), later)?;
            return match now.is_empty() {
                true => Ok(()),
                false => transaction.publish(CheckedMessage::for_queues(message), now),
            };
        }
        self.flush_run(connection);
        let of_later = Published::to_all(&later, &[delayed_message]);
        let of_now = Published::to_all(&now, std::slice::from_ref(&message));
        connection.hold_back(of_later.full.as_ref().or(of_now.full.as_ref()));
        let bytes = message.size() * (later.len() + now.len());
        connection.unsynced.add(bytes, &connection.shared.committer);
        if let Mode::Confirm(confirms) = &mut self.mode {
            let mut rejected = of_later.rejected;
            rejected.extend(of_now.rejected);
            rejected.truncate(1);
            let published = Published {
                ticket: of_later.ticket.max(of_now.ticket),
                rejected,
                full: None,
            };
            let seq = confirms.next();
            let is_durable =
                |message: &Message| is_durable(&later, message) || is_durable(&now, message);
            published.confirm(confirms, seq, &[message], is_durable);
            self.expect_confirms(connection);
        }
        Ok(())
    }
}
