//! Publishes the copies. A copy waits for nothing: no confirm and no reply depends on it, as in RabbitMQ.

use std::sync::{Arc, LazyLock};

use super::headers::{Client, TracedDelivery, TracedPublish, delivery_headers, publish_headers};
use crate::broker::exchange::RouteKeys;
use crate::broker::queue::Queue;
use crate::broker::vhost::{TRACE_EXCHANGE, Vhost};
use crate::model::{Message, Name, Origin};
use crate::wire::{PropertiesView, short_string};

static EXCHANGE: LazyLock<Name> = LazyLock::new(|| TRACE_EXCHANGE.into());

/// What the queues of the firehose got of one publish or delivery.
#[derive(Default)]
pub struct Copied {
    /// Bytes on their way to the disk: the caller counts them as its own publishes.
    pub bytes: usize,
    /// A queue that holds its publishers back.
    pub full: Option<Arc<Queue>>,
}

/// Copies a message that a client has published. Called before its queues get it, so that the copy of the publish is
/// ahead of those of the deliveries.
pub fn trace_publish(vhost: &Vhost, client: Client<'_>, publish: &TracedPublish<'_>) -> Copied {
    let message = publish.message;
    let key = format!("publish.{}", message.origin.exchange);
    copy(vhost, message, &key, || {
        publish_headers(vhost.name(), client, publish)
    })
}

/// Copies a message that a client was sent.
pub fn trace_delivery(vhost: &Vhost, client: Client<'_>, delivery: &TracedDelivery<'_>) -> Copied {
    let key = format!("deliver.{}", delivery.queue);
    copy(vhost, delivery.message, &key, || {
        delivery_headers(vhost.name(), client, delivery)
    })
}

/// Publishes the copy of a message. What comes from the firehose itself is not copied again.
fn copy(
    vhost: &Vhost,
    message: &Message,
    routing_key: &str,
    headers: impl FnOnce() -> Vec<u8>,
) -> Copied {
    if *message.origin.exchange == *TRACE_EXCHANGE {
        return Copied::default();
    }
    let Some(exchange) = vhost.exchange(TRACE_EXCHANGE) else {
        return Copied::default();
    };
    let mut properties = PropertiesView::none().edit();
    let properties = properties.set_headers_raw(headers()).finish();
    // A long name leaves no room for the prefix. RabbitMQ sends such a key, and its clients break off.
    let routing_key = short_string(routing_key);
    let keys = RouteKeys {
        routing_key: routing_key.as_str(),
        cc: &[],
        properties: &properties,
    };
    let mut queues = Vec::new();
    let delayed = vhost.route(&exchange, &keys, &mut queues);
    queues.extend(delayed.into_iter().flat_map(|delayed| delayed.queues));
    if queues.is_empty() {
        return Copied::default();
    }
    let copy = Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: Arc::clone(&EXCHANGE),
            routing_key: routing_key.as_str().into(),
        }),
        properties,
        // The original is a slice of a read buffer, or of what was read from the disk.
        body: message.body.copied(),
        persistent: false,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    });
    publish(&queues, &copy)
}

fn publish(queues: &[Arc<Queue>], copy: &Arc<Message>) -> Copied {
    let mut copied = Copied::default();
    for queue in queues {
        // A queue may reject it: then it is dropped.
        let published = queue.publish(std::slice::from_ref(copy));
        copied.bytes += copy.size();
        if published.is_full {
            copied.full = Some(Arc::clone(queue));
        }
    }
    copied
}
