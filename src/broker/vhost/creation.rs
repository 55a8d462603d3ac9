//! A queue that is to be created, and what came of creating something.

use crate::model::{ConnectionId, Name};
use crate::wire::FieldTable;

/// The longest name of a queue, exchange or virtual host in bytes: what a short string holds.
pub const NAME_BYTES_MAX: usize = 255;

/// A queue to be.
#[derive(Debug)]
pub struct NewQueue {
    /// Its name.
    pub name: Name,
    /// It is there after a restart.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments, checked here.
    pub arguments: FieldTable,
}

/// What came of creating something.
#[derive(Debug)]
pub enum Created<T> {
    New(T),
    /// There is one of that name.
    Existing(T),
}
