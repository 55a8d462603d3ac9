//! The routing state of one virtual host: its exchanges, queues and bindings. Pure: queues are handles of any kind,
//! nothing is locked, stored or checked for rights. The walk from an exchange to the queues a message goes to is `walk`.

mod removal; // what goes along with something that is removed
#[cfg(test)]
mod tests;
mod walk; // the search for the queues of a message

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::exchange::{Binding, Content, Destination, Exchange, RouteKeys, Table};
use crate::model::Name;

use walk::{Graph, Node};

pub use removal::Removal;
pub(super) use walk::{Found, Progress, Snapshot, Walk};

/// How many bindings, words and keys are looked at for one message while others wait for the exchanges, or for their
/// turn: less than a millisecond's work. What takes more goes on in a [`Snapshot`].
pub const STEPS_AT_ONCE: usize = 16 * 1024;

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
    node: Node,
    /// Something is bound, or has been: an exchange that deletes itself does so from then on.
    was_bound: bool,
    /// The bindings that lead from here.
    outbound: HashSet<Arc<Binding>>,
    /// The exchanges that some of them lead to, and how many: what a snapshot needs to know of ten thousand bindings to
    /// queues is nothing.
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

/// The queues that get a message later.
#[derive(Debug, PartialEq, Eq)]
pub struct Held<Q> {
    /// After how many milliseconds.
    pub delay_ms: u64,
    /// The queues, each once.
    pub queues: Vec<Q>,
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed<Q> {
    /// The queues that get it now, each once.
    pub now: Vec<Q>,
    /// Those that get it later.
    pub held: Option<Held<Q>>,
    /// Every message with these keys goes the same way, as long as exchanges, queues and bindings stay.
    pub by_key: bool,
}

impl<Q> Routed<Q> {
    /// What a walk has found, with its queues. Held for nobody is routed nowhere.
    pub(super) fn new(now: Vec<Q>, later: Vec<Q>, found: &Found<'_>) -> Routed<Q> {
        let held = found
            .delay_ms
            .filter(|_| !later.is_empty())
            .map(|delay_ms| Held {
                delay_ms,
                queues: later,
            });
        Routed {
            now,
            held,
            by_key: found.by_key,
        }
    }
}

impl<Q> Graph for Routing<Q> {
    fn node(&self, name: &str) -> Option<&Node> {
        self.exchanges.get(name).map(|entry| &entry.node)
    }
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
        self.exchanges.get(name).map(|entry| &entry.node.exchange)
    }

    /// All exchanges.
    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.values().map(|entry| &entry.node.exchange)
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
        let name = exchange.name.clone();
        let entry = Entry {
            node: Node {
                table: Arc::new(Table::new(&exchange)),
                alternate: exchange.alternate(),
                exchange,
            },
            was_bound: false,
            outbound: HashSet::new(),
            onward: HashMap::new(),
        };
        self.exchanges.insert(name, entry);
    }

    /// Whether something is bound to the exchange as a source, or has been.
    pub fn was_bound(&self, exchange: &str) -> bool {
        self.exchanges
            .get(exchange)
            .is_some_and(|entry| entry.was_bound)
    }

    /// Notes that something has been bound to the exchange.
    pub fn note_bound(&mut self, exchange: &str) {
        if let Some(entry) = self.exchanges.get_mut(exchange) {
            entry.was_bound = true;
        }
    }

    /// The exchanges that would have deleted themselves with their last binding, but have none left.
    pub fn forsaken(&self) -> Vec<Name> {
        let forsaken = self.exchanges.values().filter(|entry| {
            entry.node.exchange.auto_delete && entry.was_bound && entry.outbound.is_empty()
        });
        forsaken
            .map(|entry| entry.node.exchange.name.clone())
            .collect()
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
        entry.was_bound = true;
        Arc::make_mut(&mut entry.node.table).add(&binding);
        entry.count_onward(&binding.destination, true);
        self.inbound
            .entry(binding.destination.clone())
            .or_default()
            .insert(binding);
        true
    }

    /// Removes a binding, and nothing along with it: see [`Removal`].
    pub fn unbind(&mut self, binding: &Binding) {
        let Some(entry) = self.exchanges.get_mut(&binding.source) else {
            return;
        };
        let Some(binding) = entry.outbound.take(binding) else {
            return;
        };
        Arc::make_mut(&mut entry.node.table).remove(&binding);
        entry.count_onward(&binding.destination, false);
        self.forget_inbound(&binding);
    }

    /// Removes an exchange with the bindings that lead from it.
    pub fn remove_exchange(&mut self, name: &str) {
        let Some(entry) = self.exchanges.remove(name) else {
            return;
        };
        for binding in entry.outbound {
            self.forget_inbound(&binding);
        }
    }

    /// Removes a queue, but none of its bindings: they lead nowhere.
    pub fn remove_queue(&mut self, name: &str) {
        self.queues.remove(name);
    }

    /// Appends the queues that a message goes to from `exchange`, each once. Returned are the queues that it goes to
    /// later, if a delayed exchange on the way holds it.
    pub fn route(&self, exchange: &str, keys: &RouteKeys<'_>, out: &mut Vec<Q>) -> Option<Held<Q>> {
        let content = Content::new(*keys);
        let mut walk = Walk::new(self, exchange, &content);
        while walk.advance(usize::MAX) == Progress::More {}
        let routed = self.look_up(&walk.finish());
        out.extend(routed.now);
        routed.held
    }

    /// Where a message goes from `exchange`, unless finding that takes more than [`STEPS_AT_ONCE`].
    pub fn try_route(&self, exchange: &str, keys: &RouteKeys<'_>) -> Option<Routed<Q>> {
        let content = Content::new(*keys);
        let mut walk = Walk::new(self, exchange, &content);
        match walk.advance(STEPS_AT_ONCE) {
            Progress::Done => Some(self.look_up(&walk.finish())),
            Progress::More => None,
        }
    }

    /// All that a message may come through from `exchange`.
    pub(super) fn snapshot(&self, exchange: &str) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let mut work: Vec<&str> = vec![exchange];
        while let Some(name) = work.pop() {
            let Some((name, entry)) = self.exchanges.get_key_value(name) else {
                continue;
            };
            if snapshot.nodes.contains_key(name) {
                continue;
            }
            snapshot.nodes.insert(name.clone(), entry.node.clone());
            let onward = entry.onward.keys().chain(&entry.node.alternate);
            work.extend(onward.map(|name| &**name));
        }
        snapshot
    }

    /// The queues that a walk has found.
    pub(super) fn look_up(&self, found: &Found<'_>) -> Routed<Q> {
        let mut now = Vec::new();
        self.append(&found.now, &mut now);
        let mut later = Vec::new();
        self.append(&found.later, &mut later);
        Routed::new(now, later, found)
    }

    /// Appends the queues of these names that are there.
    pub(super) fn append(&self, names: &[&str], out: &mut Vec<Q>) {
        let queues = names.iter().filter_map(|name| self.queues.get(*name));
        out.extend(queues.cloned());
    }

    fn forget_inbound(&mut self, binding: &Binding) {
        if let Some(inbound) = self.inbound.get_mut(&binding.destination) {
            inbound.remove(binding);
            if inbound.is_empty() {
                self.inbound.remove(&binding.destination);
            }
        }
    }
}
