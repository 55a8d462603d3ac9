//! A broker without sockets, on a store of the test's own; tests use its queues directly.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use leveret::broker::queue::{Acknowledgement, Queue};
use leveret::broker::session::{DeclareQueue, Session};
use leveret::model::{Body, Lease, Message, Origin, Ticket};
use leveret::store::{Committer, FjallOptions, FjallStore, Limits, Store, StoreError};
use leveret::wire::FieldTable;

/// Tasks of the broker before may hold its data directory a little longer than the broker itself.
const UNLOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Encoded properties with nothing but a delivery mode of 2.
const PERSISTENT: &[u8] = b"\x10\x00\x02";

pub(crate) async fn open(store: Arc<dyn Store>, config: BrokerConfig) -> Arc<Broker> {
    let committer = Committer::start(store, Limits::default()).unwrap();
    Broker::open(committer, config).await.unwrap()
}

/// Opens a broker on a data directory.
pub(crate) async fn open_on_disk(dir: &Path, config: BrokerConfig) -> Arc<Broker> {
    let deadline = Instant::now() + UNLOCK_TIMEOUT;
    let store = loop {
        match FjallStore::open(dir, FjallOptions::default()) {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => break opened.unwrap(),
        }
    };
    open(Arc::new(store), config).await
}

/// Declares a durable queue in the default virtual host.
pub(crate) async fn declare(broker: &Arc<Broker>, name: &str, arguments: FieldTable) -> Arc<Queue> {
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let user = broker.users().get(DEFAULT_USER).unwrap();
    let connection = broker.next_connection();
    let user = Arc::new(user.logged_in());
    let session = Session::new(Arc::clone(broker), vhost, user, connection);
    let declare = DeclareQueue {
        name,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
    };
    session.declare_queue(declare).await.unwrap();
    queue(broker, name)
}

/// A queue of the default virtual host.
pub(crate) fn queue(broker: &Arc<Broker>, name: &str) -> Arc<Queue> {
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    vhost.queue(name).unwrap()
}

/// A persistent message through the default exchange.
pub(crate) fn message(queue: &str, body: impl Into<Bytes>) -> Message {
    Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: queue.into(),
        }),
        properties: Bytes::from_static(PERSISTENT),
        body: Body::Whole(body.into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    }
}

/// A body of `size` bytes that begins with a number.
pub(crate) fn numbered_body(number: u64, size: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size, b'.');
    body
}

/// The number at the start of a body.
pub(crate) fn number_of(message: &Message) -> u64 {
    let body = message.body.slices().concat();
    u64::from_be_bytes(*body.first_chunk().unwrap())
}

pub(crate) fn ack(queue: &Queue, leases: &[Lease]) -> Option<Ticket> {
    queue.acknowledge(Acknowledgement::Ack, leases, &[])
}

/// Publishes messages together and waits until they are durable.
pub(crate) async fn publish(broker: &Broker, queue: &Queue, messages: Vec<Message>) {
    let run: Vec<_> = messages.into_iter().map(Arc::new).collect();
    durable(broker, queue.publish(&run).ticket).await;
}

/// Waits until a ticket is durable.
pub(crate) async fn durable(broker: &Broker, ticket: Option<Ticket>) {
    let committer = broker.committer();
    committer.wait(ticket.unwrap_or_default()).await.unwrap();
}
