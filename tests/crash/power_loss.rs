//! A broker in this process on a store in memory that loses power: queues to work with, waits that end when the power is
//! gone, and what the disk may hold then. What the work is, and what must be found, is each test's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use leveret::broker::queue::{Got, Queue};
use leveret::broker::session::DeclareQueue;
use leveret::model::{Body, Message, Origin, Ticket};
use leveret::store::commit::{Committer, Limits};
use leveret::store::faulty::{Call, Fault, FaultyStore, What, When};
use leveret::wire::{AMQPValue, FieldTable};

/// Far longer than any step takes; a step that the lost power keeps waiting is given up at once.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn open(store: Arc<FaultyStore>) -> Arc<Broker> {
    open_with(store, BrokerConfig::default()).await
}

pub(crate) async fn open_with(store: Arc<FaultyStore>, config: BrokerConfig) -> Arc<Broker> {
    let committer = Committer::start(store, Limits::default()).expect("threads");
    Broker::open(committer, config)
        .await
        .expect("a store that can be read")
}

pub(crate) fn queue(broker: &Arc<Broker>, name: &str) -> Arc<Queue> {
    let vhost = broker
        .vhost(DEFAULT_VHOST)
        .expect("the default virtual host");
    vhost.queue(name).expect("a declared queue")
}

/// A store with the queues `work` (which dead-letters to `dead`), `dead`, `other`, `quorum` and `kept`.
pub(crate) async fn prepare() -> FaultyStore {
    let mut to_dead = FieldTable::default();
    for (key, value) in [
        ("x-dead-letter-exchange", ""),
        ("x-dead-letter-routing-key", "dead"),
    ] {
        to_dead.insert(key.into(), AMQPValue::LongString(value.into()));
    }
    let mut quorum = FieldTable::default();
    quorum.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let mut keeps = FieldTable::default();
    keeps.insert("x-rewind-seconds".into(), AMQPValue::LongInt(3600));
    let queues = [
        ("kept", keeps),
        ("quorum", quorum),
        ("work", to_dead),
        ("dead", FieldTable::default()),
        ("other", FieldTable::default()),
    ];
    prepare_with(&queues).await
}

/// A store with durable queues of these names and arguments.
pub(crate) async fn prepare_with(queues: &[(&str, FieldTable)]) -> FaultyStore {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let broker = open(store.clone()).await;
    let vhost = broker
        .vhost(DEFAULT_VHOST)
        .expect("the default virtual host");
    let user = broker.users().get(DEFAULT_USER).expect("the default user");
    let session = broker.session(vhost, user, broker.next_connection());
    for (name, arguments) in queues {
        let declare = DeclareQueue {
            name,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: arguments.clone(),
        };
        session.declare_queue(declare).await.expect("declared");
    }
    broker.committer().shutdown();
    store.after_kill()
}

/// The power goes at each of the first `most` commits and syncs, before it has happened or after.
pub(crate) fn power_losses(most: u64) -> impl Iterator<Item = Fault> {
    let calls = [Call::Commit as fn(u64) -> Call, Call::Sync];
    let calls = calls.into_iter().flat_map(move |call| (1..=most).map(call));
    calls.flat_map(|at| {
        [When::Before, When::After].map(|when| Fault {
            at,
            when,
            what: What::PowerLoss,
        })
    })
}

/// What a broker left behind, on a disk that will fail.
pub(crate) fn with_fault(base: &FaultyStore, fault: Fault) -> Arc<FaultyStore> {
    let store = Arc::new(base.after_kill());
    store.add_fault(fault);
    store
}

pub(crate) fn message(id: u64) -> Arc<Message> {
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "work".into(),
        }),
        properties: Bytes::from_static(b"\x10\x00\x02"), // delivery-mode 2
        body: Body::Whole(Bytes::copy_from_slice(&id.to_be_bytes())),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
    })
}

pub(crate) fn id_of(message: &Message) -> u64 {
    let body = message.body.slices().concat();
    u64::from_be_bytes(body.try_into().expect("a body of this test"))
}

/// Takes a message; none if there is none, or if the power goes while it is read from the store.
pub(crate) async fn get(queue: &Queue, store: &FaultyStore) -> Option<Got> {
    let power_goes = async {
        while !store.power_lost() {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    };
    let got = async {
        tokio::select! {
            got = queue.get(false) => got.expect("a queue"),
            () = power_goes => None,
        }
    };
    tokio::time::timeout(PATIENCE, got)
        .await
        .expect("an answer")
}

/// Waits until the ticket is durable; false if the power goes first.
pub(crate) async fn durable(
    committer: &Arc<Committer>,
    store: &FaultyStore,
    ticket: Option<Ticket>,
) -> bool {
    let ticket = ticket.unwrap_or_default();
    let poll = async {
        while committer.durable() < ticket && !store.power_lost() {
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, poll)
        .await
        .expect("an answer");
    committer.durable() >= ticket
}

pub(crate) async fn drain(queue: &Queue) -> Vec<u64> {
    let mut found = Vec::new();
    loop {
        let got = tokio::time::timeout(PATIENCE, queue.get(true))
            .await
            .expect("an answer");
        let Some(got) = got.expect("a queue") else {
            return found;
        };
        found.push(id_of(&got.message));
    }
}

/// The survivors of a power loss at this moment, and of a killed process.
pub(crate) fn survivors(store: &FaultyStore) -> Vec<FaultyStore> {
    let mut found: Vec<_> = (0..=store.unsynced())
        .map(|kept| store.after_power_loss(kept))
        .collect();
    found.push(store.after_kill());
    found
}
