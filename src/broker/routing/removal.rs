//! Finds the bindings and auto-delete exchanges that go with a removed queue, exchange or binding. An
//! auto-delete exchange goes with its last binding. Changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::state::Routing;
use crate::broker::exchange::{Binding, Destination, Exchange};
use crate::model::Name;

/// Exchanges and bindings that are removed together.
#[derive(Debug, Default)]
pub struct Removal {
    /// The removed exchange, and auto-delete exchanges that go with it.
    pub exchanges: Vec<Arc<Exchange>>,
    /// Bindings to and from everything removed.
    pub bindings: Vec<Arc<Binding>>,
}

struct Search<'a, Q> {
    routing: &'a Routing<Q>,
    removal: Removal,
    seen: HashSet<Arc<Binding>>,
    /// Bindings in the removal by source.
    from: HashMap<Name, usize>,
    exchanges: HashSet<Name>,
    /// Exchanges that get a new binding.
    bound: &'a [&'a str],
    /// Exchanges in the removal whose bindings have not been looked at.
    work: Vec<Name>,
}

impl<Q: Clone> Routing<Q> {
    pub fn removal_of_queue(&self, name: &str) -> Removal {
        let mut search = Search::new(self);
        search.add_inbound(&Destination::Queue(name.into()));
        search.finish()
    }

    pub fn removal_of_exchange(&self, name: &str) -> Removal {
        let mut search = Search::new(self);
        search.add_exchange(name);
        search.finish()
    }

    /// Exchanges in `bound` get a new binding in the same change, and stay.
    pub fn removal_of_bindings<'a>(
        &self,
        bindings: impl IntoIterator<Item = &'a Binding>,
        bound: &[&str],
    ) -> Removal {
        let mut search = Search::new(self);
        search.bound = bound;
        for binding in bindings {
            if let Some(binding) = self.binding(binding) {
                search.add_binding(binding);
            }
        }
        search.finish()
    }
}

impl<'a, Q: Clone> Search<'a, Q> {
    fn new(routing: &'a Routing<Q>) -> Self {
        Search {
            routing,
            removal: Removal::default(),
            seen: HashSet::new(),
            from: HashMap::new(),
            exchanges: HashSet::new(),
            bound: &[],
            work: Vec::new(),
        }
    }

    fn add_exchange(&mut self, name: &str) {
        let Some(entry) = self.routing.exchanges.get(name) else {
            return;
        };
        let exchange = &entry.node.exchange;
        if self.exchanges.insert(exchange.name.clone()) {
            self.work.push(exchange.name.clone());
            self.removal.exchanges.push(Arc::clone(exchange));
        }
    }

    fn add_inbound(&mut self, destination: &Destination) {
        for binding in self.routing.inbound.get(destination).into_iter().flatten() {
            self.add_binding(binding);
        }
    }

    /// Adds a binding, and its source if that is an auto-delete exchange without another binding.
    fn add_binding(&mut self, binding: &Arc<Binding>) {
        if !self.seen.insert(Arc::clone(binding)) {
            return;
        }
        self.removal.bindings.push(Arc::clone(binding));
        let count = self.from.entry(binding.source.clone()).or_default();
        *count += 1;
        if let Some(entry) = self.routing.exchanges.get(&binding.source)
            && entry.node.exchange.auto_delete
            && entry.outbound.len() == *count
            && !self.bound.contains(&&*binding.source)
        {
            self.add_exchange(&binding.source);
        }
    }

    fn finish(mut self) -> Removal {
        while let Some(name) = self.work.pop() {
            self.add_inbound(&Destination::Exchange(name.clone()));
            if let Some(entry) = self.routing.exchanges.get(&name) {
                for binding in &entry.outbound {
                    self.add_binding(binding);
                }
            }
        }
        self.removal
    }
}
