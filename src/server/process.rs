//! What lives as long as the process, whether this node runs the broker or not.

use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::error::StartError;
use super::listeners::{Addresses, Sockets};
use super::settings;
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::config::Config;
use crate::ctl::context::{Context, Host, Node, NodeCommand};
use crate::files::Shares;
use crate::memory::MemoryMonitor;
use crate::model::IpRange;
use crate::net::Tls;
use crate::views::{AmqpLimits, ListenerView, NodeInfo};
use crate::{amqp, clock};

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
    pub(super) fn host(&self) -> Host {
        Host {
            node: self.node(),
            serving: self.serving.subscribe(),
        }
    }

    /// Listens on the addresses.
    pub(super) fn open_sockets(&self, wanted: &Addresses) -> Result<Sockets, StartError> {
        Sockets::open(wanted, self.tls.as_ref(), &self.proxies)
    }
}
