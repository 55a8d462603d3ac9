//! Builds a broker from its configuration and runs it: store, committer, broker, listeners, the socket of ctl. Wires
//! what the rooms offer; decides nothing about AMQP.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use crate::amqp;
use crate::broker::alarms::Alarms;
use crate::broker::broker::{Broker, BrokerConfig, Defaults, OpenError};
use crate::clock;
use crate::cmq;
use crate::config::{self, Config, Durability, RawConfig};
use crate::ctl;
use crate::ctl::context::{Context, Node, NodeCommand};
use crate::ctl::protocol::SOCKET;
use crate::files::{self, Shares};
use crate::memory::MemoryMonitor;
use crate::node;
use crate::store::{Committer, FjallOptions, FjallStore, Limits, OnDamage, Store, StoreError};

/// Connections that the system keeps for us until they are accepted.
const ACCEPT_BACKLOG: u32 = 1024;
/// Commands of operators that wait for the main task.
const COMMANDS_WAITING: usize = 16;
/// How long a stop in good order waits for dead letters.
const LETTERS_GRACE: Duration = Duration::from_secs(5);
/// What connections are told when the broker ends: RabbitMQ's words.
const SHUTDOWN_REASON: &str = "broker forced connection closure with reason 'shutdown'";

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made or kept to its owner.
    #[error("cannot prepare the data directory {}: {error}", dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The data directory holds something else.
    #[error(
        "{} is not empty, and what is in it ('{found}') is not a broker's: give a directory of its own with --data-dir", dir.display()
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// The name of something in it.
        found: String,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored definition cannot be read, or one cannot be stored.
    #[error(transparent)]
    Broker(#[from] OpenError),
    /// No address was configured.
    #[error("there is no address to listen on: set amqp-listen")]
    NoAddress,
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The socket of ctl cannot be made.
    #[error("cannot open the ctl socket {}: {error}", path.display())]
    CtlSocket {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl StartError {
    /// The exit code of the process: 75 when another broker holds the data directory, 69 when an address is taken,
    /// 78 for configuration, 74 for the rest, which is input and output.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Store(StoreError::InUse { .. }) => 75,
            StartError::Listen { .. } => 69,
            StartError::NoAddress | StartError::NotOurs { .. } => 78,
            StartError::DataDir { .. }
            | StartError::Store(_)
            | StartError::Broker(_)
            | StartError::CtlSocket { .. } => 74,
        }
    }
}

/// Starts brokers.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Starts a broker; it accepts connections when this returns.
    pub async fn start(config: Config) -> Result<RunningServer, StartError> {
        let started = clock::monotonic();
        prepare_data_dir(&config.data_dir)?;
        let shares = share_files(&config);
        let (sync_within, mut store_options) = durability(config.durability, &shares);
        store_options.on_damage = match config.on_damage {
            config::OnDamage::Refuse => OnDamage::Refuse,
            config::OnDamage::Recover => OnDamage::Recover,
        };
        let store = open_store(config.data_dir.clone(), store_options).await?;
        let limits = Limits {
            disk_free_min: config.disk_free_limit,
            sync_within,
            ..Limits::default()
        };
        let committer = Committer::start(store, limits)?;
        let broker = Broker::open(committer.clone(), broker_config(&config)).await?;
        let alarms = Arc::new(Alarms::default());
        let watermark = config.memory_high_watermark;
        let memory = Arc::new(MemoryMonitor::new(alarms.clone(), watermark));
        let settings = amqp_settings(&config, &shares);
        // Before the listeners: who sees in the log that one is open may give commands.
        let ctl_socket = config.data_dir.join(SOCKET);
        let ctl = ctl::server::bind(&config.data_dir).map_err(|error| StartError::CtlSocket {
            path: ctl_socket.clone(),
            error,
        })?;
        let fronts = Fronts {
            amqp: amqp::Front::new(broker.clone(), alarms.clone(), settings),
            cmq: cmq::Front::open(broker.clone(), alarms.clone(), cmq_config(&config, &shares))?,
        };
        let wanted = Addresses {
            amqp: config.amqp_listen.clone(),
            cmq: config.cmq_listen.iter().flatten().copied().collect(),
        };
        let listeners = Listeners::open(&wanted, &fronts)?;
        let addresses = Arc::new(listeners.addresses.clone());
        let (commands, taken) = mpsc::channel(COMMANDS_WAITING);
        let ctl_commands = commands.clone();
        let (running, is_running) = watch::channel(true);
        let node = Node {
            commands: ctl_commands,
            running: is_running,
            listeners: addresses.amqp.as_slice().into(),
            cmq_listeners: addresses.cmq.as_slice().into(),
            data_dir: config.data_dir.clone().into(),
            started,
        };
        let context = Arc::new(Context {
            broker: broker.clone(),
            node,
            alarms: alarms.clone(),
            memory: memory.clone(),
        });
        let mut background = JoinSet::new();
        background.spawn(ctl::server::serve(ctl, context));
        background.spawn(async move { memory.watch().await });
        background.spawn(forward_disk_alarm(committer.clone(), alarms.clone()));
        let (stop_asked, stop_seen) = watch::channel(false);
        let main = Main {
            broker: broker.clone(),
            fronts,
            grace: config.shutdown_grace,
            addresses: addresses.clone(),
            running,
        };
        let main = tokio::spawn(main.run(listeners, taken, stop_asked));
        info!(version = env!("CARGO_PKG_VERSION"), "leveret is ready");
        Ok(RunningServer {
            addresses,
            broker,
            alarms,
            committer,
            commands,
            ctl_socket,
            stop_seen,
            main,
            background,
        })
    }
}

