//! The queue that a declaration describes, and the result of creating something.

use crate::model::{ConnectionId, Name};
use crate::wire::FieldTable;

/// Maximum length of the name of a queue, exchange or virtual host: that of a short string.
pub const NAME_BYTES_MAX: usize = 255;

/// A queue that does not exist yet.
#[derive(Debug)]
pub struct NewQueue {
    pub name: Name,
    pub durable: bool,
    /// The connection that owns an exclusive queue.
    pub exclusive_owner: Option<ConnectionId>,
    /// Deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// As the client sent them: not checked.
    pub arguments: FieldTable,
}

/// The result of creating something.
#[derive(Debug)]
pub enum Created<T> {
    New(T),
    /// One of that name exists.
    Existing(T),
}
