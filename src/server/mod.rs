//! Builds a broker from its configuration and runs it: store, committer, broker, front doors, ctl socket.
//! Makes no decision about AMQP.

mod advice; // what a start warns of
mod commands; // commands for the whole node
mod data_dir; // prepares the data directory
mod definitions; // imports definitions at the start
mod error;
mod listeners;
mod local_door; // connections of the broker to itself
mod logins;
mod reload; // reads the configuration again
mod settings; // translates the configuration for each room

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

pub use error::StartError;
pub use local_door::LocalDoor;
pub use reload::Reloader;
pub use settings::{auth_config, cmq_config, management_config, metrics_config};

use self::commands::CommandTask;
use self::listeners::{Addresses, Fronts, Listeners};
use self::reload::Live;
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::broker::parameters::CLUSTER_NAME;
use crate::config::Config;
use crate::ctl::context::{Context, Node, NodeCommand};
use crate::ctl::protocol::SOCKET;
use crate::files::Shares;
use crate::memory::MemoryMonitor;
use crate::model::Name;
use crate::net::Tls;
use crate::shovel::Shovels;
use crate::store::{Committer, FjallOptions, FjallStore, Store, StoreError};
use crate::views::{NodeInfo, Protocol, Security, Views};
use crate::{amqp, clock, cmq, ctl, management, metrics};

/// Maximum number of commands that wait for their task.
const COMMANDS_MAX: usize = 16;
/// Time that an orderly stop waits for dead letters.
const LETTERS_GRACE: Duration = Duration::from_secs(5);

/// Starts brokers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a broker. It accepts connections when this returns.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        let started = clock::monotonic();
        data_dir::prepare(&config.data_dir)?;
        let shares = settings::share_files(&config);
        let loopback_users = config.loopback_users.clone();
        let broker = open_broker(&config, &shares).await?;
        definitions::load(&config, &broker).await?;
        name_cluster(&config, &broker).await?;
        let alarms = Arc::new(Alarms::default());
        let memory = Arc::new(MemoryMonitor::new(
            alarms.clone(),
            config.memory_high_watermark,
        ));
        // Before the listeners: an operator who sees a listener in the log may give commands.
        let ctl_socket = config.data_dir.join(SOCKET);
        let ctl = ctl::server::bind(&config.data_dir).map_err(|error| StartError::CtlSocket {
            path: ctl_socket.clone(),
            error,
        })?;
        let (listening, listeners_shown) = watch::channel([].into());
        let (under_maintenance, is_under_maintenance) = watch::channel(false);
        let (amqp_limits, amqp_limits_shown) = watch::channel(settings::amqp_limits(&config));
        let (configuration, configuration_shown) = watch::channel(config.shown.as_str().into());
        let node = NodeInfo {
            listeners: listeners_shown,
            configuration: configuration_shown,
            under_maintenance: is_under_maintenance,
            amqp_limits: amqp_limits_shown,
            data_dir: config.data_dir.clone().into(),
            certificate_files: config
                .tls_cert
                .iter()
                .chain(&config.tls_ca)
                .cloned()
                .collect(),
            started,
        };
        let views = Views::new(broker.clone(), alarms.clone(), memory.clone(), node);
        let views = Arc::new(views);
        let tls = settings::tls(&config)?.map(Tls::load).transpose()?;
        let tls = tls.map(Arc::new);
        let fronts = open_fronts(&config, &shares, &views, &alarms, tls.clone()).await?;
        let listeners = Listeners::open(&Addresses::configured(&config), &fronts)?;
        let addresses = Arc::new(listeners.addresses.clone());
        listening.send_replace(addresses.views().into());

        let (commands, commands_taken) = mpsc::channel(COMMANDS_MAX);
        let (running, is_running) = watch::channel(true);
        let (stop_asked, stop_seen) = watch::channel(false);
        let context = Arc::new(Context {
            broker: broker.clone(),
            node: Node {
                commands: commands.clone(),
                running: is_running,
            },
            views: views.clone(),
            memory: memory.clone(),
            verifying: Arc::new(Semaphore::new(1)),
        });
        let shovels = views.shovels().clone();
        let mut background = JoinSet::new();
        background.spawn(ctl::server::serve(ctl, context));
        let watched = memory.clone();
        background.spawn(async move { watched.watch().await });
        background.spawn(views.take_samples());
        if let Some(tls) = tls.clone() {
            background.spawn(tls.watch());
        }
        background.spawn(forward_disk_alarm(
            broker.committer().clone(),
            alarms.clone(),
        ));
        let live = Live {
            broker: broker.clone(),
            memory,
            amqp: fronts.amqp.clone(),
            amqp_limits,
        };
        let door = LocalDoor::new(&fronts.amqp, &broker, running.subscribe());
        background.spawn(shovels.clone().follow(Arc::new(door)));
        let command_task = CommandTask {
            broker: broker.clone(),
            fronts,
            grace: config.shutdown_grace,
            addresses: addresses.clone(),
            running,
            under_maintenance,
        };
        let command_task = tokio::spawn(command_task.run(listeners, commands_taken, stop_asked));
        advice::warn_of_guest(addresses.views(), &loopback_users, &broker).await;
        info!(version = env!("CARGO_PKG_VERSION"), "leveret is ready");
        Ok(RunningServer {
            live,
            configuration,
            addresses,
            tls,
            broker,
            alarms,
            shovels,
            commands,
            ctl_socket,
            stop_seen,
            command_task,
            background,
        })
    }
}

