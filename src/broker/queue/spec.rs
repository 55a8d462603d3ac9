//! What a queue is.

use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::{ConnectionId, Name, QueueId};

/// What a queue is.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Its id, never used again.
    pub id: QueueId,
    /// Its name.
    pub name: Name,
    /// It is there after a restart.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// Its arguments, as they were declared; see [`Queue::arguments`] for those that hold.
    pub arguments: Arc<QueueArguments>,
}
