//! Builds a broker from its configuration and runs it: store, committer, broker, front doors, ctl socket.
//! Makes no decision about AMQP.

mod advice; // what a start warns of
mod courtesy; // what a node without a leader says to clients
mod data_dir; // prepares the data directory
mod definitions; // imports definitions at the start
mod disk_room; // which node leads when disks are full
mod doors; // who serves the connections of each socket
mod error;
mod known_members; // the members that this node knew last
mod listeners; // listening sockets
mod local_door; // connections of the broker to itself
mod logins;
mod own_data; // what a node has before it is in a set
mod process; // what lives as long as the process
mod reload; // reads the configuration again
mod repair; // a member whose files are damaged
mod set_options; // options about a set of nodes
mod set_start; // begins this node's part in its set
mod set_view; // the set as operators see it
mod settings; // translates the configuration for each room
mod stage; // what clients are served with now
mod standby; // what a node serves while it does not run the broker
mod supervisor; // commands for the whole node, and its role
mod tenure; // what runs while this node serves clients
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

pub use courtesy::DoorCourtesy;
pub use error::StartError;
pub use local_door::LocalDoor;
pub use reload::Reloader;
pub use settings::{auth_config, cmq_config, management_config, metrics_config};

use self::listeners::Addresses;
use self::process::Process;
use self::set_options::SetSettings;
use self::stage::Stage;
use self::standby::Standby;
use self::supervisor::{Role, Supervisor};
use self::tenure::Tenure;
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::clock::Mandate;
use crate::cluster::node::Beginning;
use crate::config::Config;
use crate::ctl::context::NodeCommand;
use crate::ctl::protocol::SOCKET;
use crate::store::{Committer, FjallStore};
use crate::views::{Protocol, Security};
use crate::{ctl, node};

/// Maximum number of commands that wait for the supervisor.
const COMMANDS_MAX: usize = 16;

/// Starts brokers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a broker. It accepts connections when this returns; in a set, clients may wait for a leader then.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        data_dir::prepare(&config.data_dir)?;
        let settings = set_options::set_settings(&config)?;
        node::set_name(&set_options::node_name(&config));
        let (commands, commands_taken) = mpsc::channel(COMMANDS_MAX);
        let process = Arc::new(Process::new(config, commands)?);
        let begun = match settings {
            None => Begun::alone(&process).await?,
            Some(settings) => Begun::in_set(&process, settings).await?,
        };
        let config = process.config();
        // Before the listeners: an operator who sees a listener in the log may give commands.
        let ctl_socket = config.data_dir.join(SOCKET);
        let ctl = ctl::server::bind(&config.data_dir).map_err(|error| StartError::CtlSocket {
            path: ctl_socket.clone(),
            error,
        })?;
        let sockets = process.open_sockets(&Addresses::configured(&config))?;
        let addresses = Arc::new(sockets.addresses());
        let views = addresses.views().into();
        process.shown.listeners.send_replace(views);
        let stage = Stage::new(Arc::clone(&process), Arc::clone(&addresses), sockets);
        let supervisor = match begun {
            Begun::Alone(tenure) => Supervisor::alone(stage.with(tenure)),
            Begun::InSet(role) => {
                let stage = stage.with_standby(Standby::new(&process, role.set()));
                Supervisor::in_set(stage, *role)
            }
        };

        let (stop_asked, stop_seen) = watch::channel(false);
        let mut background = JoinSet::new();
        background.spawn(ctl::server::serve(ctl, process.host()));
        let watched = Arc::clone(&process.memory);
        background.spawn(async move { watched.watch().await });
        if let Some(tls) = process.tls.clone() {
            background.spawn(tls.watch());
        }
        if let Some(now) = process.now() {
            let users = &config.loopback_users;
            advice::warn_of_guest(addresses.views(), users, &now.broker).await;
        }
        let supervisor = tokio::spawn(supervisor.run(commands_taken, stop_asked));
        info!(version = env!("CARGO_PKG_VERSION"), "leveret is ready");
        Ok(RunningServer {
            process,
            addresses,
            ctl_socket,
            stop_seen,
            supervisor,
            background,
        })
    }
}

/// What a node runs before its sockets are open.
enum Begun {
    Alone(Tenure),
    InSet(Box<Role>),
}

impl Begun {
    async fn alone(process: &Process) -> Result<Begun, StartError> {
        let config = process.config();
        let options = settings::store(&config, &process.shares);
        let dir = config.data_dir.clone();
        let store = blocking(move || FjallStore::open(&dir, options)).await?;
        let committer = Committer::start(Arc::new(store), settings::commit_limits(&config))?;
        let mandate = Arc::new(Mandate::without_end());
        match Tenure::begin(process, Arc::clone(&committer), mandate).await {
            Ok(tenure) => Ok(Begun::Alone(tenure)),
            Err(error) => {
                tenure::shut_down(committer).await;
                Err(error)
            }
        }
    }

    async fn in_set(process: &Arc<Process>, settings: SetSettings) -> Result<Begun, StartError> {
        let set = set_start::start(process, settings.clone(), Beginning::Forms).await?;
        Ok(Begun::InSet(Box::new(Role::new(set, settings))))
    }
}

/// Opens a store on a thread of its own.
async fn blocking<T: Send + 'static>(open: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(open).await {
        Ok(opened) => opened,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// A running node. Dropping it without [`RunningServer::shutdown`] cuts its connections off; the store is synced.
pub struct RunningServer {
    process: Arc<Process>,
    addresses: Arc<Addresses>,
    ctl_socket: PathBuf,
    stop_seen: watch::Receiver<bool>,
    supervisor: JoinHandle<()>,
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
        if let Some(tls) = self.process.tls.clone() {
            Arc::clone(&tls).reload_in_background().await;
        }
    }

    /// The broker; `None` while this node does not run it.
    pub fn broker(&self) -> Option<Arc<Broker>> {
        self.process.now().map(|now| now.broker)
    }

    /// Finds the committer of the broker that runs at that time.
    pub fn committer(&self) -> impl Fn() -> Option<Arc<Committer>> + Send + use<> {
        let process = Arc::clone(&self.process);
        move || process.now().map(|now| Arc::clone(now.broker.committer()))
    }

    pub fn alarms(&self) -> &Alarms {
        &self.process.alarms
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
        let (done, ended) = oneshot::channel();
        let sent = self.process.commands.send(NodeCommand::End(done)).await;
        if sent.is_err() || ended.await.is_err() {
            error!("the supervisor ended early; connections are cut off");
        }
        if let Err(error) = std::fs::remove_file(&self.ctl_socket) {
            warn!(%error, "cannot remove the ctl socket");
        }
        self.background.shutdown().await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.supervisor.abort();
    }
}
