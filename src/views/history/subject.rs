//! What operators can look at. Plain data.

use crate::broker::stats::{Churn, MessageStats};
use crate::model::{ConnectionId, Name};

/// Something that has numbers over time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The whole broker, and the process.
    Node,
    Vhost(Name),
    Queue {
        vhost: Name,
        name: Name,
    },
    Exchange {
        vhost: Name,
        name: Name,
    },
    Connection(ConnectionId),
    Channel(ConnectionId, u16),
}

/// The numbers of a subject. Those that it does not have are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    pub messages: MessageStats,
    pub ready: u64,
    pub unacked: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub churn: Churn,
    pub mem_used: u64,
    pub fd_used: u64,
    pub disk_free: u64,
    pub connections: u64,
}
