//! Bindings, and where they lead.

use std::hash::{Hash, Hasher};

use crate::model::Name;
use crate::wire::{FieldTable, encode_table};

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// A queue.
    Queue(Name),
    /// Another exchange.
    Exchange(Name),
}

impl Destination {
    /// The name of the queue or exchange.
    pub fn name(&self) -> &Name {
        match self {
            Destination::Queue(name) | Destination::Exchange(name) => name,
        }
    }

    /// Whether it is a queue.
    pub fn is_queue(&self) -> bool {
        matches!(self, Destination::Queue(_))
    }
}

/// A binding. Two bindings are the same if source, destination, key and arguments are, types of values included.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The exchange it leads from.
    pub source: Name,
    /// Where it leads.
    pub destination: Destination,
    /// Its key.
    pub routing_key: Name,
    /// Its arguments.
    pub arguments: FieldTable,
    /// It is there after a restart, since both its ends are.
    pub durable: bool,
    /// The arguments as bytes: their identity.
    encoded: Box<[u8]>,
}

impl Binding {
    /// A binding; not durable until it is known that its ends are.
    pub fn new(
        source: Name,
        destination: Destination,
        routing_key: Name,
        arguments: FieldTable,
    ) -> Binding {
        let mut encoded = bytes::BytesMut::new();
        if !arguments.inner().is_empty() {
            encode_table(&arguments, &mut encoded);
        }
        Binding {
            source,
            destination,
            routing_key,
            arguments,
            durable: false,
            encoded: encoded.as_ref().into(),
        }
    }

    /// The arguments in the encoding that tells bindings apart; empty if there are none.
    pub fn encoded_arguments(&self) -> &[u8] {
        &self.encoded
    }

    fn identity(&self) -> (&Name, &Destination, &Name, &[u8]) {
        (
            &self.source,
            &self.destination,
            &self.routing_key,
            &self.encoded,
        )
    }
}

impl PartialEq for Binding {
    fn eq(&self, other: &Binding) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Binding {}

impl Hash for Binding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;

    /// A binding from `x` to a queue.
    pub(in crate::broker::exchange) fn binding(queue: &str, routing_key: &str) -> Arc<Binding> {
        Arc::new(Binding::new(
            "x".into(),
            Destination::Queue(queue.into()),
            routing_key.into(),
            FieldTable::default(),
        ))
    }

    #[test]
    fn bindings_are_told_apart_by_arguments_and_their_types() {
        use crate::wire::AMQPValue;
        let with = |value| {
            let mut arguments = FieldTable::default();
            arguments.insert("a".into(), value);
            Binding::new(
                "x".into(),
                Destination::Queue("q".into()),
                "k".into(),
                arguments,
            )
        };
        assert_eq!(with(AMQPValue::LongInt(1)), with(AMQPValue::LongInt(1)));
        assert_ne!(with(AMQPValue::LongInt(1)), with(AMQPValue::LongLongInt(1)));
        assert_ne!(with(AMQPValue::LongInt(1)), *binding("q", "k"));
    }
}
