//! Direct exchanges: a message goes where its routing key is bound, byte for byte.

use std::collections::HashMap;

use super::Destination;
use super::targets::Targets;
use crate::model::Name;

/// The bindings of a direct exchange.
#[derive(Debug, Default)]
pub(super) struct Direct {
    keys: HashMap<Name, Targets>,
}

impl Direct {
    pub(super) fn add(&mut self, routing_key: &Name, destination: &Destination) {
        self.keys
            .entry(routing_key.clone())
            .or_default()
            .add(destination);
    }

    pub(super) fn remove(&mut self, routing_key: &Name, destination: &Destination) {
        if let Some(targets) = self.keys.get_mut(routing_key) {
            targets.remove(destination);
            if targets.is_empty() {
                self.keys.remove(routing_key);
            }
        }
    }

    pub(super) fn route<'a>(&'a self, routing_key: &str, visit: &mut dyn FnMut(&'a Destination)) {
        if let Some(targets) = self.keys.get(routing_key) {
            targets.iter().for_each(visit);
        }
    }
}
