//! A broker in this process on a store in memory that loses power: its queues, waits that end with the power, and every
//! state that the disk may have afterwards. Each test adds its work and its checks.

use std::sync::Arc;
use std::time::Duration;

use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::queue::{Got, Queue};
use leveret::model::{Message, Ticket};
use leveret::store::commit::Committer;
use leveret::store::faulty::{Call, Fault, FaultyStore, What, When};
use leveret::wire::{AMQPValue, FieldTable};

use crate::socketless;
pub(crate) use crate::socketless::{number_of as id_of, queue};

/// Far longer than any step takes. A step that waits for the store ends with the power.
const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const POLL_INTERVAL: Duration = Duration::from_micros(50);

pub(crate) async fn open(store: Arc<FaultyStore>) -> Arc<Broker> {
    open_with(store, BrokerConfig::default()).await
}

pub(crate) async fn open_with(store: Arc<FaultyStore>, config: BrokerConfig) -> Arc<Broker> {
    socketless::open(store, config).await
}

/// A store with the queues `work` (which dead-letters to `dead`), `dead`, `other`, `quorum` and `rewindable`.
pub(crate) async fn prepare() -> FaultyStore {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let to_dead = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    prepare_with(&[
        (
            "rewindable",
            &[("x-rewind-seconds", AMQPValue::LongInt(3600))],
        ),
        ("quorum", &[("x-queue-type", text("quorum"))]),
        ("work", &to_dead),
        ("dead", &[]),
        ("other", &[]),
    ])
    .await
}

/// A store with durable queues of these names and arguments.
pub(crate) async fn prepare_with(queues: &[(&str, &[(&str, AMQPValue)])]) -> FaultyStore {
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let broker = open(store.clone()).await;
    for (name, arguments) in queues {
        let mut table = FieldTable::default();
        for (key, value) in *arguments {
            table.insert((*key).into(), value.clone());
        }
        socketless::declare(&broker, name, table).await;
    }
    broker.committer().shutdown();
    store.after_kill()
}

/// Does the work again and again, each time with a power loss before or after another of the first `most` commits and
/// syncs, and checks every state that the disk may have afterwards. Returns the faults at which the power went.
pub(crate) async fn at_each_power_loss<W>(
    base: &FaultyStore,
    most: u64,
    work: impl AsyncFn(&Arc<FaultyStore>) -> W,
    check: impl AsyncFn(FaultyStore, &W, &str),
) -> Vec<Fault> {
    let mut reached = Vec::new();
    for fault in power_losses(most) {
        let store = with_fault(base, fault);
        let done = work(&store).await;
        for (at, survivor) in survivors(&store).into_iter().enumerate() {
            check(survivor, &done, &format!("{fault:?}, survivor {at}")).await;
        }
        if store.power_lost() {
            reached.push(fault);
        }
    }
    reached
}

/// Power losses before and after each of the first `most` commits and syncs.
fn power_losses(most: u64) -> impl Iterator<Item = Fault> {
    let calls = [Call::Append as fn(u64) -> Call, Call::Sync];
    let calls = calls.into_iter().flat_map(move |call| (1..=most).map(call));
    calls.flat_map(|at| {
        [When::Before, When::After].map(|when| Fault {
            at,
            when,
            what: What::PowerLoss,
        })
    })
}

/// A copy of a store that will fail.
fn with_fault(base: &FaultyStore, fault: Fault) -> Arc<FaultyStore> {
    let store = Arc::new(base.after_kill());
    store.add_fault(fault);
    store
}

/// A message whose body is its id.
pub(crate) fn message(id: u64) -> Arc<Message> {
    Arc::new(socketless::message("work", id.to_be_bytes().to_vec()))
}

/// Takes a message; `None` if there is none, or if the power goes while it is read.
pub(crate) async fn get(queue: &Queue, store: &FaultyStore) -> Option<Got> {
    let got = async {
        tokio::select! {
            got = queue.get(false) => got.expect("a queue"),
            () = until_power_goes(store) => None,
        }
    };
    tokio::time::timeout(PATIENCE, got)
        .await
        .expect("an answer")
}

/// Waits until the store has lost power.
pub(crate) async fn until_power_goes(store: &FaultyStore) {
    while !store.power_lost() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits until everything done so far is durable; returns false if the power goes first.
pub(crate) async fn flush(committer: &Arc<Committer>, store: &FaultyStore) -> bool {
    !store.power_lost() && durable(committer, store, Some(committer.append(Vec::new()))).await
}

/// Waits until the ticket is durable; returns false if the power goes first.
pub(crate) async fn durable(
    committer: &Arc<Committer>,
    store: &FaultyStore,
    ticket: Option<Ticket>,
) -> bool {
    let ticket = ticket.unwrap_or_default();
    let poll = async {
        while committer.durable() < ticket && !store.power_lost() {
            tokio::time::sleep(POLL_INTERVAL).await;
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

/// All states that a power loss at this moment may leave on disk, and that of a killed process.
fn survivors(store: &FaultyStore) -> Vec<FaultyStore> {
    let mut found: Vec<_> = (0..=store.unsynced())
        .map(|kept| store.after_power_loss(kept))
        .collect();
    found.push(store.after_kill());
    found
}
