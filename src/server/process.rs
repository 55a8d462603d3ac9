//! What lives as long as the process, whether this node runs the broker or not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::error::StartError;
use super::listeners::{Addresses, Sockets};
use super::{set_view, settings};
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::cluster::node::Current;
use crate::cluster::pass::Passage;
use crate::config::Config;
use crate::ctl::context::{Context, Host, InSet, Node, NodeCommand};
use crate::files::Shares;
use crate::memory::MemoryMonitor;
use crate::model::IpRange;
use crate::net::Tls;
use crate::views::{AmqpLimits, ListenerView, NodeInfo, NodeView, Usage};
use crate::{amqp, clock, memory};

/// The process: its configuration, alarms, certificates, and what operators see of it.
pub(super) struct Process {
    /// With the live options of the last reload.
    config: RwLock<Arc<Config>>,
    pub(super) shares: Shares,
    pub(super) alarms: Arc<Alarms>,
    pub(super) memory: Arc<MemoryMonitor>,
    /// For the listeners with TLS.
    pub(super) tls: Option<Arc<Tls>>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub(super) proxies: Arc<[IpRange]>,
    pub(super) info: NodeInfo,
    pub(super) shown: Shown,
    /// This node in its set, once it takes part in one.
    pub(super) set: Current,
    /// Where clients that other nodes pass on find the broker of this one.
    pub(super) passage: Passage,
    /// In a set, whether this process has imported the configured definitions.
    pub(super) loaded_definitions: AtomicBool,
    /// Whether clients are served; not between `stop_app` and `start_app`.
    pub(super) running: watch::Sender<bool>,
    /// The supervisor carries them out.
    pub(super) commands: mpsc::Sender<NodeCommand>,
    /// What runs now; `None` while this node does not run the broker.
    now: RwLock<Option<Now>>,
    /// The same for the verbs of the command line.
    serving: watch::Sender<Option<Arc<Context>>>,
}

/// What operators see, as it changes.
pub(super) struct Shown {
    pub(super) listeners: watch::Sender<Arc<[ListenerView]>>,
    pub(super) configuration: watch::Sender<Arc<str>>,
    pub(super) under_maintenance: watch::Sender<bool>,
    pub(super) amqp_limits: watch::Sender<AmqpLimits>,
}

/// The running broker, and the front door whose settings a reload changes.
#[derive(Clone)]
pub(super) struct Now {
    pub(super) broker: Arc<Broker>,
    pub(super) amqp: Arc<amqp::Front>,
}

impl Process {
    /// Prepares everything that needs no store.
    pub(super) fn new(
        config: Config,
        commands: mpsc::Sender<NodeCommand>,
    ) -> Result<Process, StartError> {
        let started = clock::monotonic();
        let set = Current::default();
        let alarms = Arc::new(Alarms::default());
        let memory = MemoryMonitor::new(Arc::clone(&alarms), config.memory_high_watermark);
        let tls = settings::tls(&config)?.map(Tls::load).transpose()?;
        let (listeners, listeners_shown) = watch::channel([].into());
        let (under_maintenance, is_under_maintenance) = watch::channel(false);
        let (amqp_limits, amqp_limits_shown) = watch::channel(settings::amqp_limits(&config));
        let (configuration, configuration_shown) = watch::channel(config.shown.as_str().into());
        let files = config.tls_cert.iter().chain(&config.tls_ca);
        let info = NodeInfo {
            listeners: listeners_shown,
            configuration: configuration_shown,
            under_maintenance: is_under_maintenance,
            amqp_limits: amqp_limits_shown,
            data_dir: config.data_dir.clone().into(),
            certificate_files: files.cloned().collect(),
            started,
            set: config.cluster_listen.map(|_| set_view::source(&set)),
        };
        Ok(Process {
            shares: settings::share_files(&config),
            alarms,
            memory: Arc::new(memory),
            tls: tls.map(Arc::new),
            proxies: config
                .proxy_protocol_from
                .iter()
                .flatten()
                .copied()
                .collect(),
            info,
            shown: Shown {
                listeners,
                configuration,
                under_maintenance,
                amqp_limits,
            },
            set,
            passage: Passage::default(),
            loaded_definitions: AtomicBool::new(false),
            running: watch::channel(true).0,
            commands,
            now: RwLock::default(),
            serving: watch::channel(None).0,
            config: RwLock::new(Arc::new(config)),
        })
    }

    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }

    /// Replaces the configuration, for what is built from now on.
    pub(super) fn set_config(&self, config: Config) {
        *self.config.write() = Arc::new(config);
    }

    pub(super) fn now(&self) -> Option<Now> {
        self.now.read().clone()
    }

    /// Verbs and reloads act on this broker from now on.
    pub(super) fn begins(&self, now: Now, context: Context) {
        *self.now.write() = Some(now);
        self.serving.send_replace(Some(Arc::new(context)));
    }

    /// Nothing acts on the broker from now on.
    pub(super) fn ends(&self) {
        *self.now.write() = None;
        self.serving.send_replace(None);
    }

    pub(super) fn node(&self) -> Node {
        Node {
            commands: self.commands.clone(),
            running: self.running.subscribe(),
        }
    }

    /// What the socket of the command line serves.
    pub(super) fn host(self: &Arc<Process>) -> Host {
        let process = Arc::downgrade(self);
        Host {
            node: self.node(),
            serving: self.serving.subscribe(),
            set: self.info.set.clone().map(|views| InSet {
                views,
                current: self.set.clone(),
            }),
            view: Arc::new(move || process.upgrade().map(|process| process.view())),
        }
    }

    /// What operators see of the process, whether it runs the broker or not.
    pub(super) fn view(&self) -> NodeView {
        let now = self.now();
        let committer = now.as_ref().map(|now| now.broker.committer());
        let config = self.config();
        let usage = Usage {
            disk_free: free_bytes(&config.data_dir),
            disk_free_limit: match committer {
                Some(committer) => committer.disk_free_min(),
                None => config.disk_free_limit.bytes(memory::total_bytes()),
            },
            cluster_name: now.as_ref().map(|now| now.broker.cluster_name()),
            connections: now.as_ref().map_or(0, |now| now.broker.connections().len()),
        };
        self.info.view(self.alarms.raised(), &self.memory, usage)
    }

    /// Listens on the addresses.
    pub(super) fn open_sockets(&self, wanted: &Addresses) -> Result<Sockets, StartError> {
        Sockets::open(wanted, self.tls.as_ref(), &self.proxies)
    }
}

/// Free bytes on the file system of a directory.
fn free_bytes(dir: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(dir).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}
