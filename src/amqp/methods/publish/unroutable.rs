//! Messages without a queue: a mandatory one is returned, and confirms wait for nothing.

use crate::amqp::channel::{Channel, Mode};
use crate::amqp::connection_state::ConnectionState;
use crate::amqp::message_frames::{AddedHeaders, put_content};
use crate::amqp::publishing::CheckedMessage;
use crate::model::Message;
use crate::wire;

/// Reply code and text of `basic.return` for a message without a queue.
const NO_ROUTE: (u16, &str) = (312, "NO_ROUTE");

impl Channel {
    pub(super) fn publish_unroutable(
        &mut self,
        connection: &mut ConnectionState,
        checked: &CheckedMessage,
        seq: u64,
    ) {
        if checked.mandatory {
            // The return goes before the confirm: clients rely on it.
            self.send_return(connection, &checked.message);
        }
        self.count_unroutable(connection, checked.mandatory);
        self.confirm_now(connection, seq);
    }

    pub(in crate::amqp::methods) fn count_unroutable(
        &mut self,
        connection: &mut ConnectionState,
        mandatory: bool,
    ) {
        let (returned, dropped) = (u64::from(mandatory), u64::from(!mandatory));
        let published = &mut connection.published.published;
        published.unroutable_returned += returned;
        published.unroutable_dropped += dropped;
        self.message_stats.return_unroutable += returned;
        self.message_stats.drop_unroutable += dropped;
    }

    /// Confirms a message that no queue has.
    pub(super) fn confirm_now(&mut self, connection: &mut ConnectionState, seq: u64) {
        self.flush_run(connection);
        if let Mode::Confirm(confirms) = &mut self.mode {
            confirms.accept(seq, None);
            self.expect_confirms(connection);
        }
    }

    /// Returns a mandatory message.
    pub(in crate::amqp::methods) fn send_return(
        &self,
        connection: &mut ConnectionState,
        message: &Message,
    ) {
        let (code, text) = NO_ROUTE;
        wire::put_return(
            connection.out.buffer(),
            self.number,
            code,
            text,
            &message.origin.exchange,
            &message.origin.routing_key,
        );
        let frame_max = connection.shared.frame_max;
        let added = AddedHeaders::None;
        put_content(&mut connection.out, frame_max, self.number, message, added);
    }
}
