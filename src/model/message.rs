//! A message on its way through the broker: raw properties and body as they came from the socket.
//! Each rule reads the properties that it needs; this file reads none.

use std::sync::Arc;

use bytes::Bytes;

/// The name of an exchange or queue, a consumer tag or a routing key. Cheap to clone.
pub type Name = Arc<str>;

/// The exchange and routing key of a publish. A channel shares one value among consecutive messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub exchange: Name,
    /// Its routing key.
    pub routing_key: Name,
}

/// A message's body: the slices that arrived.
#[derive(Clone, Debug)]
pub enum Body {
    /// One body frame or none: by far the usual case.
    Whole(Bytes),
    /// Several body frames, in order.
    Parts(Vec<Bytes>),
}

impl Body {
    pub fn len(&self) -> usize {
        match self {
            Body::Whole(bytes) => bytes.len(),
            Body::Parts(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy in memory of its own. A slice keeps the whole buffer that it belongs to.
    pub fn copied(&self) -> Body {
        Body::Whole(match self.slices() {
            [] => Bytes::new(),
            [only] => Bytes::copy_from_slice(only),
            several => Bytes::from(several.concat()),
        })
    }

    /// The slices in order.
    pub fn slices(&self) -> &[Bytes] {
        match self {
            Body::Whole(bytes) => std::slice::from_ref(bytes),
            Body::Parts(parts) => parts,
        }
    }
}

/// A published message. Shared by every queue it was routed to.
#[derive(Clone, Debug)]
pub struct Message {
    pub origin: Arc<Origin>,
    /// Property flags and values exactly as in the content header.
    pub properties: Bytes,
    pub body: Body,
    /// `delivery-mode` 2.
    pub persistent: bool,
    /// The `priority` property; 0 when absent.
    pub priority: u8,
    /// The `expiration` property in milliseconds, checked at the publish.
    pub expiration_ms: Option<u64>,
    /// Delay in milliseconds before the message becomes ready in its queues.
    pub delay_ms: Option<u64>,
    /// Whether this broker wrote the `x-death` header. It ignores one from a publisher.
    pub dead_lettered: bool,
    /// Number of failed deliveries in quorum queues (the consumer failed or rejected the message) before the
    /// message was dead-lettered to this queue.
    pub failures: u32,
    /// A queue may have handed it out before the last start, so the next delivery is `redelivered`. Only in
    /// memory: what a start finds in a queue may have been handed out anyway.
    pub handed_out: bool,
}

impl Message {
    /// A copy in memory of its own, see [`Body::copied`].
    pub fn copied(&self) -> Message {
        Message {
            origin: Arc::clone(&self.origin),
            properties: Bytes::copy_from_slice(&self.properties),
            body: self.body.copied(),
            ..*self
        }
    }

    /// Bytes of properties and body, as limits and budgets count them.
    pub fn size(&self) -> usize {
        self.properties.len() + self.body.len()
    }
}
