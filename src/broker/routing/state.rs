//! The routing state: exchanges, queues and bindings, and each change of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::broker::exchange::{Binding, Content, Destination, Exchange, RouteKeys, Table};
use crate::model::Name;

use super::walk::{Graph, Node, Progress, Snapshot, Walk, WalkResult};

/// Maximum number of bindings, words and keys that a walk looks at for one message under the lock, and between two yields:
/// less than a millisecond's work. A longer walk goes on in a [`Snapshot`].
pub const STEPS_AT_ONCE: usize = 16 * 1024;

/// Exchanges, queues (as handles `Q`) and bindings.
#[derive(Debug)]
pub struct Routing<Q> {
    pub(super) exchanges: HashMap<Name, Entry>,
    pub(super) queues: HashMap<Name, Q>,
    /// The bindings that lead to each destination.
    pub(super) inbound: HashMap<Destination, HashSet<Arc<Binding>>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) node: Node,
    /// Something is or was bound to it. From then on, an auto-delete exchange goes with its last binding.
    pub(super) was_bound: bool,
    /// The bindings that lead from here.
    pub(super) outbound: HashSet<Arc<Binding>>,
    /// The exchanges that some of them lead to, with the number of these bindings. A snapshot follows them without
    /// looking at ten thousand bindings to queues.
    pub(super) onward: HashMap<Name, usize>,
}

impl Entry {
    /// Counts a binding that was added (1) or removed (-1).
    fn count_onward(&mut self, destination: &Destination, change: isize) {
        let Destination::Exchange(name) = destination else {
            return;
        };
        let count = self.onward.entry(Arc::clone(name)).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.onward.remove(name);
        }
    }
}

/// The queues that get a message after a delay.
#[derive(Debug, PartialEq, Eq)]
pub struct DelayedRoute<Q> {
    pub delay_ms: u64,
    /// The queues, each once.
    pub queues: Vec<Q>,
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Routed<Q> {
    /// The queues that get it now, each once.
    pub now: Vec<Q>,
    pub delayed: Option<DelayedRoute<Q>>,
    /// Every message with these keys goes the same way until exchanges, queues or bindings change.
    pub by_key: bool,
}

impl<Q> Routed<Q> {
    /// The queues of a walk's result. A delayed route without queues is none.
    pub(in crate::broker) fn new(now: Vec<Q>, later: Vec<Q>, found: &WalkResult<'_>) -> Routed<Q> {
        let delayed = found
            .delay_ms
            .filter(|_| !later.is_empty())
            .map(|delay_ms| DelayedRoute {
                delay_ms,
                queues: later,
            });
        Routed {
            now,
            delayed,
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
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name).map(|entry| &entry.node.exchange)
    }

    pub fn exchanges(&self) -> impl Iterator<Item = &Arc<Exchange>> {
        self.exchanges.values().map(|entry| &entry.node.exchange)
    }

    pub fn queue(&self, name: &str) -> Option<&Q> {
        self.queues.get(name)
    }

    pub fn queues(&self) -> impl Iterator<Item = &Q> {
        self.queues.values()
    }

    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// All bindings, without those of the default exchange.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.exchanges
            .values()
            .flat_map(|entry| entry.outbound.iter())
    }

    /// The binding that equals this one.
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

    pub fn exists(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Queue(name) => self.queues.contains_key(name),
            Destination::Exchange(name) => self.exchanges.contains_key(name),
        }
    }

    /// Adds a new exchange.
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

    /// The alternate exchange that holds for an exchange.
    pub fn alternate(&self, exchange: &str) -> Option<&Name> {
        self.exchanges.get(exchange)?.node.alternate.as_ref()
    }

    pub fn set_alternate(&mut self, exchange: &str, alternate: Option<Name>) {
        if let Some(entry) = self.exchanges.get_mut(exchange) {
            entry.node.alternate = alternate;
        }
    }

    /// Whether something is or was bound to the exchange as a source.
    pub fn was_bound(&self, exchange: &str) -> bool {
        self.exchanges
            .get(exchange)
            .is_some_and(|entry| entry.was_bound)
    }

    /// Notes that something was bound to the exchange as a source.
    pub fn note_bound(&mut self, exchange: &str) {
        if let Some(entry) = self.exchanges.get_mut(exchange) {
            entry.was_bound = true;
        }
    }

    /// Auto-delete exchanges whose bindings are all gone.
    pub fn forsaken(&self) -> Vec<Name> {
        let forsaken = self.exchanges.values().filter(|entry| {
            entry.node.exchange.auto_delete && entry.was_bound && entry.outbound.is_empty()
        });
        forsaken
            .map(|entry| entry.node.exchange.name.clone())
            .collect()
    }

    /// Adds a new queue.
    pub fn insert_queue(&mut self, name: Name, queue: Q) {
        self.queues.insert(name, queue);
    }

    /// Adds a binding; true if it is new and its source exists.
    pub fn bind(&mut self, binding: Arc<Binding>) -> bool {
        let Some(entry) = self.exchanges.get_mut(&binding.source) else {
            return false;
        };
        if !entry.outbound.insert(Arc::clone(&binding)) {
            return false;
        }
        entry.was_bound = true;
        Arc::make_mut(&mut entry.node.table).add(&binding);
        entry.count_onward(&binding.destination, 1);
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
        entry.count_onward(&binding.destination, -1);
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

    /// Appends the queues that a message goes to from `exchange`, each once. Returns the queues that get it after a delay,
    /// if a delayed exchange on the way delays it.
    pub fn route(
        &self,
        exchange: &str,
        keys: &RouteKeys<'_>,
        out: &mut Vec<Q>,
    ) -> Option<DelayedRoute<Q>> {
        let content = Content::new(*keys);
        let mut walk = Walk::new(self, exchange, &content);
        while walk.advance(usize::MAX) == Progress::More {}
        let routed = self.look_up(&walk.finish());
        out.extend(routed.now);
        routed.delayed
    }

    /// Where a message goes from `exchange`; `None` if finding that takes more than [`STEPS_AT_ONCE`].
    pub fn try_route(&self, exchange: &str, keys: &RouteKeys<'_>) -> Option<Routed<Q>> {
        let content = Content::new(*keys);
        let mut walk = Walk::new(self, exchange, &content);
        match walk.advance(STEPS_AT_ONCE) {
            Progress::Done => Some(self.look_up(&walk.finish())),
            Progress::More => None,
        }
    }

    /// The exchanges that a message may reach from `exchange`.
    pub(in crate::broker) fn snapshot(&self, exchange: &str) -> Snapshot {
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

    /// The queues of a walk's result.
    pub(in crate::broker) fn look_up(&self, found: &WalkResult<'_>) -> Routed<Q> {
        let mut now = Vec::new();
        self.append(&found.now, &mut now);
        let mut later = Vec::new();
        self.append(&found.later, &mut later);
        Routed::new(now, later, found)
    }

    /// Appends the queues with these names, as far as they exist.
    pub(in crate::broker) fn append(&self, names: &[&str], out: &mut Vec<Q>) {
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
