//! Exchanges: what an exchange is, and for each type the table that finds the destinations bound for a message.
//! Pure: knows no queue beyond its name, no virtual host, no disk. Following bindings from exchange to exchange
//! is `router`'s.

mod consistent_hash;
mod delayed;
mod direct;
mod headers;
mod modulus_hash;
mod targets;
mod topic;

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use rand::seq::IteratorRandom;

use crate::broker::error::BrokerError;
use crate::model::arguments::text_value;
use crate::model::{Message, Name};
use crate::wire::{FieldTable, PropertiesView, encode_table};

use consistent_hash::{ConsistentHash, HashOn};
use direct::Direct;
use headers::{HeaderMatch, Headers};
use modulus_hash::ModulusHash;
use targets::Targets;
use topic::Topic;

/// The argument that names an exchange's alternate exchange.
pub const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// The types of exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// `direct`: the routing key is the binding key.
    Direct,
    /// `fanout`: everything bound.
    Fanout,
    /// `topic`: by patterns over the words of the routing key.
    Topic,
    /// `headers`: by header values.
    Headers,
    /// `x-consistent-hash`: one of those bound, by hash and weight.
    ConsistentHash,
    /// `x-delayed-message`: as another type, later.
    Delayed,
    /// `x-local-random`: one of those bound, at random.
    LocalRandom,
    /// `x-modulus-hash`: one of those bound, by hash and number of bindings.
    ModulusHash,
    /// `x-random`: one of those bound, at random.
    Random,
}

impl ExchangeKind {
    /// The type called `name`.
    pub fn parse(name: &str) -> Result<ExchangeKind, BrokerError> {
        match name {
            "direct" => Ok(ExchangeKind::Direct),
            "fanout" => Ok(ExchangeKind::Fanout),
            "topic" => Ok(ExchangeKind::Topic),
            "headers" => Ok(ExchangeKind::Headers),
            "x-consistent-hash" => Ok(ExchangeKind::ConsistentHash),
            "x-delayed-message" => Ok(ExchangeKind::Delayed),
            "x-local-random" => Ok(ExchangeKind::LocalRandom),
            "x-modulus-hash" => Ok(ExchangeKind::ModulusHash),
            "x-random" => Ok(ExchangeKind::Random),
            "" => Err(BrokerError::InvalidExchangeType(String::new())),
            other => Err(BrokerError::UnknownExchangeType(other.to_owned())),
        }
    }

    /// The type's name.
    pub fn as_str(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "x-consistent-hash",
            ExchangeKind::Delayed => "x-delayed-message",
            ExchangeKind::LocalRandom => "x-local-random",
            ExchangeKind::ModulusHash => "x-modulus-hash",
            ExchangeKind::Random => "x-random",
        }
    }

    /// Its name in RabbitMQ's texts about differences, where Erlang quotes what has a hyphen.
    pub fn as_atom(self) -> String {
        match self.as_str() {
            name if name.contains('-') => format!("'{name}'"),
            name => name.to_owned(),
        }
    }
}

/// An exchange as it was declared.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its name; empty for the default exchange.
    pub name: Name,
    /// Its type.
    pub kind: ExchangeKind,
    /// It is there after a restart.
    pub durable: bool,
    /// It is deleted when its last binding as a source goes.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// Its arguments as they were declared.
    pub arguments: FieldTable,
}

impl Exchange {
    /// Where messages go for which nothing is bound.
    pub fn alternate(&self) -> Option<Name> {
        self.arguments
            .inner()
            .get(ALTERNATE_EXCHANGE)
            .and_then(text_value)
    }

    /// The type by which it routes: its own but for a delayed exchange.
    fn routes_as(&self) -> Result<ExchangeKind, BrokerError> {
        match self.kind {
            ExchangeKind::Delayed => delayed::inner_kind(&self.arguments),
            kind => Ok(kind),
        }
    }

    /// Checks the arguments of an exchange that is to be declared.
    pub fn check_arguments(&self) -> Result<(), BrokerError> {
        match self.routes_as()? {
            ExchangeKind::ConsistentHash => HashOn::parse(&self.arguments).map(drop),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Headers
            | ExchangeKind::Delayed
            | ExchangeKind::LocalRandom
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random => Ok(()),
        }
    }

    /// Checks a binding that is to be made from this exchange.
    pub fn check_binding(&self, key: &str, arguments: &FieldTable) -> Result<(), BrokerError> {
        match self.routes_as()? {
            ExchangeKind::Headers => HeaderMatch::parse(arguments).map(drop),
            ExchangeKind::ConsistentHash => consistent_hash::weight(key).map(drop),
            ExchangeKind::LocalRandom if !key.is_empty() => Err(BrokerError::Refused(format!(
                "Non empty binding '{key}' key not permitted"
            ))),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Delayed
            | ExchangeKind::LocalRandom
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random => Ok(()),
        }
    }

    /// Whether this is the default exchange, to which every queue is bound by its name.
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }
}

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

/// What of a message decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct RouteKeys<'a> {
    /// Its routing key.
    pub routing_key: &'a str,
    /// Further keys: the `CC` and `BCC` headers.
    pub cc: &'a [&'a str],
    /// Its properties as they are on the wire. Read only if an exchange on the way asks for them.
    pub properties: &'a [u8],
}

