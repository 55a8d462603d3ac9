//! A queue's fixed properties, as its declaration gave them.

use std::sync::Arc;

use crate::model::arguments::QueueArguments;
use crate::model::{ConnectionId, Name, QueueId};

#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// No later queue gets the same id.
    pub id: QueueId,
    pub name: Name,
    /// A restart finds it.
    pub durable: bool,
    /// The connection that owns it, if it is exclusive.
    pub exclusive_owner: Option<ConnectionId>,
    /// It is deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// The declared arguments. `Queue::arguments` returns the effective ones.
    pub arguments: Arc<QueueArguments>,
}
