//! Messages that administrators bring from another broker by the restore exchange. A header says where they were
//! published there; the broker takes it off. Neither the user id nor further routing keys are checked again:
//! the message was published long ago, and goes to one queue.

use std::sync::Arc;

use bytes::Bytes;

use crate::amqp::channel::Channel;
use crate::amqp::error::{Code, Refusal};
use crate::amqp::publishing::CheckedMessage;
use crate::broker::properties::{expiration, is_persistent};
use crate::model::{Body, Message, Origin, Provenance, RESTORE_EXCHANGE};
use crate::wire::PropertiesView;

/// Written by the broker that dead-lettered a message.
const DEATHS: &str = "x-death";

impl Channel {
    /// The message that a content of the restore exchange stands for.
    pub(super) fn check_restored(
        &mut self,
        properties: Bytes,
        body: Body,
        mandatory: bool,
    ) -> Result<CheckedMessage, Refusal> {
        let view = PropertiesView::parse(&properties).map_err(|_| Refusal::crash())?;
        view.check_headers().map_err(|_| Refusal::crash())?;
        let (provenance, original) = Provenance::take_from(&view).ok_or_else(|| {
            let text = format!("message for exchange '{RESTORE_EXCHANGE}' without its origin");
            Refusal::new(Code::PreconditionFailed, text)
        })?;
        let expiration_ms = view.expiration().map(expiration).transpose()?;
        let (persistent, priority) = (is_persistent(&view), view.priority().unwrap_or(0));
        let dead_lettered = view.header(DEATHS).is_some();
        let origin = self.restored_origin(provenance.origin);
        let (properties, body) = self.publishing.last_properties.detach_small(original, body);
        let message = Message {
            origin,
            properties,
            body,
            persistent,
            priority,
            expiration_ms,
            delay_ms: None,
            dead_lettered,
            failures: provenance.failures,
            handed_out: false,
        };
        Ok(CheckedMessage {
            mandatory,
            ..CheckedMessage::for_queues(Arc::new(message))
        })
    }

    /// Consecutive messages of a queue often come from one exchange with one key, and share them.
    fn restored_origin(&mut self, origin: Origin) -> Arc<Origin> {
        let last = &mut self.publishing.restored_origin;
        match last {
            Some(last) if **last == origin => Arc::clone(last),
            _ => Arc::clone(last.insert(Arc::new(origin))),
        }
    }
}
