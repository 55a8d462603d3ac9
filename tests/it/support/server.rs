//! A broker in this process, on a free port and with a new store.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use leveret::amqp::{Front, Mechanism, Settings};
use leveret::auth;
use leveret::broker::alarms::Alarms;
use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::queue::{Counts, Queue};
use leveret::clock;
use leveret::cmq::{self, CmqConfig};
use leveret::config::{Config, MemoryWatermark, RawConfig};
use leveret::files::{Wanted, capacity, share};
use leveret::management::{self, ManagementConfig};
use leveret::memory::MemoryMonitor;
use leveret::net::{Listener, LoginFrom};
use leveret::server::{LocalDoor, auth_config, cmq_config, management_config};
use leveret::store::{Committer, Limits, MemoryStore, Store};
use leveret::views::{AmqpLimits, ListenerView, NodeInfo, Protocol, Security, Views};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PATIENCE, eventually};

/// Connections of each kind of client.
const CONNECTIONS: usize = 1_000;

/// A running broker.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The address of CMQ's API.
    pub(crate) cmq: SocketAddr,
    /// The address of the management API.
    pub(crate) management: SocketAddr,
    pub(crate) broker: Arc<Broker>,
    pub(crate) alarms: Arc<Alarms>,
    pub(crate) views: Arc<Views>,
    cmq_config: CmqConfig,
    store: Arc<dyn Store>,
    clocks: Arc<dyn clock::Source>,
    front: Weak<Front>,
    cmq_users: Box<dyn Fn() -> usize + Send + Sync>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    cmq_task: JoinHandle<()>,
    push_task: JoinHandle<()>,
    management_task: JoinHandle<()>,
    shovel_task: JoinHandle<()>,
}

/// What a test may configure.
struct Setup {
    settings: Settings,
    cmq: CmqConfig,
    management: ManagementConfig,
    clocks: Arc<dyn clock::Source>,
    auth: Option<auth::Settings>,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            settings: settings(),
            cmq: cmq_defaults(),
            management: management_defaults(),
            clocks: Arc::new(clock::System),
            auth: None,
        }
    }
}

impl TestServer {
    pub(crate) async fn start() -> TestServer {
        TestServer::start_with(|_| ()).await
    }

