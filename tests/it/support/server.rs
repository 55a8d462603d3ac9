//! A broker in this process: its own port, its own store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret::amqp::{Front, Settings};
use leveret::broker::alarms::Alarms;
use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::queue::Counts;
use leveret::store::{Committer, Limits, MemoryStore, Store};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running broker.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Arc<Broker>,
    pub(crate) alarms: Arc<Alarms>,
    store: Arc<dyn Store>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start() -> TestServer {
        TestServer::start_with(|_| ()).await
    }

    /// With settings changed.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Settings)) -> TestServer {
        let mut settings = settings();
        change(&mut settings);
        TestServer::on(Arc::new(MemoryStore::default()), settings).await
    }

    /// On a store of the test's own.
    pub(crate) async fn start_on(store: Arc<dyn Store>) -> TestServer {
        TestServer::on(store, settings()).await
    }

    async fn on(store: Arc<dyn Store>, settings: Settings) -> TestServer {
        let committer = Committer::start(Arc::clone(&store), Limits::default()).unwrap();
        let broker = Broker::open(committer, BrokerConfig::default())
            .await
            .unwrap();
        let alarms = Arc::<Alarms>::default();
        let front = Front::new(Arc::clone(&broker), Arc::clone(&alarms), settings);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(front.serve(listener, stopped));
        TestServer {
            address,
            broker,
            alarms,
            store,
            stop,
            task,
        }
    }

    /// Asks all connections to close, waits for them, and starts anew on what is in the store.
    pub(crate) async fn restart(self) -> TestServer {
        self.broker.connections().close_where("restart", |_| true);
        self.stop.send_replace(true);
        let committer = Arc::clone(self.broker.committer());
        drop(self.broker);
        self.task.abort();
        tokio::task::spawn_blocking(move || committer.shutdown())
            .await
            .unwrap();
        let store = Arc::clone(&self.store);
        TestServer::on(store, settings()).await
    }

    /// The numbers of a queue; none if it is not there.
    pub(crate) fn counts(&self, queue: &str) -> Option<Counts> {
        Some(self.broker.vhost("/")?.queue(queue)?.counts())
    }

    /// Ready, unacked and consumers of a queue; zeros if it is not there.
    pub(crate) fn numbers(&self, queue: &str) -> (u64, u64, u64) {
        self.counts(queue).map_or((0, 0, 0), |counts| {
            (counts.ready, counts.unacked, counts.consumers)
        })
    }
}

/// The configuration's defaults.
fn settings() -> Settings {
    Settings {
        channel_max: 2047,
        frame_max: 131_072,
        heartbeat_secs: 60,
        message_bytes_max: 16 * 1024 * 1024,
        consumer_timeout_ms: Some(1_800_000),
        handshake_timeout: Duration::from_secs(10),
        cluster_name: "test".to_owned(),
    }
}
