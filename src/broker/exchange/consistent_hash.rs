//! `x-consistent-hash` exchanges: every message goes to one destination, chosen by a hash of its routing key, of a
//! header or of a property. Binding keys are weights. When a binding comes or goes, only the messages of its share
//! change their destination.
//!
//! Rendezvous hashing: each binding draws a number from the message's hash and its own, scaled by its weight, and
//! the highest wins. Weights are exact, there is no ring to keep, and the cost per message grows with the bindings only.

use std::collections::{HashMap, hash_map};
use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::binding::{Binding, Destination};
use super::content::Content;
use super::search::SearchStep;
use crate::broker::error::BrokerError;
use crate::model::arguments::term;
use crate::wire::{AMQPValue, FieldTable};

/// The part of a message that is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HashOn {
    RoutingKey,
    Header(Box<str>),
    Property(Property),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashOn {
    /// Reads an exchange's arguments.
    pub(super) fn parse(arguments: &FieldTable) -> Result<HashOn, BrokerError> {
        let header = arguments.inner().get("hash-header");
        let property = arguments.inner().get("hash-property");
        match (header, property) {
            (None, None) => Ok(HashOn::RoutingKey),
            (Some(_), Some(_)) => Err(BrokerError::Refused(
                "hash-header and hash-property are mutually exclusive".to_owned(),
            )),
            (Some(AMQPValue::LongString(name)), None) => {
                Ok(HashOn::Header(name.to_string().into_boxed_str()))
            }
            (None, Some(AMQPValue::LongString(name))) => match name.as_bytes() {
                b"message_id" => Ok(HashOn::Property(Property::MessageId)),
                b"correlation_id" => Ok(HashOn::Property(Property::CorrelationId)),
                b"timestamp" => Ok(HashOn::Property(Property::Timestamp)),
                _ => Err(BrokerError::Refused(format!(
                    "Unsupported property: {name}"
                ))),
            },
            (Some(other), None) | (None, Some(other)) => Err(BrokerError::Refused(format!(
                "Unsupported property: {}",
                term(other)
            ))),
        }
    }

    /// The hash of a message. A missing header or property counts as empty.
    fn hash(&self, content: &Content<'_>) -> u64 {
        match self {
            HashOn::RoutingKey => xxh3_64(content.routing_key().as_bytes()),
            HashOn::Header(name) => content
                .view()
                .and_then(|view| view.header(name))
                .map_or_else(|| xxh3_64(b""), |entry| xxh3_64(entry.value)),
            HashOn::Property(property) => {
                let view = content.view();
                match property {
                    Property::MessageId => {
                        xxh3_64(view.and_then(|v| v.message_id()).unwrap_or_default())
                    }
                    Property::CorrelationId => {
                        xxh3_64(view.and_then(|v| v.correlation_id()).unwrap_or_default())
                    }
                    Property::Timestamp => {
                        let timestamp = view.and_then(|v| v.timestamp()).unwrap_or_default();
                        xxh3_64(&timestamp.to_be_bytes())
                    }
                }
            }
        }
    }
}

/// The weight that a binding key stands for.
pub(super) fn weight(binding_key: &str) -> Result<f64, BrokerError> {
    let digits = binding_key.strip_prefix(['+', '-']).unwrap_or(binding_key);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let key = term(&AMQPValue::LongString(binding_key.into()));
        return Err(BrokerError::Refused(format!(
            "The binding key must be an integer: {key}"
        )));
    }
    match binding_key.parse::<f64>() {
        Ok(weight) if weight >= 1.0 => Ok(weight),
        _ => Err(BrokerError::Refused(
            "The binding key must be greater than 0".to_owned(),
        )),
    }
}

/// The bindings of a consistent hash exchange.
#[derive(Clone, Debug)]
pub(super) struct ConsistentHash {
    on: HashOn,
    members: HashMap<Arc<Binding>, Member>,
}

#[derive(Clone, Debug)]
struct Member {
    weight: f64,
    seed: u64,
}

impl ConsistentHash {
    pub(super) fn new(on: HashOn) -> ConsistentHash {
        ConsistentHash {
            on,
            members: HashMap::new(),
        }
    }

    /// Whether the choice depends on more than the routing key.
    pub(super) fn needs_content(&self) -> bool {
        self.on != HashOn::RoutingKey
    }

    pub(super) fn add(&mut self, binding: &Arc<Binding>) {
        // Always true: checked before the binding was made.
        if let Ok(weight) = weight(&binding.routing_key) {
            let seed = xxh3_64_with_seed(
                binding.destination.name().as_bytes(),
                binding.destination.is_queue().into(),
            );
            self.members
                .insert(Arc::clone(binding), Member { weight, seed });
        }
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.members.remove(binding);
    }

