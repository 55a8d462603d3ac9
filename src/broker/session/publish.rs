//! Publishes single messages for operators, who have no channel. A message is on disk in all its queues when this
//! returns.

use std::sync::Arc;

use bytes::Bytes;

use super::checks::Session;
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Exchange, RouteKeys, delay_message, delay_ms};
use crate::broker::properties::{
    InvalidProperty, check_user_id, expiration, is_persistent, keys_in_headers, without_bcc,
};
use crate::broker::queue::Queue;
use crate::broker::routing::DelayedRoute;
use crate::broker::stats::{Protocol, Published, Sizes};
use crate::model::{Body, Message, Name, Origin, Ticket};
use crate::wire::PropertiesView;

/// A message to publish.
#[derive(Debug)]
pub struct PublishOne<'a> {
    /// Empty for the default exchange.
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// Encoded as in a content header.
    pub properties: Bytes,
    pub body: Bytes,
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Property(#[from] InvalidProperty),
    /// The properties cannot be decoded.
    #[error("malformed properties")]
    Malformed,
    /// A full queue did not take it.
    #[error("a queue is full")]
    Rejected,
}

/// A message with the routing keys in its headers.
struct Checked {
    message: Arc<Message>,
    further_keys: Vec<Name>,
}

/// The outcome of adding a message to its queues.
#[derive(Default)]
struct Added {
    copies: u64,
    ticket: Option<Ticket>,
    is_rejected: bool,
}

impl Session {
    /// Publishes a message as a mandatory one with a confirm; false if no queue got it.
    pub async fn publish(&self, new: PublishOne<'_>) -> Result<bool, PublishError> {
        let exchange = self.check_publish(new.exchange).await?;
        let checked = self.check_message(&exchange, new).await?;
        let committer = self.broker.committer();
        committer.room().await;
        let message = &checked.message;
        let further: Vec<&str> = checked.further_keys.iter().map(|key| &**key).collect();
        let keys = RouteKeys {
            routing_key: &message.origin.routing_key,
            cc: &further,
            properties: &message.properties,
        };
        let mut queues = Vec::new();
        let held = self.vhost.route(&exchange, &keys, &mut queues);
        if self.vhost.is_traced() {
            let later = held.iter().flat_map(|held| &held.queues);
            let all = queues.iter().chain(later).map(|queue| queue.name());
            self.trace_publish(message, &checked.further_keys, all.collect());
        }
        let added = self.add(message, &queues, held);
        committer.note_pending(message.size());
        self.count(&exchange, message, added.copies);
        self.wait(added.ticket).await?;
        match added.is_rejected {
            true => Err(PublishError::Rejected),
            false => Ok(added.copies > 0),
        }
    }

    async fn check_message(
        &self,
        exchange: &Exchange,
        new: PublishOne<'_>,
    ) -> Result<Checked, PublishError> {
        let view = PropertiesView::parse(&new.properties).map_err(|_| PublishError::Malformed)?;
        let expiration_ms = view.expiration().map(expiration).transpose()?;
        let headers = view.headers().map_err(|_| PublishError::Malformed)?;
        let further_keys = keys_in_headers(&headers)?;
        let further = further_keys.iter().map(|key| &**key);
        let keys = [new.routing_key].into_iter().chain(further);
        let permitted = self.ask_keys(exchange, keys).get().await;
        permitted.map_err(BrokerError::from)?;
        if let Some(user) = view.user_id() {
            check_user_id(&self.logged_in(), user)?;
        }
        let message = Message {
            origin: Arc::new(Origin {
                exchange: exchange.name.clone(),
                routing_key: new.routing_key.into(),
            }),
            persistent: is_persistent(&view),
            priority: view.priority().unwrap_or(0),
            expiration_ms,
            delay_ms: delay_ms(&view),
            properties: without_bcc(&view, &headers).unwrap_or_else(|| new.properties.clone()),
            body: Body::Whole(new.body),
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        };
        Ok(Checked {
            message: Arc::new(message),
            further_keys,
        })
    }

    /// Adds the message to all its queues in one batch.
    fn add(
        &self,
        message: &Arc<Message>,
        queues: &[Arc<Queue>],
        held: Option<DelayedRoute<Arc<Queue>>>,
    ) -> Added {
        let mut added = Added::default();
        let _one_batch = self.broker.committer().batch_guard();
        let mut publish = |queue: &Arc<Queue>, message: &Arc<Message>| {
            let published = queue.publish(std::slice::from_ref(message));
            added.copies += 1;
            added.ticket = added.ticket.max(published.ticket);
            added.is_rejected |= !published.rejected.is_empty();
        };
        queues.iter().for_each(|queue| publish(queue, message));
        if let Some(held) = held {
            let message = delay_message(message, held.delay_ms);
            held.queues
                .iter()
                .for_each(|queue| publish(queue, &message));
        }
        added
    }

    fn count(&self, exchange: &Exchange, message: &Message, copies: u64) {
        let mut sizes = Sizes::default();
        sizes.observe(message.body.len() as u64, 1);
        let published = Published {
            received: 1,
            received_confirm: 1,
            confirmed: 1,
            routed: copies,
            unroutable_returned: u64::from(copies == 0),
            ..Published::default()
        };
        exchange.stats.publish_in.add(1);
        exchange.stats.publish_out.add(copies);
        let stats = self.vhost.stats();
        stats.count_published(Protocol::Amqp, &published, &sizes);
    }
}
