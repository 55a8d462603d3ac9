//! Rewinding: acked messages become ready again, at their old places.

pub(super) mod command; // `Queue::rewind`
pub(super) mod plan; // where to search, and the position found
pub(super) mod rewind_to; // a time or an offset
pub(super) mod search; // finding the position in the store
#[cfg(test)]
mod tests;
