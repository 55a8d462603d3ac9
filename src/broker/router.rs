//! The routing state of one virtual host: its exchanges, queues and bindings, and the walk from an exchange to the
//! queues a message goes to. Pure: queues are handles of any kind, nothing is locked, stored or checked for rights.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::exchange::{Binding, Content, Destination, Exchange, ExchangeKind, RouteKeys, Table};
use crate::model::Name;

/// Exchanges, queues (as handles `Q`) and bindings.
#[derive(Debug)]
pub struct Routing<Q> {
    exchanges: HashMap<Name, Entry>,
    queues: HashMap<Name, Q>,
    /// The bindings that lead to each destination.
    inbound: HashMap<Destination, HashSet<Arc<Binding>>>,
}

#[derive(Debug)]
struct Entry {
    exchange: Arc<Exchange>,
    table: Table,
    alternate: Option<Name>,
    /// The bindings that lead from here.
    outbound: HashSet<Arc<Binding>>,
    /// The exchanges that some of them lead to, and how many: what a walk over the graph needs to know of ten
    /// thousand bindings to queues is nothing.
    onward: HashMap<Name, usize>,
}

impl Entry {
    /// Notes that a binding to `destination` has come or gone.
    fn count_onward(&mut self, destination: &Destination, added: bool) {
        let Destination::Exchange(name) = destination else {
            return;
        };
        let count = self.onward.entry(Arc::clone(name)).or_default();
        *count = if added {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            self.onward.remove(name);
        }
    }
}

/// What went along with something that was removed.
#[derive(Debug, Default)]
pub struct Removed {
    /// Exchanges: the one removed, and those that deleted themselves.
    pub exchanges: Vec<Arc<Exchange>>,
    /// Bindings to and from them.
    pub bindings: Vec<Arc<Binding>>,
}

/// The queues that get a message later.
#[derive(Debug, PartialEq, Eq)]
pub struct Held<Q> {
    /// After how many milliseconds.
    pub delay_ms: u64,
    /// The queues, each once.
    pub queues: Vec<Q>,
}

impl<Q> Default for Routing<Q> {
    fn default() -> Self {
        Routing {
            exchanges: HashMap::new(),
            queues: HashMap::new(),
            inbound: HashMap::new(),
        }
    }
}