/// Makes the directory, and keeps it to its owner: passwords' hashes and messages are in it. One that holds something
/// else, or belongs to somebody else, is left as it is.
fn prepare_data_dir(dir: &Path) -> Result<(), StartError> {
    let failed = |error| StartError::DataDir {
        dir: dir.to_owned(),
        error,
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    if let Some(found) = foreign_entry(dir).map_err(failed)? {
        return Err(StartError::NotOurs {
            dir: dir.to_owned(),
            found,
        });
    }
    let metadata = std::fs::metadata(dir).map_err(failed)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let (owner, me) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != me {
        // A volume that belongs to another user: what is in it has modes of its own.
        warn!(
            dir = %dir.display(), owner, mode = format!("{mode:o}"),
            "the data directory belongs to another user and is open to others; its owner should make its mode 700"
        );
        return Ok(());
    }
    let own = std::fs::Permissions::from_mode(0o700);
    if let Err(error) = std::fs::set_permissions(dir, own) {
        warn!(dir = %dir.display(), %error, "the data directory is open to other users");
    }
    Ok(())
}

/// Something in the directory, if no broker has ever used it and it is not empty. A file system of its own has its
/// `lost+found`.
fn foreign_entry(dir: &Path) -> io::Result<Option<String>> {
    const OURS: [&str; 3] = ["leveret.lock", "db", SOCKET];
    let mut foreign = None;
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if OURS.iter().any(|ours| name == *ours) {
            return Ok(None);
        }
        if name != "lost+found" {
            foreign = Some(name.to_string_lossy().into_owned());
        }
    }
    Ok(foreign)
}

fn broker_config(config: &Config) -> BrokerConfig {
    BrokerConfig {
        loopback_users: config.loopback_users.clone(),
        memory_bytes: config.memory_budget,
        defaults: Defaults {
            user: config.default_user.clone(),
            pass: config.default_pass.clone(),
            vhost: config.default_vhost.clone(),
        },
        ..BrokerConfig::default()
    }
}

/// Raises the limit of file descriptors, shares them out, and says how.
fn share_files(config: &Config) -> Shares {
    let limit = files::raise_limit();
    let listens = config.cmq_listen.iter().any(Option::is_some);
    let wanted = files::Wanted {
        amqp: config.connection_max,
        cmq: if listens { config.cmq_connections } else { 0 },
        pushes: config.cmq_push_connections.into(),
    };
    let shares = files::share(limit, wanted);
    let (amqp, cmq) = (shares.amqp.known, shares.cmq.known);
    let limit = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
    info!(limit, store = shares.store, amqp, cmq, "file descriptors");
    // The defaults are more than most need: who gets less of them is told in the line above.
    let default = Config::from_raw(&RawConfig::default()).ok();
    let default = default.map(|config| (config.connection_max, config.cmq_connections));
    let (default_amqp, default_cmq) = default.unzip();
    let is_short = |given, wanted, default| given < wanted && Some(wanted) != default;
    if is_short(amqp, wanted.amqp, default_amqp) || is_short(cmq, wanted.cmq, default_cmq) {
        warn!(
            limit,
            amqp,
            cmq,
            "fewer connections than configured may be open: raise the limit of file descriptors (ulimit -n, LimitNOFILE)"
        );
    }
    shares
}