/// A message's keys and, read at most once and only when asked for, its properties.
#[derive(Debug)]
pub(super) struct Content<'a> {
    given: RouteKeys<'a>,
    keys: OnceLock<Vec<&'a str>>,
    view: OnceLock<Option<PropertiesView<'a>>>,
    headers: OnceLock<FieldTable>,
}

impl<'a> Content<'a> {
    pub(super) fn new(keys: RouteKeys<'a>) -> Content<'a> {
        Content {
            given: keys,
            keys: OnceLock::new(),
            view: OnceLock::new(),
            headers: OnceLock::new(),
        }
    }

    /// The first key.
    fn routing_key(&self) -> &'a str {
        self.given.routing_key
    }

    /// All keys as they were given, however often.
    fn given_keys(&self) -> impl Iterator<Item = &'a str> {
        let further = self.given.cc.iter().copied();
        std::iter::once(self.given.routing_key).chain(further)
    }

    /// All keys, each once.
    pub(super) fn keys(&self) -> &[&'a str] {
        if self.given.cc.is_empty() {
            return std::slice::from_ref(&self.given.routing_key);
        }
        self.keys.get_or_init(|| {
            let mut seen = HashSet::new();
            self.given_keys().filter(|key| seen.insert(*key)).collect()
        })
    }

    /// For how long a delayed exchange keeps the message back, if it does.
    pub(super) fn delay_ms(&self) -> Option<u64> {
        delayed::delay_ms(self.headers())
    }

    /// The properties; none if they are malformed.
    fn view(&self) -> Option<&PropertiesView<'a>> {
        self.view
            .get_or_init(|| PropertiesView::parse(self.given.properties).ok())
            .as_ref()
    }

    /// The headers; none if there are none, or if they are malformed.
    fn headers(&self) -> &FieldTable {
        self.headers.get_or_init(|| {
            self.view()
                .and_then(|view| view.headers().ok())
                .unwrap_or_default()
        })
    }
}

/// For how long queues keep a message back that is published with these properties, in milliseconds, whatever exchange
/// it is published to. `None` if they do not, or if the properties are malformed.
pub fn delay_ms(properties: &PropertiesView<'_>) -> Option<u64> {
    // Few messages have the header; the others' headers are not built.
    properties.header(delayed::DELAY)?;
    delayed::delay_ms(&properties.headers().ok()?)
}

/// A message as queues keep it back for `delay_ms`: see [`Held`](super::router::Held).
pub fn keep_back(message: &Message, delay_ms: u64) -> Arc<Message> {
    delayed::keep_back(message, delay_ms)
}

/// The bindings of one exchange, in the shape in which its type looks them up.
#[derive(Clone, Debug)]
pub(super) struct Table(Shape);

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

/// A step of a search for destinations, after which it may be interrupted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    /// A destination, perhaps one that was found before.
    pub(super) found: Option<&'a Destination>,
    /// How much was looked at: bindings, words, nodes.
    pub(super) looked: usize,
}

impl<'a> Step<'a> {
    fn found(destination: &'a Destination) -> Step<'a> {
        Step {
            found: Some(destination),
            looked: 1,
        }
    }

    fn looked(looked: usize) -> Step<'a> {
        Step {
            found: None,
            looked,
        }
    }
}

/// A search for the destinations of one message among the bindings of one exchange. What is found is bounded by the
/// bindings, however many keys the message has.
#[derive(Debug)]
pub(super) struct Matches<'a, 'k>(Search<'a, 'k>);

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
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        match &mut self.0 {
            Search::Direct(matches) => matches.next(),
            Search::Topic(matches) => matches.next(),
            Search::Headers(matches) => matches.next(),
            Search::ConsistentHash(matches) => matches.next(),
            Search::All(targets) => targets.next().map(Step::found),
        }
    }
}

impl Table {
    /// An empty table for an exchange.
    pub(super) fn new(exchange: &Exchange) -> Table {
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

    /// Adds a binding that is not there yet.
    pub(super) fn add(&mut self, binding: &Arc<Binding>) {
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

    /// Removes a binding that is there.
    pub(super) fn remove(&mut self, binding: &Binding) {
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

    /// Finds the destinations of a message, some perhaps more than once.
    pub(super) fn matches<'a, 'k>(&'a self, content: &'a Content<'k>) -> Matches<'a, 'k> {
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

    /// Whether two messages with the same keys may go different ways.
    pub(super) fn needs_content(&self) -> bool {
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

    pub(super) fn content(routing_key: &str) -> Content<'_> {
        Content::new(RouteKeys {
            routing_key,
            cc: &[],
            properties: &[],
        })
    }

    pub(super) fn binding(queue: &str, routing_key: &str) -> Arc<Binding> {
        Arc::new(Binding::new(
            "x".into(),
            Destination::Queue(queue.into()),
            routing_key.into(),
            FieldTable::default(),
        ))
    }

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

    #[test]
    fn types_are_known_by_name() {
        for kind in [
            "direct",
            "fanout",
            "topic",
            "headers",
            "x-consistent-hash",
            "x-delayed-message",
            "x-local-random",
            "x-modulus-hash",
            "x-random",
        ] {
            assert_eq!(ExchangeKind::parse(kind).unwrap().as_str(), kind);
        }
        let refused = |kind| ExchangeKind::parse(kind).unwrap_err().to_string();
        assert_eq!(refused("zz"), "unknown exchange type 'zz'");
        assert_eq!(refused(""), "invalid exchange type ''");
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
