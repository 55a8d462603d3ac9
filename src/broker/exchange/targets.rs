//! The destinations of one key, each with the number of its bindings: several bindings may differ only in their arguments,
//! but a message goes to a destination once.

use std::collections::{HashMap, hash_map};

use super::binding::Destination;

/// Destinations with the number of their bindings. Nearly always there is one, which costs no map.
#[derive(Clone, Debug, Default)]
pub(super) enum Targets {
    #[default]
    None,
    One(Destination, u32),
    Many(HashMap<Destination, u32>),
}

impl Targets {
    /// Adds a binding to `destination`.
    pub(super) fn add(&mut self, destination: &Destination) {
        match self {
            Targets::None => *self = Targets::One(destination.clone(), 1),
            Targets::One(known, count) if known == destination => *count += 1,
            Targets::One(known, count) => {
                let both = [(known.clone(), *count), (destination.clone(), 1)];
                *self = Targets::Many(HashMap::from(both));
            }
            Targets::Many(all) => *all.entry(destination.clone()).or_insert(0) += 1,
        }
    }

    /// Removes a binding to `destination`.
    pub(super) fn remove(&mut self, destination: &Destination) {
        match self {
            Targets::None => {}
            Targets::One(known, count) => {
                if known == destination {
                    *count -= 1;
                    if *count == 0 {
                        *self = Targets::None;
                    }
                }
            }
            Targets::Many(all) => {
                if let Some(count) = all.get_mut(destination) {
                    *count -= 1;
                    if *count == 0 {
                        all.remove(destination);
                    }
                }
                if all.is_empty() {
                    *self = Targets::None;
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Targets::None)
    }

    /// The number of destinations.
    pub(super) fn len(&self) -> usize {
        match self {
            Targets::None => 0,
            Targets::One(..) => 1,
            Targets::Many(all) => all.len(),
        }
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        match self {
            Targets::None => Iter::One(None),
            Targets::One(destination, _) => Iter::One(Some(destination)),
            Targets::Many(all) => Iter::Many(all.keys()),
        }
    }
}

/// See [`Targets::iter`].
#[derive(Clone, Debug)]
pub(super) enum Iter<'a> {
    One(Option<&'a Destination>),
    Many(hash_map::Keys<'a, Destination, u32>),
}

impl Default for Iter<'_> {
    fn default() -> Self {
        Iter::One(None)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Destination;

    fn next(&mut self) -> Option<&'a Destination> {
        match self {
            Iter::One(destination) => destination.take(),
            Iter::Many(all) => all.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Iter::One(destination) => {
                let len = usize::from(destination.is_some());
                (len, Some(len))
            }
            Iter::Many(all) => all.size_hint(),
        }
    }
}
