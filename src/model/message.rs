//! A message as it travels through the broker: raw properties and body as they came from the socket.
//! What the properties mean is read where a rule needs it, never here.

use std::sync::Arc;

use bytes::Bytes;

/// A name of an exchange, queue, consumer tag or routing key; cheap to clone.
pub type Name = Arc<str>;

/// Where a message was published: shared by all messages that a channel sends the same way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The exchange it was published to.
    pub exchange: Name,
    /// Its routing key.
    pub routing_key: Name,
}

/// A message's body: the slices in which it arrived.
#[derive(Clone, Debug)]
pub enum Body {
    /// One body frame (or none): by far the usual case.
    Whole(Bytes),
    /// Several body frames, in order.
    Parts(Vec<Bytes>),
}

impl Body {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Body::Whole(bytes) => bytes.len(),
            Body::Parts(parts) => parts.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there is no byte in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same in memory of its own: a slice keeps all of the buffer that it is a part of.
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
    /// Exchange and routing key.
    pub origin: Arc<Origin>,
    /// Property flags and list exactly as in the content header.
    pub properties: Bytes,
    /// The content.
    pub body: Body,
    /// `delivery-mode` 2.
    pub persistent: bool,
    /// The `priority` property; 0 when absent.
    pub priority: u8,
    /// The `expiration` property in milliseconds, checked when it was published.
    pub expiration_ms: Option<u64>,
    /// Milliseconds for which its queues keep it back before it counts as ready.
    pub delay_ms: Option<u64>,
    /// Its `x-death` header was written by this broker: what a publisher sent under that name does not count.
    pub dead_lettered: bool,
    /// How often consumers of quorum queues failed that had it, or refused it, before it came here as a dead letter.
    pub failures: u32,
}

impl Message {
    /// The same in memory of its own, see [`Body::copied`].
    pub fn copied(&self) -> Message {
        Message {
            origin: Arc::clone(&self.origin),
            properties: Bytes::copy_from_slice(&self.properties),
            body: self.body.copied(),
            ..*self
        }
    }

    /// Bytes of properties and body: what the message weighs in limits and budgets.
    pub fn size(&self) -> usize {
        self.properties.len() + self.body.len()
    }
}