/// Opens the store and the broker on it.
async fn open_broker(config: &Config, shares: &Shares) -> Result<Arc<Broker>, StartError> {
    let auth = settings::auth_config(config)?;
    let store = open_store(config.data_dir.clone(), settings::store(config, shares)).await?;
    let committer = Committer::start(store, settings::commit_limits(config))?;
    Ok(Broker::open(committer, settings::broker(config, auth)).await?)
}

/// Sets the configured name of the cluster, as RabbitMQ does at each start.
async fn name_cluster(config: &Config, broker: &Broker) -> Result<(), StartError> {
    let is_new = |name: &&Name| broker.cluster_name() != ***name;
    if let Some(name) = config.cluster_name.as_ref().filter(is_new) {
        let name = name.to_string().into();
        broker.global_parameters().set(CLUSTER_NAME, name).await?;
    }
    Ok(())
}

async fn open_fronts(
    config: &Config,
    shares: &Shares,
    views: &Arc<Views>,
    alarms: &Arc<Alarms>,
    tls: Option<Arc<Tls>>,
) -> Result<Fronts, StartError> {
    let broker = views.broker();
    let amqp = settings::amqp(config, shares);
    let cmq = settings::cmq_config(config, shares);
    let mut management = settings::management_config(config, shares);
    management.tls.clone_from(&tls);
    let cmq = cmq::Front::open(broker.clone(), alarms.clone(), cmq).await?;
    Ok(Fronts {
        management: management::Front::new(views.clone(), cmq.directory(), management),
        metrics: metrics::Front::new(views.clone(), settings::metrics_config(config)),
        amqp: amqp::Front::new(broker.clone(), alarms.clone(), amqp),
        cmq,
        tls,
        proxies: config
            .proxy_protocol_from
            .iter()
            .flatten()
            .copied()
            .collect(),
    })
}

async fn open_store(dir: PathBuf, options: FjallOptions) -> Result<Arc<dyn Store>, StoreError> {
    let opened = tokio::task::spawn_blocking(move || FjallStore::open(&dir, options)).await;
    match opened {
        Ok(store) => Ok(Arc::new(store?)),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn forward_disk_alarm(committer: Arc<Committer>, alarms: Arc<Alarms>) {
    let mut alarm = committer.alarm();
    loop {
        let raised = alarm.borrow_and_update().is_some();
        alarms.set_disk(raised);
        if alarm.changed().await.is_err() {
            return;
        }
    }
}

/// A running broker. Dropping it without [`RunningServer::shutdown`] cuts its connections off; the store is
/// synced.
pub struct RunningServer {
    live: Live,
    /// What holds, as operators see it.
    configuration: watch::Sender<Arc<str>>,
    addresses: Arc<Addresses>,
    tls: Option<Arc<Tls>>,
    broker: Arc<Broker>,
    alarms: Arc<Alarms>,
    shovels: Arc<Shovels>,
    commands: mpsc::Sender<NodeCommand>,
    ctl_socket: PathBuf,
    stop_seen: watch::Receiver<bool>,
    command_task: JoinHandle<()>,
    background: JoinSet<()>,
}

impl RunningServer {
    /// The first AMQP address. For port 0 it has the port that the system chose.
    pub fn amqp_addr(&self) -> SocketAddr {
        self.addresses
            .of(Protocol::Amqp, Security::Plain)
            .first()
            .copied()
            .unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }

    /// All AMQP addresses, in the order of the configuration.
    pub fn amqp_addrs(&self) -> Vec<SocketAddr> {
        self.addresses.of(Protocol::Amqp, Security::Plain)
    }

    /// All addresses of CMQ's API, in the order of the configuration.
    pub fn cmq_addrs(&self) -> Vec<SocketAddr> {
        self.addresses.of(Protocol::Cmq, Security::Plain)
    }

    /// All addresses of the metrics, in the order of the configuration.
    pub fn prometheus_addrs(&self) -> Vec<SocketAddr> {
        self.addresses.of(Protocol::Prometheus, Security::Plain)
    }

    /// All addresses of the management API, in the order of the configuration.
    pub fn management_addrs(&self) -> Vec<SocketAddr> {
        self.addresses.of(Protocol::Management, Security::Plain)
    }

    /// All addresses that speak a protocol through TLS, in the order of the configuration.
    pub fn tls_addrs(&self, protocol: Protocol) -> Vec<SocketAddr> {
        self.addresses.of(protocol, Security::Tls)
    }

    /// Reads certificate, key and authorities again, for connections from now on.
    pub async fn reload_certificates(&self) {
        if let Some(tls) = self.tls.clone() {
            Arc::clone(&tls).reload_in_background().await;
        }
    }

    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Waits for `leveret ctl stop`. Cancel-safe.
    pub async fn stop_asked(&mut self) {
        if self.stop_seen.wait_for(|asked| *asked).await.is_err() {
            // The task has ended, so no command can come.
            std::future::pending::<()>().await;
        }
    }

    /// Stops accepting, closes connections with 320 within the configured grace, and makes everything durable.
    pub async fn shutdown(mut self) {
        self.shovels.stop().await;
        let (done, closed) = oneshot::channel();
        if self.commands.send(NodeCommand::End(done)).await.is_err() || closed.await.is_err() {
            error!("the task for commands ended early; connections are cut off");
        }
        self.broker.note_time();
        if !self.broker.letters_published(LETTERS_GRACE).await {
            warn!(
                "some dead letters are not published yet; their messages are in their queues at the next start"
            );
        }
        let committer = self.broker.committer().clone();
        if tokio::task::spawn_blocking(move || committer.shutdown())
            .await
            .is_err()
        {
            error!("the store did not close in good order");
        }
        if let Err(error) = std::fs::remove_file(&self.ctl_socket) {
            warn!(%error, "cannot remove the ctl socket");
        }
        self.background.shutdown().await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.command_task.abort();
    }
}
