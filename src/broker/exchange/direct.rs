//! Direct exchanges: a message goes where its routing key is bound, byte for byte.

use std::collections::HashMap;
use std::slice;

use super::binding::Destination;
use super::search::SearchStep;
use super::targets::{self, Targets};
use crate::model::Name;

/// The bindings of a direct exchange.
#[derive(Clone, Debug, Default)]
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

    /// Finds the destinations of a message with these keys.
    pub(super) fn matches<'a, 'k>(&'a self, keys: &'a [&'k str]) -> Matches<'a, 'k> {
        Matches {
            table: self,
            keys: keys.iter(),
            found: targets::Iter::default(),
        }
    }
}

/// A search in a direct exchange.
#[derive(Debug)]
pub(super) struct Matches<'a, 'k> {
    table: &'a Direct,
    keys: slice::Iter<'a, &'k str>,
    /// Destinations bound to the last key.
    found: targets::Iter<'a>,
}

impl<'a> Iterator for Matches<'a, '_> {
    type Item = SearchStep<'a>;

    fn next(&mut self) -> Option<SearchStep<'a>> {
        if let Some(destination) = self.found.next() {
            return Some(SearchStep::found(destination));
        }
        let targets = self.table.keys.get(*self.keys.next()?);
        self.found = targets.map(Targets::iter).unwrap_or_default();
        Some(SearchStep::looked(1))
    }
}
