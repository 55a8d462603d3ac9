//! The frames of one channel: methods, content headers and bodies. Methods of the message path are handled
//! first; all others go through `methods/dispatch`.

use bytes::Bytes;

use super::assembly::Content;
use super::channel::{Channel, Phase};
use super::connection_state::ConnectionState;
use super::error::{Code, Failure, Refusal};
use super::method_id::MethodId;
use super::protocol_errors::{undecodable, unexpected};
use crate::broker::queue::Acknowledgement;
use crate::wire::{self, Hot};

impl Channel {
    /// Handles a method frame.
    pub(crate) fn method(
        &mut self,
        connection: &mut ConnectionState,
        payload: &[u8],
    ) -> Result<(), Failure> {
        self.assembly.method().map_err(|unexpected| {
            Refusal::new(Code::UnexpectedFrame, unexpected.text()).about(MethodId::BASIC_PUBLISH)
        })?;
        if self.phase != Phase::Open {
            self.follow_method(payload);
            return Ok(());
        }
        if MethodId::of(payload) == MethodId::BASIC_PUBLISH
            && let Some(index) = self.publishing.routes.find(payload)
        {
            self.assembly.begin(index);
            return Ok(self.begin_publish(connection, index)?);
        }
        let hot = wire::decode_hot(payload).map_err(undecodable)?;
        Ok(match hot {
            Hot::Publish(publish) => self.basic_publish(connection, payload, publish),
            Hot::Ack {
                delivery_tag,
                multiple,
            } => self.basic_ack(connection, delivery_tag, multiple),
            Hot::Nack {
                delivery_tag,
                multiple,
                requeue,
            } => {
                let how = match requeue {
                    true => Acknowledgement::Requeue,
                    false => Acknowledgement::Reject,
                };
                self.basic_nack(connection, delivery_tag, multiple, how)
            }
            Hot::Reject {
                delivery_tag,
                requeue,
            } => {
                let how = match requeue {
                    true => Acknowledgement::RequeueFailed,
                    false => Acknowledgement::RejectFailed,
                };
                self.basic_nack(connection, delivery_tag, false, how)
            }
            Hot::Other(method) => self.other_method(connection, payload, method),
        }?)
    }

    /// Handles a content header frame.
    pub(crate) fn header(
        &mut self,
        connection: &mut ConnectionState,
        payload: Bytes,
    ) -> Result<(), Failure> {
        // Treats a malformed header as missing, as RabbitMQ does.
        let header =
            wire::decode_header(payload).map_err(|_| unexpected(self.assembly.header_missing()))?;
        let size = header.body_size;
        let is_open = self.phase == Phase::Open;
        let properties = if is_open {
            header.properties
        } else {
            Bytes::new()
        };
        let content = self
            .assembly
            .header(header.class_id, size, properties)
            .map_err(unexpected)?;
        if content.is_none() {
            connection.assembling.begin(self.number);
            connection.assembling.change(0, self.assembly.held());
        }
        let limit = connection.shared.front.settings.message_bytes_max;
        if size > limit && is_open {
            let text = format!("message size {size} is larger than configured max size {limit}");
            let refusal = Refusal::new(Code::PreconditionFailed, text);
            return Err(refusal.about(MethodId::BASIC_PUBLISH).into());
        }
        self.complete(connection, content)
    }

    /// Handles a body frame.
    pub(crate) fn body(
        &mut self,
        connection: &mut ConnectionState,
        payload: Bytes,
    ) -> Result<(), Failure> {
        if self.phase != Phase::Open {
            return self.assembly.skip_body(payload.len()).map_err(unexpected);
        }
        let before = self.assembly.held();
        let content = self
            .assembly
            .body(payload, connection.read_buffer)
            .map_err(unexpected)?;
        let after = self.assembly.held();
        connection.assembling.change(before, after);
        self.complete(connection, content)
    }

    /// Publishes the content, if the frame completed one.
    fn complete(
        &mut self,
        connection: &mut ConnectionState,
        content: Option<Content<usize>>,
    ) -> Result<(), Failure> {
        match content {
            Some(content) if self.phase == Phase::Open => {
                connection.method = MethodId::BASIC_PUBLISH;
                let published = self.publish_content(connection, content);
                Ok(published.map_err(|refusal| refusal.or_about(MethodId::BASIC_PUBLISH))?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// After `channel.close` was sent methods have no effect, but the content of a publish is followed to its
    /// end.
    fn follow_method(&mut self, payload: &[u8]) {
        if MethodId::of(payload) == MethodId::BASIC_PUBLISH {
            self.assembly.begin(0);
        }
    }

    /// Does the work that was left for the end of the batch: publishes, then acks, then credit.
    pub(crate) fn flush(&mut self, connection: &mut ConnectionState) {
        self.flush_run(connection);
        self.publishing.counts.flush();
        self.flush_acks(connection);
        self.flush_credit(connection);
    }

    /// Puts the channel on the list of those with work left for the end of the batch.
    pub(crate) fn mark_dirty(&mut self, connection: &mut ConnectionState) {
        if !std::mem::replace(&mut self.is_dirty, true) {
            connection.to_flush.push(self.number);
        }
    }

    /// Puts the channel on the list of those with confirms to come.
    pub(crate) fn expect_confirms(&mut self, connection: &mut ConnectionState) {
        if !std::mem::replace(&mut self.is_confirming, true) {
            connection.confirming.push(self.number);
        }
    }
}
