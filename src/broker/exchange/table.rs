//! The bindings of one exchange, in the shape in which its type looks them up, and the search among them.

use std::sync::Arc;

use rand::seq::IteratorRandom;

use super::binding::Binding;
use super::consistent_hash::{self, ConsistentHash, HashOn};
use super::content::Content;
use super::declared::Exchange;
use super::direct::{self, Direct};
use super::headers::{self, Headers};
use super::kind::ExchangeKind;
use super::modulus_hash::ModulusHash;
use super::search::SearchStep;
use super::targets::{self, Targets};
use super::topic::{self, Topic};

/// The bindings of one exchange, in the shape in which its type looks them up.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Table(Shape);

#[derive(Clone, Debug)]
enum Shape {
    Direct(Direct),
    Fanout(Targets),
    Topic(Topic),
    Headers(Headers),
    ConsistentHash(ConsistentHash),
    ModulusHash(ModulusHash),
    Random(Targets),
}

/// A search for the destinations of one message among the bindings of one exchange. It finds at most as many
/// destinations as there are bindings, for any number of keys.
#[derive(Debug)]
pub(in crate::broker) struct Matches<'a, 'k>(Search<'a, 'k>);

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a walk has one at a time, on the stack"
)]
enum Search<'a, 'k> {
    Direct(direct::Matches<'a, 'k>),
    Topic(topic::Matches<'a, 'k>),
    Headers(headers::Matches<'a>),
    ConsistentHash(consistent_hash::Matches<'a>),
    All(targets::Iter<'a>),
}

impl<'a> Iterator for Matches<'a, '_> {
    type Item = SearchStep<'a>;

    fn next(&mut self) -> Option<SearchStep<'a>> {
        match &mut self.0 {
            Search::Direct(matches) => matches.next(),
            Search::Topic(matches) => matches.next(),
            Search::Headers(matches) => matches.next(),
            Search::ConsistentHash(matches) => matches.next(),
            Search::All(targets) => targets.next().map(SearchStep::found),
        }
    }
}

impl Table {
    /// An empty table for an exchange.
    pub(in crate::broker) fn new(exchange: &Exchange) -> Table {
        // Its arguments were checked when the exchange was declared.
        let shape = match exchange.routes_as().unwrap_or(ExchangeKind::Direct) {
            ExchangeKind::Direct | ExchangeKind::Delayed => Shape::Direct(Direct::default()),
            ExchangeKind::Fanout => Shape::Fanout(Targets::default()),
            ExchangeKind::Topic => Shape::Topic(Topic::default()),
            ExchangeKind::Headers => Shape::Headers(Headers::default()),
            ExchangeKind::ConsistentHash => {
                let on = HashOn::parse(&exchange.arguments).unwrap_or(HashOn::RoutingKey);
                Shape::ConsistentHash(ConsistentHash::new(on))
            }
            ExchangeKind::ModulusHash => Shape::ModulusHash(ModulusHash::default()),
            ExchangeKind::LocalRandom | ExchangeKind::Random => Shape::Random(Targets::default()),
        };
        Table(shape)
    }

    /// Adds a new binding.
    pub(in crate::broker) fn add(&mut self, binding: &Arc<Binding>) {
        let (key, destination) = (&binding.routing_key, &binding.destination);
        match &mut self.0 {
            Shape::Direct(table) => table.add(key, destination),
            Shape::Fanout(targets) | Shape::Random(targets) => targets.add(destination),
            Shape::Topic(table) => table.add(key, destination),
            Shape::Headers(table) => table.add(binding),
            Shape::ConsistentHash(table) => table.add(binding),
            Shape::ModulusHash(table) => table.add(binding),
        }
    }

    /// Removes an existing binding.
    pub(in crate::broker) fn remove(&mut self, binding: &Binding) {
        let (key, destination) = (&binding.routing_key, &binding.destination);
        match &mut self.0 {
            Shape::Direct(table) => table.remove(key, destination),
            Shape::Fanout(targets) | Shape::Random(targets) => targets.remove(destination),
            Shape::Topic(table) => table.remove(key, destination),
            Shape::Headers(table) => table.remove(binding),
            Shape::ConsistentHash(table) => table.remove(binding),
            Shape::ModulusHash(table) => table.remove(binding),
        }
    }

    /// Finds the destinations of a message, possibly with duplicates.
    pub(in crate::broker) fn matches<'a, 'k>(
        &'a self,
        content: &'a Content<'k>,
    ) -> Matches<'a, 'k> {
        Matches(match &self.0 {
            Shape::Direct(table) => Search::Direct(table.matches(content.keys())),
            Shape::Fanout(targets) => Search::All(targets.iter()),
            Shape::Topic(table) => Search::Topic(table.matches(content.keys())),
            Shape::Headers(table) => Search::Headers(table.matches(content.headers())),
            Shape::ConsistentHash(table) => Search::ConsistentHash(table.matches(content)),
            Shape::ModulusHash(table) => Search::All(targets::Iter::One(table.route(content))),
            Shape::Random(targets) => {
                let chosen = targets.iter().choose(&mut rand::rng());
                Search::All(targets::Iter::One(chosen))
            }
        })
    }

    /// Whether messages with the same keys may have different destinations.
    pub(in crate::broker) fn needs_content(&self) -> bool {
        match &self.0 {
            Shape::Direct(_) | Shape::Fanout(_) | Shape::Topic(_) | Shape::ModulusHash(_) => false,
            Shape::Headers(_) => true,
            Shape::ConsistentHash(table) => table.needs_content(),
            Shape::Random(targets) => targets.len() > 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::binding::tests::binding;
    use crate::broker::exchange::content::tests::content;
    use crate::wire::FieldTable;

    fn routed(table: &Table, key: &str) -> Vec<String> {
        let content = content(key);
        let found = table.matches(&content).filter_map(|step| step.found);
        let mut names: Vec<String> = found
            .map(|destination| destination.name().to_string())
            .collect();
        names.sort();
        names
    }

    fn exchange(kind: ExchangeKind) -> Exchange {
        Exchange {
            name: "x".into(),
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
            stats: Arc::default(),
        }
    }

    #[test]
    fn tables_route_by_their_type() {
        for (kind, expected) in [
            (ExchangeKind::Direct, &["a"][..]),
            (ExchangeKind::Fanout, &["a", "b"]),
            (ExchangeKind::Topic, &["a"]),
        ] {
            let mut table = Table::new(&exchange(kind));
            table.add(&binding("a", "k"));
            table.add(&binding("b", "l"));
            assert_eq!(routed(&table, "k"), expected, "{kind:?}");
            table.remove(&binding("a", "k"));
            table.remove(&binding("b", "l"));
            assert!(routed(&table, "k").is_empty(), "{kind:?}");
        }
        let mut random = Table::new(&exchange(ExchangeKind::LocalRandom));
        assert!(routed(&random, "k").is_empty());
        random.add(&binding("a", "k"));
        random.add(&binding("b", "l"));
        assert_eq!(routed(&random, "z").len(), 1);
    }

    #[test]
    fn a_destination_stays_until_its_last_binding_goes() {
        let mut table = Table::new(&exchange(ExchangeKind::Fanout));
        table.add(&binding("a", "1"));
        table.add(&binding("a", "2"));
        table.remove(&binding("a", "1"));
        assert_eq!(routed(&table, ""), ["a"]);
        table.remove(&binding("a", "2"));
        assert!(routed(&table, "").is_empty());
    }
}