/// What was configured about CMQ's API, as its room wants it.
pub fn cmq_config(config: &Config, shares: &Shares) -> cmq::CmqConfig {
    cmq::CmqConfig {
        connections: shares.cmq,
        newcomer_timeout: config.handshake_timeout,
        clock_skew_ms: u64::try_from(config.cmq_clock_skew.as_millis()).unwrap_or(u64::MAX),
        replays_max: config.cmq_replay_memory,
        batch_max: config.cmq_batch.into(),
        batch_bytes_max: config.cmq_batch_size,
        requests_max: config.cmq_requests,
        name_rest: config.cmq_name_rest,
        queues_max: config.cmq_queues,
        heap_max: config.cmq_heap,
        message_bytes_max: config.cmq_message_size,
        polling_wait_max_secs: config.cmq_polling_wait,
        visibility_timeout_max_secs: config.cmq_visibility_timeout,
        retention_max_secs: config.cmq_retention,
        delay_max_secs: config.cmq_delay,
        delayed_max: config.cmq_delayed,
        unacked_max: config.cmq_unacked,
        dead_letter_sources_max: config.cmq_dead_letter_sources,
        topics_max: config.cmq_topics,
        subscriptions_max: config.cmq_subscriptions,
        filters_max: config.cmq_filters,
        tag_chars_max: config.cmq_tag_size,
        key_bytes_max: config.cmq_key_size,
        push: cmq::PushConfig {
            second: config.cmq_push_second,
            timeout: config.cmq_push_timeout,
            connections_max: shares.pushes,
            endpoint_connections_max: config.cmq_push_endpoint_connections.into(),
            allowed: config.cmq_push_allow.iter().flatten().copied().collect(),
        },
    }
}

fn amqp_settings(config: &Config, shares: &Shares) -> amqp::Settings {
    let timeout_ms = u64::try_from(config.consumer_timeout.as_millis()).unwrap_or(u64::MAX);
    amqp::Settings {
        channel_max: config.channel_max,
        frame_max: config.frame_max,
        heartbeat_secs: config.heartbeat,
        message_bytes_max: config.max_message_size,
        consumer_timeout_ms: (timeout_ms > 0).then_some(timeout_ms),
        connections: shares.amqp,
        handshake_timeout: config.handshake_timeout,
        cluster_name: node::name(),
        server_product: config.server_product.to_string(),
    }
}