    /// Starts with changed settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> TestServer {
        let mut setup = Setup::default();
        change(&mut setup.settings);
        TestServer::on(Arc::new(MemoryStore::default()), setup).await
    }

    /// Starts with changed settings of CMQ's API.
    pub(crate) async fn start_with_cmq(change: impl FnOnce(&mut CmqConfig)) -> TestServer {
        let mut setup = Setup::default();
        change(&mut setup.cmq);
        TestServer::on(Arc::new(MemoryStore::default()), setup).await
    }

    /// Starts with changed settings of the management API.
    pub(crate) async fn start_with_management(
        change: impl FnOnce(&mut ManagementConfig),
    ) -> TestServer {
        let mut setup = Setup::default();
        change(&mut setup.management);
        TestServer::on(Arc::new(MemoryStore::default()), setup).await
    }

    /// Starts with the backends of logins that these options configure.
    pub(crate) async fn start_with_logins(options: &[(&str, &str)]) -> TestServer {
        let mut raw = RawConfig::default();
        raw.add_flags(|key| {
            let given = options.iter().filter(|(name, _)| *name == key);
            let values: Vec<String> = given.map(|(_, value)| (*value).to_owned()).collect();
            (!values.is_empty()).then_some(values)
        });
        let config = Config::from_raw(&raw).unwrap();
        let setup = Setup {
            auth: Some(auth_config(&config).unwrap()),
            ..Setup::default()
        };
        TestServer::on(Arc::new(MemoryStore::default()), setup).await
    }

    /// Starts on the test's store.
    pub(crate) async fn start_on(store: Arc<dyn Store>) -> TestServer {
        TestServer::on(store, Setup::default()).await
    }

    /// Starts with the test's clocks, and with changed settings.
    pub(crate) async fn start_by(
        clocks: Arc<dyn clock::Source>,
        change: impl FnOnce(&mut Settings),
    ) -> TestServer {
        let mut setup = Setup {
            clocks,
            ..Setup::default()
        };
        change(&mut setup.settings);
        TestServer::on(Arc::new(MemoryStore::default()), setup).await
    }

    async fn on(store: Arc<dyn Store>, setup: Setup) -> TestServer {
        let Setup {
            settings,
            cmq: cmq_config,
            management: management_config,
            clocks,
            auth,
        } = setup;
        let committer = Committer::start(Arc::clone(&store), Limits::default()).unwrap();
        let config = BrokerConfig {
            clocks: Arc::clone(&clocks),
            auth,
            ..BrokerConfig::default()
        };
        let broker = Broker::open(committer, config).await.unwrap();
        let alarms = Arc::<Alarms>::default();
        let limits = AmqpLimits {
            connections_max: settings.connections.authenticated,
            consumer_timeout_ms: settings.consumer_timeout_ms.unwrap_or(0),
        };
        let front = Front::new(Arc::clone(&broker), Arc::clone(&alarms), settings);
        let (listener, address) = listen();
        let (management_listener, management) = listen();
        let listeners = [
            (Protocol::Amqp, address),
            (Protocol::Management, management),
        ];
        let views = views(&broker, &alarms, &listeners, limits);
        let (stop, stopped) = watch::channel(false);
        let cmq_front =
            cmq::Front::open(Arc::clone(&broker), Arc::clone(&alarms), cmq_config.clone())
                .await
                .unwrap();
        let directory = cmq_front.directory();
        let management_front =
            management::Front::new(Arc::clone(&views), directory, management_config);
        let (cmq_listener, cmq) = listen();
        let cmq_users = Box::new(cmq_front.users());
        let weak_front = Arc::downgrade(&front);
        let push_task = tokio::spawn(Arc::clone(&cmq_front).push(stopped.clone()));
        let cmq_task = tokio::spawn(cmq_front.serve(cmq_listener, stopped.clone()));
        let management_task =
            tokio::spawn(management_front.serve(management_listener, stopped.clone()));
        let door = LocalDoor::new(&front, &broker, watch::channel(true).1);
        let shovels = Arc::clone(views.shovels());
        let shovel_task = tokio::spawn(shovels.follow(Arc::new(door)));
        let task = tokio::spawn(front.serve(listener, stopped));
        TestServer {
            address,
            cmq,
            management,
            cmq_config,
            broker,
            alarms,
            views,
            store,
            clocks,
            front: weak_front,
            cmq_users,
            stop,
            task,
            cmq_task,
            push_task,
            management_task,
            shovel_task,
        }
    }

    /// Shuts down in order, with pushes finished, and starts again on the same store. It does not wait for connections,
    /// since a test's peer answers `connection.close` only if the test says so.
    pub(crate) async fn restart(self) -> TestServer {
        self.restart_within(PATIENCE).await
    }

    /// As [`TestServer::restart`], but pushes are cut off.
    pub(crate) async fn restart_without_grace(self) -> TestServer {
        self.restart_within(Duration::ZERO).await
    }

    async fn restart_within(mut self, grace: Duration) -> TestServer {
        self.views.shovels().stop().await;
        self.broker.connections().close_where("restart", |_| true);
        self.stop.send_replace(true);
        if let Ok(ended) = timeout(grace, &mut self.push_task).await {
            ended.unwrap();
        }
        for task in [
            self.task,
            self.cmq_task,
            self.push_task,
            self.management_task,
            self.shovel_task,
        ] {
            task.abort();
        }
        // Tasks that are cut off end a little later, and return their messages to the old broker.
        let (front, cmq_users) = (self.front, self.cmq_users);
        eventually("all tasks have ended", || {
            front.strong_count() == 0 && cmq_users() == 0
        })
        .await;
        let committer = Arc::clone(self.broker.committer());
        drop(self.broker);
        tokio::task::spawn_blocking(move || committer.shutdown())
            .await
            .unwrap();
        let setup = Setup {
            cmq: self.cmq_config,
            clocks: self.clocks,
            ..Setup::default()
        };
        TestServer::on(self.store, setup).await
    }

    /// Stops accepting connections, and asks the open ones to end.
    pub(crate) fn stop_listening(&self) {
        self.stop.send_replace(true);
    }

    /// Number of tasks, open connections and requests in progress that use CMQ's API.
    pub(crate) fn cmq_users(&self) -> usize {
        (self.cmq_users)()
    }

    /// The counts of a queue; `None` if there is no such queue.
    pub(crate) fn counts(&self, queue: &str) -> Option<Counts> {
        Some(self.broker.vhost("/")?.queue(queue)?.counts())
    }

    /// Ready messages, unacked messages and consumers of a queue; zeros if there is no such queue.
    pub(crate) fn numbers(&self, queue: &str) -> (u64, u64, u64) {
        self.counts(queue).map_or((0, 0, 0), |counts| {
            (counts.ready, counts.unacked, counts.consumers)
        })
    }

    pub(crate) fn ready(&self, queue: &str) -> u64 {
        self.numbers(queue).0
    }

    pub(crate) fn unacked(&self, queue: &str) -> u64 {
        self.numbers(queue).1
    }

    pub(crate) fn consumers(&self, queue: &str) -> u64 {
        self.numbers(queue).2
    }

    /// A queue of the default virtual host.
    pub(crate) fn queue(&self, name: &str) -> Arc<Queue> {
        self.broker.vhost("/").unwrap().queue(name).unwrap()
    }

    /// Waits until everything done so far is on disk.
    pub(crate) async fn flush(&self) {
        let committer = self.broker.committer();
        committer.wait(committer.append(Vec::new())).await.unwrap();
    }
}

