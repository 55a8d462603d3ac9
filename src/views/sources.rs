//! What views are built from: the broker, and the process that runs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::history::Watched;
use super::listener::ListenerView;
use super::set::SetSource;
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::broker::vhost::Vhost;
use crate::memory::MemoryMonitor;
use crate::shovel::Shovels;

/// The properties of the process.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// What listens now.
    pub listeners: watch::Receiver<Arc<[ListenerView]>>,
    /// The configuration that holds, as a file with the source of each option. Secrets are not shown.
    pub configuration: watch::Receiver<Arc<str>>,
    /// Whether an operator has drained the node.
    pub under_maintenance: watch::Receiver<bool>,
    pub amqp_limits: watch::Receiver<AmqpLimits>,
    pub data_dir: Arc<Path>,
    /// Files with the certificates of TLS.
    pub certificate_files: Vec<PathBuf>,
    pub started: Instant,
    /// `None` for a node by itself.
    pub set: Option<SetSource>,
}

/// What AMQP clients may do, as configured; a reload changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmqpLimits {
    /// Maximum number of open connections.
    pub connections_max: usize,
    /// How long consumers may take to acknowledge a delivery where nothing else says so, in milliseconds; 0 is no limit.
    pub consumer_timeout_ms: u64,
}

/// Builds views. Each method takes a snapshot.
pub struct Views {
    pub(super) broker: Arc<Broker>,
    pub(super) alarms: Arc<Alarms>,
    pub(super) memory: Arc<MemoryMonitor>,
    pub(super) node: NodeInfo,
    pub(super) watched: Mutex<Watched>,
    shovels: Arc<Shovels>,
}

impl Views {
    pub fn new(
        broker: Arc<Broker>,
        alarms: Arc<Alarms>,
        memory: Arc<MemoryMonitor>,
        node: NodeInfo,
    ) -> Views {
        Views {
            shovels: Shovels::new(Arc::clone(&broker)),
            broker,
            alarms,
            memory,
            node,
            watched: Mutex::new(Watched::new()),
        }
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub fn shovels(&self) -> &Arc<Shovels> {
        &self.shovels
    }

    /// When the process was started, in seconds since the Unix epoch.
    pub fn started_wall_secs(&self) -> u64 {
        let now = Duration::from_millis(self.broker.clock().wall_ms());
        now.saturating_sub(self.node.started.elapsed()).as_secs()
    }

    pub fn alarms(&self) -> &Arc<Alarms> {
        &self.alarms
    }

    pub(super) fn vhost_of(&self, name: &str) -> Option<Arc<Vhost>> {
        self.broker.vhost(name)
    }
}
