//! Dead letters: how they look, and how they are published.

pub(super) mod letter;
pub(super) mod letters;
