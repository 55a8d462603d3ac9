//! What a list is made of.

use serde::Serialize;

/// One row of a list: a cheap handle of an object.
pub(in crate::management) trait Row: Send + Unpin + 'static {
    type Json: Serialize;

    /// What the API shows of it.
    fn json(&self) -> Self::Json;

    /// The virtual host, by which lists are sorted first.
    fn vhost(&self) -> &str;

    /// The name, by which lists are sorted and filtered.
    fn name(&self) -> &str;
}
