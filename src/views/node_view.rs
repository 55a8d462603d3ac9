//! A node's process as operators see it: plain data.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::listener::ListenerView;
use crate::broker::alarms::Raised;

/// The process. Nodes of a set tell it each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub name: String,
    pub version: String,
    pub os_pid: u32,
    pub uptime: Duration,
    pub data_dir: PathBuf,
    pub listeners: Vec<ListenerView>,
    /// It takes no connections, until an operator revives it.
    pub is_under_maintenance: bool,
    pub alarms: Raised,
    /// Resident bytes.
    pub mem_used: u64,
    pub mem_limit: u64,
    /// Unknown for stores without a disk.
    pub disk_free: Option<u64>,
    pub disk_free_limit: u64,
    pub fd_used: Option<u64>,
    pub fd_limit: Option<u64>,
    /// Open connections of AMQP clients.
    pub connections: usize,
    pub processors: usize,
    /// The name of the cluster; a node that does not run the broker knows none.
    pub cluster_name: Option<String>,
}

/// What a node knows only from the broker or the store that it runs.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub cluster_name: Option<String>,
    pub disk_free: Option<u64>,
    pub disk_free_limit: u64,
    pub connections: usize,
}
