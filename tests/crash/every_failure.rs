//! One fixed piece of work is done on a store that loses power at its n-th commit or sync, for every n. Whatever the
//! disk may hold then, a broker opened on it must have every message that was confirmed and not settled, none that
//! was durably settled, nothing else, and in order; transactions and dead-lettering are whole or have not happened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use leveret::broker::queue::{Got, Queue, Settle};
use leveret::broker::session::DeclareQueue;
use leveret::model::{Body, Message, Origin, Ticket};
use leveret::store::commit::{Committer, Limits};
use leveret::store::faulty::{Call, Fault, FaultyStore, What, When};
use leveret::wire::{AMQPValue, FieldTable};

const STEPS: u64 = 24;
/// Far longer than any step takes; a step that the lost power keeps waiting is given up at once.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn open(store: Arc<FaultyStore>) -> Arc<Broker> {
    let committer = Committer::start(store, Limits::default()).expect("threads");
    Broker::open(committer, BrokerConfig::default())
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
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let broker = open(store.clone()).await;
    let vhost = broker
        .vhost(DEFAULT_VHOST)
        .expect("the default virtual host");
    let user = broker.users().get(DEFAULT_USER).expect("the default user");
    let session = broker.session(vhost, user, broker.next_connection());
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
    for (name, arguments) in queues {
        let declare = DeclareQueue {
            name,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        session.declare_queue(declare).await.expect("declared");
    }
    broker.committer().shutdown();
    store.after_kill()
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
    })
}

pub(crate) fn id_of(message: &Message) -> u64 {
    let body = message.body.slices().concat();
    u64::from_be_bytes(body.try_into().expect("a body of this test"))
}

/// What was done with a message, and when it was safe.
#[derive(Debug, Default)]
struct Fate {
    published: Option<Ticket>,
    /// Published to `other` in the same transaction.
    twin: bool,
    acked: Option<Option<Ticket>>,
    rejected: Option<Option<Ticket>>,
}

