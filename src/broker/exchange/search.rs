//! One step of a search for the destinations of a message.

use super::binding::Destination;

/// A step of a search for destinations, after which it may be interrupted.
#[derive(Clone, Copy, Debug)]
pub(in crate::broker) struct SearchStep<'a> {
    /// A destination. A search may find one several times.
    pub(in crate::broker) found: Option<&'a Destination>,
    /// Number of bindings, words and nodes that the step looked at.
    pub(in crate::broker) looked: usize,
}

impl<'a> SearchStep<'a> {
    pub(super) fn found(destination: &'a Destination) -> SearchStep<'a> {
        SearchStep {
            found: Some(destination),
            looked: 1,
        }
    }

    pub(super) fn looked(looked: usize) -> SearchStep<'a> {
        SearchStep {
            found: None,
            looked,
        }
    }
}