    /// Finds the destination of a message.
    pub(super) fn matches(&self, content: &Content<'_>) -> Matches<'_> {
        Matches {
            members: self.members.iter(),
            hash: self.on.hash(content),
            best: None,
        }
    }
}

/// A search in a consistent hash exchange: a step per binding, and the destination in the last one.
#[derive(Debug)]
pub(super) struct Matches<'a> {
    members: hash_map::Iter<'a, Arc<Binding>, Member>,
    hash: u64,
    best: Option<(f64, &'a Destination)>,
}

impl<'a> Iterator for Matches<'a> {
    type Item = SearchStep<'a>;

    fn next(&mut self) -> Option<SearchStep<'a>> {
        let Some((binding, member)) = self.members.next() else {
            let (_, winner) = self.best.take()?;
            return Some(SearchStep::found(winner));
        };
        let score = -member.weight / unit(self.hash, member.seed).ln();
        if self.best.is_none_or(|(best, _)| score >= best) {
            self.best = Some((score, &binding.destination));
        }
        Some(SearchStep::looked(1))
    }
}

/// A number between 0 and 1, neither included, drawn from a message's hash and a binding's.
fn unit(hash: u64, seed: u64) -> f64 {
    // 32 bits are exact in a float.
    let bits = u32::try_from(xxh3_64_with_seed(&hash.to_le_bytes(), seed) >> 32).unwrap_or(0);
    (f64::from(bits) + 0.5) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::binding::tests::binding;
    use crate::broker::exchange::content::tests::content;

    fn chosen(exchange: &ConsistentHash, key: &str) -> Option<String> {
        let content = content(key);
        let mut found = exchange.matches(&content).filter_map(|step| step.found);
        let name = found
            .next()
            .map(|destination| destination.name().to_string());
        assert!(found.next().is_none(), "one destination only");
        name
    }

    fn exchange(weights: &[(&str, &str)]) -> ConsistentHash {
        let mut exchange = ConsistentHash::new(HashOn::RoutingKey);
        for (queue, weight) in weights {
            exchange.add(&binding(queue, weight));
        }
        exchange
    }

    #[test]
    fn shares_follow_weights_and_keys_stay() {
        let exchange = exchange(&[("a", "1"), ("b", "3")]);
        let keys: Vec<String> = (0..4000).map(|i| format!("key-{i}")).collect();
        let to_b = keys
            .iter()
            .filter(|key| chosen(&exchange, key).as_deref() == Some("b"))
            .count();
        assert!(
            (2800..3200).contains(&to_b),
            "{to_b} of 4000, not about 3 of 4"
        );
        assert_eq!(chosen(&exchange, "k"), chosen(&exchange, "k"));
        assert_eq!(chosen(&self::exchange(&[]), "k"), None);
    }

    #[test]
    fn only_the_share_of_a_leaver_moves() {
        let mut exchange = exchange(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let keys: Vec<String> = (0..500).map(|i| i.to_string()).collect();
        let before: Vec<_> = keys.iter().map(|key| chosen(&exchange, key)).collect();
        exchange.remove(&binding("c", "1"));
        for (key, before) in keys.iter().zip(before) {
            let after = chosen(&exchange, key);
            if before.as_deref() == Some("c") {
                assert!(after.is_some());
            } else {
                assert_eq!(after, before);
            }
        }
    }

    #[test]
    fn weights_are_integers_above_zero() {
        for key in ["1", "10", "+2", "99999999999999999999"] {
            assert!(weight(key).is_ok(), "{key}");
        }
        for (key, expected) in [
            ("0", "The binding key must be greater than 0"),
            ("-1", "The binding key must be greater than 0"),
            ("a", "The binding key must be an integer: <<\"a\">>"),
            ("", "The binding key must be an integer: <<>>"),
            ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
        ] {
            assert_eq!(weight(key).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn arguments_say_what_is_hashed() {
        let table = |fields: &[(&str, &str)]| {
            let mut table = FieldTable::default();
            for (name, value) in fields {
                table.insert((*name).into(), AMQPValue::LongString((*value).into()));
            }
            table
        };
        assert_eq!(HashOn::parse(&table(&[])).unwrap(), HashOn::RoutingKey);
        assert_eq!(
            HashOn::parse(&table(&[("hash-header", "h")])).unwrap(),
            HashOn::Header("h".into())
        );
        for (fields, expected) in [
            (
                &[("hash-property", "app_id")][..],
                "Unsupported property: app_id",
            ),
            (
                &[("hash-header", "a"), ("hash-property", "message_id")],
                "hash-header and hash-property are mutually exclusive",
            ),
        ] {
            let refused = HashOn::parse(&table(fields)).unwrap_err();
            assert_eq!(refused.to_string(), expected);
        }
    }
}
