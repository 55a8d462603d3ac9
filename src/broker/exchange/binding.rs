//! Bindings, and where they lead.

use std::hash::{Hash, Hasher};

use crate::model::Name;
use crate::wire::{FieldTable, encode_table};

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    Queue(Name),
    Exchange(Name),
}

impl Destination {
    pub fn name(&self) -> &Name {
        match self {
            Destination::Queue(name) | Destination::Exchange(name) => name,
        }
    }

    pub fn is_queue(&self) -> bool {
        matches!(self, Destination::Queue(_))
    }
}

/// A binding. Two bindings are equal if source, destination, key and arguments are, with the types of values.
#[derive(Clone, Debug)]
pub struct Binding {
    pub source: Name,
    pub destination: Destination,
    pub routing_key: Name,
    pub arguments: FieldTable,
    /// Both ends are durable.
    pub durable: bool,
    /// The encoded arguments: part of the identity.
    encoded: Box<[u8]>,
}

impl Binding {
    /// A binding that is not durable yet: that depends on its ends.
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

    /// The encoded arguments; empty without any.
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