fn views(
    broker: &Arc<Broker>,
    alarms: &Arc<Alarms>,
    listeners: &[(Protocol, SocketAddr)],
    limits: AmqpLimits,
) -> Arc<Views> {
    let listener = |(protocol, address): &(Protocol, SocketAddr)| ListenerView {
        security: Security::Plain,
        protocol: *protocol,
        address: *address,
    };
    let listeners: Vec<_> = listeners.iter().map(listener).collect();
    let watermark = MemoryWatermark::Fraction(0.6);
    let memory = Arc::new(MemoryMonitor::new(Arc::clone(alarms), watermark));
    let configuration = Config::from_raw(&RawConfig::default()).unwrap().shown;
    let node = NodeInfo {
        listeners: watch::channel(listeners.into()).1,
        configuration: watch::channel(configuration.into()).1,
        under_maintenance: watch::channel(false).1,
        amqp_limits: watch::channel(limits).1,
        certificate_files: Vec::new(),
        data_dir: Path::new("/nowhere").into(),
        started: clock::monotonic(),
        set: None,
    };
    let views = Views::new(Arc::clone(broker), Arc::clone(alarms), memory, node);
    Arc::new(views)
}

fn listen() -> (Listener, SocketAddr) {
    let listener = Listener::open(([127, 0, 0, 1], 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn wanted() -> Wanted {
    Wanted {
        amqp: 1,
        cmq: CONNECTIONS,
        management: CONNECTIONS,
        pushes: 64,
        per_client: 1,
    }
}

fn cmq_defaults() -> CmqConfig {
    let config = Config::from_raw(&RawConfig::default()).unwrap();
    cmq_config(&config, &share(None, wanted()))
}

fn management_defaults() -> ManagementConfig {
    let config = Config::from_raw(&RawConfig::default()).unwrap();
    management_config(&config, &share(None, wanted()))
}

/// The default configuration, with a longer handshake timeout: a login takes time on a busy machine.
fn settings() -> Settings {
    Settings {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat_secs: 60,
        message_bytes_max: 16 * 1024 * 1024,
        consumer_timeout_ms: Some(1_800_000),
        connections: capacity(CONNECTIONS, usize::MAX),
        handshake_timeout: PATIENCE,
        server_product: "Leveret".to_owned(),
        mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain, Mechanism::Anonymous],
        login_from: LoginFrom::DistinguishedName,
    }
}
