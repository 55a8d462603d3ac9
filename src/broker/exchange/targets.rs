//! The destinations that hang on one key, each with the number of bindings that lead there: bindings that differ
//! only in their arguments are several, but a message goes to a destination once.

use std::collections::HashMap;

use super::Destination;

/// Destinations with the number of their bindings. Nearly always there is one, which costs no map.
#[derive(Clone, Debug, Default)]
pub(super) enum Targets {
    #[default]
    None,
    One(Destination, u32),
    Many(HashMap<Destination, u32>),
}

impl Targets {
    /// One binding more to `destination`.
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

    /// One binding less to `destination`.
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

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Targets::None)
    }

    /// How many destinations there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Targets::None => 0,
            Targets::One(..) => 1,
            Targets::Many(all) => all.len(),
        }
    }

    /// The destinations.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Destination> {
        let (one, many) = match self {
            Targets::None => (None, None),
            Targets::One(destination, _) => (Some(destination), None),
            Targets::Many(all) => (None, Some(all.keys())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