/// Does the work until it is done or the power is gone. Returns what was done and the last durable ticket: what
/// clients were told.
async fn work(store: &Arc<FaultyStore>) -> (BTreeMap<u64, Fate>, Ticket) {
    let broker = open(store.clone()).await;
    let (work, other) = (queue(&broker, "work"), queue(&broker, "other"));
    let committer = broker.committer();
    let mut fates = BTreeMap::<u64, Fate>::new();
    let mut next = 0;
    for step in 0..STEPS {
        let run: Vec<_> = (0..=step % 3).map(|n| message(next + n)).collect();
        let twin = step % 4 == 3;
        let mut ticket = None;
        {
            let _transaction = twin.then(|| committer.batch_guard());
            for queue in [Some(&work), twin.then_some(&other)].into_iter().flatten() {
                ticket = ticket.max(queue.publish(&run).ticket);
            }
        }
        for message in &run {
            let fate = Fate {
                published: ticket,
                twin,
                ..Fate::default()
            };
            fates.insert(id_of(message), fate);
        }
        next += run.len() as u64;
        if step % 2 == 0 && !durable(committer, store, ticket).await {
            break;
        }
        for n in 0..2 {
            let Some(got) = get(&work, store).await else {
                break;
            };
            let fate = fates
                .get_mut(&id_of(&got.message))
                .expect("a message that was published");
            match (step + n) % 5 {
                0 | 1 => fate.acked = Some(work.settle(Settle::Ack, &[got.lease], &[])),
                2 => fate.rejected = Some(work.settle(Settle::Reject, &[got.lease], &[])),
                3 => drop(work.settle(Settle::Requeue, &[got.lease], &[])),
                _ => {} // stays with its consumer
            }
        }
        if step % 3 == 0 && !durable(committer, store, Some(committer.append(Vec::new()))).await {
            break;
        }
    }
    if !store.power_lost() {
        durable(committer, store, Some(committer.append(Vec::new()))).await;
    }
    committer.shutdown();
    (fates, committer.durable())
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

/// Checks what a new broker finds. `told` is the last ticket of which clients were told.
async fn check(survivor: FaultyStore, fates: &BTreeMap<u64, Fate>, told: Ticket, what: &str) {
    let broker = open(Arc::new(survivor)).await;
    let [work, dead, other] = ["work", "dead", "other"].map(|name| queue(&broker, name));
    let (work, dead, other) = (drain(&work).await, drain(&dead).await, drain(&other).await);
    let seen = format!("{what}: work {work:?}, dead {dead:?}, other {other:?}");
    assert!(work.is_sorted(), "out of order: {seen}");
    assert!(other.is_sorted(), "out of order: {seen}");
    let all: Vec<u64> = work.iter().chain(&dead).copied().collect();
    let set: BTreeSet<u64> = all.iter().copied().collect();
    assert_eq!(all.len(), set.len(), "twice: {seen}");
    assert!(
        set.iter().chain(&other).all(|id| fates.contains_key(id)),
        "invented: {seen}"
    );
    let known = |ticket: Option<Ticket>| ticket.is_some_and(|ticket| ticket <= told);
    for (id, fate) in fates {
        let (in_work, in_dead, in_other) =
            (work.contains(id), dead.contains(id), other.contains(id));
        let about = || format!("message {id}, {fate:?}, told {told:?}; {seen}");
        let confirmed = known(fate.published);
        match (fate.acked, fate.rejected) {
            (None, None) => {
                assert!(in_work || !confirmed, "lost: {}", about());
                assert!(!in_dead, "dead-lettered by nobody: {}", about());
                assert!(
                    !fate.twin || in_work == in_other,
                    "half a transaction: {}",
                    about()
                );
            }
            (Some(ticket), _) => assert!(
                !in_work || !known(ticket),
                "back after its ack: {}",
                about()
            ),
            (None, Some(ticket)) => {
                assert!(
                    in_work || in_dead || !confirmed,
                    "lost while dead-lettered: {}",
                    about()
                );
                assert!(in_dead || !known(ticket), "not dead-lettered: {}", about());
            }
        }
        assert!(!fate.twin || in_other || !confirmed, "lost: {}", about());
        assert!(fate.twin || !in_other, "invented: {}", about());
    }
    broker.committer().shutdown();
}

/// The survivors of a power loss at this moment, and of a killed process.
pub(crate) fn survivors(store: &FaultyStore) -> Vec<FaultyStore> {
    let mut found: Vec<_> = (0..=store.unsynced())
        .map(|kept| store.after_power_loss(kept))
        .collect();
    found.push(store.after_kill());
    found
}

#[tokio::test]
async fn nothing_confirmed_is_lost_whenever_the_power_goes() {
    let base = prepare().await;
    let store = Arc::new(base.after_kill());
    let (fates, told) = work(&store).await;
    assert!(
        fates
            .values()
            .all(|fate| fate.published.is_none_or(|ticket| ticket <= told))
    );
    check(store.after_power_loss(0), &fates, told, "no failure").await;

    let mut failures = 0;
    for call in [Call::Commit as fn(u64) -> Call, Call::Sync] {
        for n in 1.. {
            for when in [When::Before, When::After] {
                let store = Arc::new(base.after_kill());
                let fault = Fault {
                    at: call(n),
                    when,
                    what: What::PowerLoss,
                };
                store.add_fault(fault);
                let (fates, told) = work(&store).await;
                for (at, survivor) in survivors(&store).into_iter().enumerate() {
                    check(survivor, &fates, told, &format!("{fault:?}, survivor {at}")).await;
                }
                failures += u64::from(store.power_lost());
            }
            let reached = match call(n) {
                Call::Commit(_) => 8 + 2 * STEPS,
                Call::Sync(_) => 4 + 2 * STEPS,
            };
            if n >= reached {
                break;
            }
        }
    }
    assert!(
        failures > STEPS,
        "the work reached only {failures} failures"
    );
}
