//! Rewinding: acked messages become ready again, at their old places.

pub(super) mod command; // the command
pub(super) mod plan; // where to search, and what was found
pub(super) mod rewind_to; // a time or an offset
pub(super) mod search; // the search in the store
#[cfg(test)]
mod tests;