impl<Q: Clone> Routing<Q> {
    /// An exchange by name.
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name).map(|entry| &entry.exchange)
    }

    /// All exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.values().map(|entry| &entry.exchange)
    }

    /// A queue by name.
    pub fn queue(&self, name: &str) -> Option<&Q> {
        self.queues.get(name)
    }

    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = &Q> {
        self.queues.values()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// All bindings, without those of the default exchange.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.exchanges
            .values()
            .flat_map(|entry| entry.outbound.iter())
    }

    /// The binding that is the same as this one, if there is.
    pub fn binding(&self, binding: &Binding) -> Option<&Arc<Binding>> {
        self.exchanges
            .get(&binding.source)
            .and_then(|entry| entry.outbound.get(binding))
    }

    /// Whether anything is bound to the exchange as a source.
    pub fn is_used(&self, exchange: &str) -> bool {
        self.exchanges
            .get(exchange)
            .is_some_and(|entry| !entry.outbound.is_empty())
    }

    /// Whether there is such a queue or exchange.
    pub fn exists(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Queue(name) => self.queues.contains_key(name),
            Destination::Exchange(name) => self.exchanges.contains_key(name),
        }
    }

    /// Adds an exchange that is not there yet.
    pub fn insert_exchange(&mut self, exchange: Arc<Exchange>) {
        let entry = Entry {
            table: Table::new(&exchange),
            alternate: exchange.alternate(),
            outbound: HashSet::new(),
            onward: HashMap::new(),
            exchange,
        };
        self.exchanges.insert(entry.exchange.name.clone(), entry);
    }

    /// Adds a queue that is not there yet.
    pub fn insert_queue(&mut self, name: Name, queue: Q) {
        self.queues.insert(name, queue);
    }

    /// Adds a binding between things that are there; whether it was not there before.
    pub fn bind(&mut self, binding: Arc<Binding>) -> bool {
        let Some(entry) = self.exchanges.get_mut(&binding.source) else {
            return false;
        };
        if !entry.outbound.insert(Arc::clone(&binding)) {
            return false;
        }
        entry.table.add(&binding);
        entry.count_onward(&binding.destination, true);
        self.inbound
            .entry(binding.destination.clone())
            .or_default()
            .insert(binding);
        true
    }

    /// Removes a binding, and the exchanges that delete themselves for it. Nothing if there is none.
    pub fn unbind(&mut self, binding: &Binding) -> Removed {
        let mut removed = Removed::default();
        let mut idle = Vec::new();
        self.drop_binding(binding, &mut removed, &mut idle);
        self.drop_idle(idle, &mut removed);
        removed
    }

    /// Removes an exchange with its bindings.
    pub fn remove_exchange(&mut self, name: &str) -> Removed {
        let mut removed = Removed::default();
        let mut idle = Vec::new();
        self.drop_exchange(name, &mut removed, &mut idle);
        self.drop_idle(idle, &mut removed);
        removed
    }

    /// Removes a queue with its bindings.
    pub fn remove_queue(&mut self, name: &str) -> Removed {
        let mut removed = Removed::default();
        let mut idle = Vec::new();
        self.queues.remove(name);
        self.drop_inbound(&Destination::Queue(name.into()), &mut removed, &mut idle);
        self.drop_idle(idle, &mut removed);
        removed
    }

    /// Appends the queues that a message goes to from `exchange`, each once. Each exchange on the way is asked
    /// once; its alternate exchange is asked if nothing is bound there for the message. Returned are the queues that
    /// it goes to later, if a delayed exchange on the way holds it.
    pub fn route(&self, exchange: &str, keys: &RouteKeys<'_>, out: &mut Vec<Q>) -> Option<Held<Q>> {
        let content = Content::new(*keys);
        let (mut names, mut holders) = (Vec::new(), Vec::new());
        let hold = |exchange| content.delay_ms().map(|_| holders.push(exchange)).is_some();
        self.walk(exchange, &content, hold, &mut names);
        self.handles(&mut names, out);
        if holders.is_empty() {
            return None;
        }
        let delay_ms = content.delay_ms()?;
        for exchange in holders {
            self.walk(exchange, &content, |_| false, &mut names);
        }
        let mut queues = Vec::new();
        self.handles(&mut names, &mut queues);
        // Held for nobody is routed nowhere.
        (!queues.is_empty()).then_some(Held { delay_ms, queues })
    }

    /// Follows bindings from `exchange`, and notes the queues they lead to. `hold` is asked at each delayed
    /// exchange whether the message ends there.
    fn walk<'a>(
        &'a self,
        exchange: &str,
        content: &Content<'_>,
        mut hold: impl FnMut(&'a str) -> bool,
        names: &mut Vec<&'a str>,
    ) {
        let Some((exchange, _)) = self.exchanges.get_key_value(exchange) else {
            return;
        };
        let mut work: Vec<&str> = vec![exchange];
        let mut seen: HashSet<&str> = HashSet::new();
        while let Some(name) = work.pop() {
            let Some(entry) = self.exchanges.get(name) else {
                continue;
            };
            if entry.exchange.is_default() {
                // Queues are bound to it for those who publish to it: as an alternate exchange it leads nowhere.
                if !exchange.is_empty() {
                    continue;
                }
                let bound = content
                    .keys()
                    .filter_map(|key| self.queues.get_key_value(key));
                names.extend(bound.map(|(name, _)| &**name));
                continue;
            }
            if entry.exchange.kind == ExchangeKind::Delayed && hold(&entry.exchange.name) {
                continue;
            }
            let mut matched = false;
            entry.table.route(content, &mut |destination| {
                matched = true;
                match destination {
                    Destination::Queue(name) => names.push(name),
                    Destination::Exchange(name) => {
                        if **name != **exchange && seen.insert(name) {
                            work.push(name);
                        }
                    }
                }
            });
            if let (false, Some(alternate)) = (matched, &entry.alternate)
                && **alternate != **exchange
                && seen.insert(alternate)
            {
                work.push(alternate);
            }
        }
    }

    /// Takes the names, each once, and appends their queues.
    fn handles(&self, names: &mut Vec<&str>, out: &mut Vec<Q>) {
        if names.len() > 1 {
            names.sort_unstable();
            names.dedup();
        }
        let queues = names.drain(..).filter_map(|name| self.queues.get(name));
        out.extend(queues.cloned());
    }

    /// Whether two messages with the same keys may go different ways from `exchange`, so that where the first one
    /// went says nothing about the next.
    pub fn needs_content(&self, exchange: &str) -> bool {
        let mut seen: HashSet<&str> = HashSet::from([exchange]);
        let mut work: Vec<&str> = vec![exchange];
        while let Some(name) = work.pop() {
            let Some(entry) = self.exchanges.get(name) else {
                continue;
            };
            if entry.exchange.kind == ExchangeKind::Delayed || entry.table.needs_content() {
                return true;
            }
            for name in entry.onward.keys().chain(&entry.alternate) {
                if seen.insert(name) {
                    work.push(name);
                }
            }
        }
        false
    }

    /// Drops a binding; its source is noted in `idle` if it deletes itself for that.
    fn drop_binding(&mut self, binding: &Binding, removed: &mut Removed, idle: &mut Vec<Name>) {
        let Some(entry) = self.exchanges.get_mut(&binding.source) else {
            return;
        };
        let Some(binding) = entry.outbound.take(binding) else {
            return;
        };
        entry.table.remove(&binding);
        entry.count_onward(&binding.destination, false);
        if entry.exchange.auto_delete && entry.outbound.is_empty() {
            idle.push(binding.source.clone());
        }
        if let Some(inbound) = self.inbound.get_mut(&binding.destination) {
            inbound.remove(&binding);
            if inbound.is_empty() {
                self.inbound.remove(&binding.destination);
            }
        }
        removed.bindings.push(binding);
    }

    fn drop_inbound(&mut self, to: &Destination, removed: &mut Removed, idle: &mut Vec<Name>) {
        for binding in self.inbound.remove(to).unwrap_or_default() {
            self.drop_binding(&binding, removed, idle);
        }
    }

    fn drop_exchange(&mut self, name: &str, removed: &mut Removed, idle: &mut Vec<Name>) {
        self.drop_inbound(&Destination::Exchange(name.into()), removed, idle);
        let Some(entry) = self.exchanges.remove(name) else {
            return;
        };
        for binding in entry.outbound {
            if let Some(inbound) = self.inbound.get_mut(&binding.destination) {
                inbound.remove(&binding);
                if inbound.is_empty() {
                    self.inbound.remove(&binding.destination);
                }
            }
            removed.bindings.push(binding);
        }
        removed.exchanges.push(entry.exchange);
    }

    /// Deletes exchanges that delete themselves, and so on for those that led to them.
    fn drop_idle(&mut self, mut idle: Vec<Name>, removed: &mut Removed) {
        while let Some(name) = idle.pop() {
            self.drop_exchange(&name, removed, &mut idle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::ALTERNATE_EXCHANGE;
    use crate::wire::{AMQPProperties, AMQPValue, FieldTable, encode_properties};

    fn exchange(name: &str, kind: ExchangeKind) -> Exchange {
        Exchange {
            name: name.into(),
            kind,
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
        }
    }

    fn routing(
        exchanges: &[(&str, ExchangeKind)],
        queues: &[&'static str],
    ) -> Routing<&'static str> {
        let mut routing = Routing::default();
        routing.insert_exchange(Arc::new(exchange("", ExchangeKind::Direct)));
        for (name, kind) in exchanges {
            routing.insert_exchange(Arc::new(exchange(name, *kind)));
        }
        for name in queues {
            routing.insert_queue((*name).into(), *name);
        }
        routing
    }

    fn to_queue(source: &str, key: &str, queue: &str) -> Arc<Binding> {
        let to = Destination::Queue(queue.into());
        Arc::new(Binding::new(
            source.into(),
            to,
            key.into(),
            FieldTable::default(),
        ))
    }

    fn to_exchange(source: &str, key: &str, exchange: &str) -> Arc<Binding> {
        let to = Destination::Exchange(exchange.into());
        Arc::new(Binding::new(
            source.into(),
            to,
            key.into(),
            FieldTable::default(),
        ))
    }

    fn routed(
        routing: &Routing<&'static str>,
        exchange: &str,
        key: &str,
        cc: &[&str],
    ) -> Vec<&'static str> {
        let keys = RouteKeys {
            routing_key: key,
            cc,
            properties: &[],
        };
        let mut out = Vec::new();
        assert_eq!(routing.route(exchange, &keys, &mut out), None);
        out
    }

    #[test]
    fn the_default_exchange_knows_queues_by_name() {
        let routing = routing(&[], &["q", "r"]);
        assert_eq!(routed(&routing, "", "q", &[]), ["q"]);
        assert_eq!(routed(&routing, "", "q", &["r", "q", "none"]), ["q", "r"]);
        assert!(routed(&routing, "", "none", &[]).is_empty());
        assert!(routed(&routing, "missing", "q", &[]).is_empty());
    }

    #[test]
    fn a_queue_gets_a_message_once_and_cycles_end() {
        let kind = ExchangeKind::Topic;
        let mut routing = routing(&[("a", kind), ("b", kind)], &["q"]);
        for binding in [
            to_exchange("a", "#", "b"),
            to_exchange("b", "#", "a"),
            to_exchange("a", "#", "a"),
            to_queue("a", "*", "q"),
            to_queue("a", "#", "q"),
            to_queue("b", "k", "q"),
        ] {
            assert!(routing.bind(Arc::clone(&binding)));
            assert!(!routing.bind(binding), "binding again changes nothing");
        }
        assert_eq!(routed(&routing, "a", "k", &["k2", "k3"]), ["q"]);
        assert_eq!(routed(&routing, "b", "k", &[]), ["q"]);
    }

    #[test]
    fn the_alternate_exchange_takes_what_nothing_is_bound_for() {
        let mut routing = routing(
            &[
                ("alt", ExchangeKind::Fanout),
                ("empty", ExchangeKind::Fanout),
            ],
            &["q", "k"],
        );
        let mut with_alternate = |name: &str, alternate: &str| {
            let mut exchange = exchange(name, ExchangeKind::Direct);
            let alternate = AMQPValue::LongString(alternate.into());
            exchange
                .arguments
                .insert(ALTERNATE_EXCHANGE.into(), alternate);
            routing.insert_exchange(Arc::new(exchange));
        };
        with_alternate("x", "alt");
        with_alternate("missing", "nowhere");
        with_alternate("default", "");
        with_alternate("self", "self");
        routing.bind(to_queue("alt", "", "q"));
        routing.bind(to_exchange("x", "e2e", "empty"));
        routing.bind(to_queue("x", "k", "k"));
        assert_eq!(routed(&routing, "x", "none", &[]), ["q"]);
        assert_eq!(
            routed(&routing, "x", "k", &["none"]),
            ["k"],
            "one key matched"
        );
        assert!(
            routed(&routing, "x", "e2e", &[]).is_empty(),
            "bound, if to nothing"
        );
        assert!(routed(&routing, "missing", "k", &[]).is_empty());
        assert!(routed(&routing, "default", "k", &[]).is_empty());
        assert!(routed(&routing, "self", "k", &[]).is_empty());
    }

    #[test]
    fn auto_delete_exchanges_go_one_after_the_other() {
        let mut routing = routing(&[("stays", ExchangeKind::Fanout)], &["q"]);
        for name in ["x", "y"] {
            let mut exchange = exchange(name, ExchangeKind::Fanout);
            exchange.auto_delete = true;
            routing.insert_exchange(Arc::new(exchange));
        }
        routing.bind(to_exchange("stays", "", "y"));
        routing.bind(to_exchange("y", "", "x"));
        routing.bind(to_queue("x", "", "q"));
        routing.bind(to_queue("x", "2", "q"));
        assert!(
            routing
                .unbind(&to_queue("x", "2", "q"))
                .exchanges
                .is_empty()
        );
        let removed = routing.remove_queue("q");
        let names: Vec<&str> = removed.exchanges.iter().map(|x| &*x.name).collect();
        assert_eq!(names, ["x", "y"]);
        assert_eq!(removed.bindings.len(), 3);
        assert_eq!(routing.bindings().count(), 0);
        assert!(routing.inbound.is_empty());
        assert!(routing.exchange("stays").is_some());
    }

    #[test]
    fn an_exchange_takes_its_bindings_along() {
        let kind = ExchangeKind::Direct;
        let mut routing = routing(&[("a", kind), ("b", kind)], &["q"]);
        routing.bind(to_exchange("a", "k", "b"));
        routing.bind(to_exchange("b", "k", "b"));
        routing.bind(to_queue("b", "k", "q"));
        assert!(routing.is_used("b"));
        let removed = routing.remove_exchange("b");
        assert_eq!((removed.exchanges.len(), removed.bindings.len()), (1, 3));
        assert!(!routing.is_used("a"));
        assert!(routing.inbound.is_empty());
        assert!(routing.unbind(&to_queue("a", "k", "q")).bindings.is_empty());
    }

    #[test]
    fn routes_that_depend_on_more_than_keys_are_known() {
        let mut routing = routing(
            &[
                ("a", ExchangeKind::Direct),
                ("b", ExchangeKind::Fanout),
                ("h", ExchangeKind::Headers),
            ],
            &[],
        );
        assert!(routing.needs_content("h"));
        assert!(!routing.needs_content("a"));
        routing.bind(to_exchange("a", "k", "b"));
        assert!(!routing.needs_content("a"));
        routing.bind(to_exchange("b", "", "h"));
        assert!(routing.needs_content("a"));
    }

    #[test]
    fn a_delayed_exchange_holds_what_says_so_wherever_it_stands() {
        let mut delayed = exchange("d", ExchangeKind::Delayed);
        let direct = AMQPValue::LongString("direct".into());
        delayed.arguments.insert("x-delayed-type".into(), direct);
        let mut routing = routing(&[("x", ExchangeKind::Fanout)], &["now", "q", "other"]);
        routing.insert_exchange(Arc::new(delayed));
        routing.bind(to_queue("d", "k", "q"));
        routing.bind(to_queue("d", "l", "other"));
        let mut none = Exchange::clone(routing.exchange("d").unwrap());
        none.name = "none".into();
        routing.insert_exchange(Arc::new(none));
        routing.bind(to_exchange("x", "", "d"));
        routing.bind(to_queue("x", "", "now"));
        assert!(routing.needs_content("d") && routing.needs_content("x"));
        let properties = |delay| {
            let mut headers = FieldTable::default();
            headers.insert("x-delay".into(), AMQPValue::LongInt(delay));
            encode_properties(&AMQPProperties::default().with_headers(headers))
        };
        for (from, delay, expected_now, expected_held) in [
            ("d", 500, &[][..], Some(&["q"][..])),
            ("x", 500, &["now"], Some(&["q"])),
            ("none", 500, &[], None),
            ("d", 0, &["q"], None),
            ("x", -500, &["now", "q"], None),
        ] {
            let properties = properties(delay);
            let keys = RouteKeys {
                routing_key: "k",
                cc: &[],
                properties: &properties,
            };
            let mut now = Vec::new();
            let held = routing.route(from, &keys, &mut now);
            assert_eq!(now, expected_now, "{from} {delay}");
            let expected = expected_held.map(|queues| Held {
                delay_ms: 500,
                queues: queues.to_vec(),
            });
            assert_eq!(held, expected, "{from} {delay}");
        }
    }
}