/// How long a sync may wait for more, and how the store goes with that: a chunk in an extent must be synced before its
/// place is committed, so with extents each large batch would wait for the disk.
fn durability(durability: Durability, shares: &Shares) -> (Option<Duration>, FjallOptions) {
    let options = FjallOptions {
        cached_files: shares.cached,
        ..FjallOptions::default()
    };
    match durability {
        Durability::Sync => (None, options),
        Durability::Write(within) => {
            let extent_batch_bytes = usize::MAX;
            let options = FjallOptions {
                extent_batch_bytes,
                ..options
            };
            (Some(within), options)
        }
    }
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

/// The front doors.
struct Fronts {
    amqp: Arc<amqp::Front>,
    cmq: Arc<cmq::Front>,
}

/// Where each front door listens.
#[derive(Clone, Debug, Default)]
struct Addresses {
    amqp: Vec<SocketAddr>,
    cmq: Vec<SocketAddr>,
}

/// The listeners that are open and the connections that came through them.
struct Listeners {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Listeners {
    fn open(wanted: &Addresses, fronts: &Fronts) -> Result<Listeners, StartError> {
        if wanted.amqp.is_empty() {
            return Err(StartError::NoAddress);
        }
        let (stop, stopped) = watch::channel(false);
        let mut listeners = Listeners {
            addresses: Addresses::default(),
            stop,
            tasks: JoinSet::new(),
        };
        for &wanted in &wanted.amqp {
            let (socket, address) = listen(wanted)?;
            info!("AMQP listener on {address}");
            listeners.addresses.amqp.push(address);
            let serve = fronts.amqp.clone().serve(socket, stopped.clone());
            listeners.tasks.spawn(serve);
        }
        for &wanted in &wanted.cmq {
            let (socket, address) = listen(wanted)?;
            info!("CMQ listener on {address}");
            listeners.addresses.cmq.push(address);
            let serve = fronts.cmq.clone().serve(socket, stopped.clone());
            listeners.tasks.spawn(serve);
        }
        // Whoever subscribed is pushed to, also if nobody is listened to any more.
        listeners.tasks.spawn(fronts.cmq.clone().push(stopped));
        Ok(listeners)
    }

    /// Closes listeners and connections, in good order for as long as the grace lasts.
    async fn close(mut self, broker: &Broker, grace: Duration) {
        self.stop.send_replace(true);
        let closing = broker.connections().close_where(SHUTDOWN_REASON, |_| true);
        info!(connections = closing, "closing connections");
        let all_closed = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all_closed).await.is_err() {
            warn!(
                connections = broker.connections().len(),
                "some connections did not close in time"
            );
        }
        self.tasks.shutdown().await;
    }
}

/// A socket that listens, and its address: port 0 has become a real one.
fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let open = || {
        let socket = if wanted.is_ipv6() {
            TcpSocket::new_v6()?
        } else {
            TcpSocket::new_v4()?
        };
        // A broker that is started again must not wait for the old one's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(wanted)?;
        let socket = socket.listen(ACCEPT_BACKLOG)?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    open().map_err(|error| StartError::Listen {
        address: wanted,
        error,
    })
}

/// The task that opens and closes listeners.
struct Main {
    broker: Arc<Broker>,
    fronts: Fronts,
    grace: Duration,
    /// Those taken at the start: after `start_app` the broker is found where it was.
    addresses: Arc<Addresses>,
    running: watch::Sender<bool>,
}

impl Main {
    async fn run(
        self,
        listeners: Listeners,
        mut commands: mpsc::Receiver<NodeCommand>,
        stop_asked: watch::Sender<bool>,
    ) {
        let mut listeners = Some(listeners);
        while let Some(command) = commands.recv().await {
            match command {
                NodeCommand::StopApp(done) => {
                    self.close(listeners.take()).await;
                    // The operator may have gone; the listeners are closed all the same.
                    done.send(()).unwrap_or_default();
                }
                NodeCommand::StartApp(done) => {
                    let outcome = self.start_app(&mut listeners);
                    done.send(outcome).unwrap_or_default();
                }
                NodeCommand::Stop => {
                    stop_asked.send_replace(true);
                }
                NodeCommand::End(done) => {
                    self.close(listeners.take()).await;
                    done.send(()).unwrap_or_default();
                    return;
                }
            }
        }
    }

    async fn close(&self, listeners: Option<Listeners>) {
        self.running.send_replace(false);
        if let Some(listeners) = listeners {
            listeners.close(&self.broker, self.grace).await;
        }
    }

    fn start_app(&self, listeners: &mut Option<Listeners>) -> Result<(), String> {
        if listeners.is_none() {
            let opened = Listeners::open(&self.addresses, &self.fronts);
            *listeners = Some(opened.map_err(|error| error.to_string())?);
        }
        self.running.send_replace(true);
        Ok(())
    }
}

/// A broker that runs. Dropped without [`RunningServer::shutdown`], it ends as if it had been killed, but for the
/// store, which is synced.
pub struct RunningServer {
    addresses: Arc<Addresses>,
    broker: Arc<Broker>,
    alarms: Arc<Alarms>,
    committer: Arc<Committer>,
    commands: mpsc::Sender<NodeCommand>,
    ctl_socket: PathBuf,
    stop_seen: watch::Receiver<bool>,
    main: JoinHandle<()>,
    background: JoinSet<()>,
}

impl RunningServer {
    /// The first AMQP address that was taken: port 0 has become a real one.
    pub fn amqp_addr(&self) -> SocketAddr {
        self.addresses
            .amqp
            .first()
            .copied()
            .unwrap_or_else(|| ([0, 0, 0, 0], 0).into())
    }

    /// All AMQP addresses that were taken, in the order of the configuration.
    pub fn amqp_addrs(&self) -> &[SocketAddr] {
        &self.addresses.amqp
    }

    /// All addresses of CMQ's API that were taken, in the order of the configuration.
    pub fn cmq_addrs(&self) -> &[SocketAddr] {
        &self.addresses.cmq
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Its alarms.
    pub fn alarms(&self) -> &Alarms {
        &self.alarms
    }

    /// Waits until `leveret ctl stop` was given. Cancel-safe.
    pub async fn stop_asked(&mut self) {
        if self.stop_seen.wait_for(|asked| *asked).await.is_err() {
            // The main task is gone, so nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }

    /// Stops accepting, closes connections with 320 within the grace that was configured, makes everything durable.
    pub async fn shutdown(mut self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(NodeCommand::End(done)).await.is_err() || closed.await.is_err() {
            error!("the main task ended early; connections are cut off");
        }
        self.broker.note_time();
        if !self.broker.letters_published(LETTERS_GRACE).await {
            warn!(
                "some dead letters are not published yet; their messages are in their queues at the next start"
            );
        }
        let committer = self.committer.clone();
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
        self.main.abort();
    }
}
