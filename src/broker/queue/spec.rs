//! What a queue is.

use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::{ConnectionId, Name, QueueId};

/// What a queue is.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Its id, never used again.
    pub id: QueueId,
    pub name: Name,
    /// A restart finds it.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// As they were declared. `Queue::arguments` are those that hold.
    pub arguments: Arc<QueueArguments>,
}
