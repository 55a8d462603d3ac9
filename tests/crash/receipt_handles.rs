//! Messages are received by handle and deleted on a store that loses power at its n-th commit or sync, for every n.
//! Whatever the disk holds then, a receipt handle that a client has still deletes its message, which no other consumer gets
//! meanwhile. Durably deleted messages stay deleted, no other is lost, and delayed messages stay delayed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use leveret::broker::queue::{Queue, ReceiptHandle};
use leveret::model::{Message, Ticket};
use leveret::store::faulty::FaultyStore;

use crate::power_loss::{
    at_each_power_loss, drain, durable, flush, id_of, message, open, prepare, queue,
};

const STEPS: u64 = 12;
const HOUR_MS: u64 = 3_600_000;

/// What happened to a message, with the ticket of each step.
#[derive(Debug, Default)]
struct Fate {
    published: Option<Ticket>,
    received: Option<(ReceiptHandle, Option<Ticket>)>,
    returned: bool,
    deleted: Option<Option<Ticket>>,
    /// Its delay is longer than this test.
    delayed: bool,
}

/// Publishes, receives, deletes and returns messages until all is done or the power is gone. Returns the fates and the
/// last durable ticket, which is what clients know.
async fn work(store: &Arc<FaultyStore>, name: &str) -> (BTreeMap<u64, Fate>, Ticket) {
    let broker = open(store.clone()).await;
    let work = queue(&broker, name);
    let committer = broker.committer();
    let mut fates = BTreeMap::<u64, Fate>::new();
    for step in 0..STEPS {
        let first = step * 4;
        let run: Vec<_> = (first..first + 3)
            .map(message)
            .chain([later(first + 3)])
            .collect();
        let ticket = work.publish(&run).ticket;
        for id in first..first + 4 {
            let fate = Fate {
                published: ticket,
                delayed: id == first + 3,
                ..Fate::default()
            };
            fates.insert(id, fate);
        }
        if !durable(committer, store, ticket).await {
            break;
        }
        // All messages are in memory, so the receive waits for nothing.
        let batch = work.receive(2, Duration::ZERO).await.expect("a queue");
        let ticket = batch.ticket;
        for received in &batch.messages {
            let fate = fates.get_mut(&id_of(&received.message)).expect("known");
            fate.received = Some((received.handle, ticket));
            fate.returned = step % 4 == 3;
        }
        if step % 4 == 3 {
            drop(batch);
            continue;
        }
        let received = batch.accept();
        if step % 2 == 0 && !durable(committer, store, ticket).await {
            break;
        }
        if let Some(received) = received.get(usize::try_from(step % 3).unwrap_or_default()) {
            let (valid, ticket) = work.delete_received(&[received.handle]);
            assert_eq!(valid, [true]);
            let fate = fates.get_mut(&id_of(&received.message)).expect("known");
            fate.deleted = Some(ticket);
        }
    }
    flush(committer, store).await;
    committer.shutdown();
    (fates, committer.durable())
}

/// A message with a delay that is longer than this test.
fn later(id: u64) -> Arc<Message> {
    Arc::new(Message {
        delay_ms: Some(HOUR_MS),
        ..Message::clone(&message(id))
    })
}

async fn check(
    survivor: FaultyStore,
    name: &str,
    fates: &BTreeMap<u64, Fate>,
    durable_up_to: Ticket,
    what: &str,
) {
    let broker = open(Arc::new(survivor)).await;
    let work: Arc<Queue> = queue(&broker, name);
    let ready = drain(&work).await;
    let known = |ticket: Option<Ticket>| ticket.is_some_and(|ticket| ticket <= durable_up_to);
    let delayed = fates.values().filter(|fate| fate.delayed);
    let confirmed = delayed.clone().filter(|fate| known(fate.published)).count() as u64;
    let delayed_count = work.counts().delayed;
    assert!(
        confirmed <= delayed_count && delayed_count <= delayed.count() as u64,
        "{what}: {delayed_count} delayed, {confirmed} confirmed"
    );
    for (id, fate) in fates {
        let about = || {
            format!(
                "{what}: message {id}, {fate:?}, durable_up_to {durable_up_to:?}, ready {ready:?}"
            )
        };
        let is_ready = ready.contains(id);
        if fate.delayed {
            assert!(!is_ready, "too early: {}", about());
            continue;
        }
        let handle = fate.received.map(|(handle, _)| handle);
        let by_handle = handle.is_some_and(|handle| work.delete_received(&[handle]).0 == [true]);
        assert!(!(is_ready && by_handle), "ready and leased: {}", about());
        if known(fate.published) && fate.deleted.is_none() {
            assert!(is_ready || by_handle, "lost: {}", about());
        }
        if let Some(ticket) = fate.deleted {
            assert!(
                !known(ticket) || !(is_ready || by_handle),
                "back after it was deleted: {}",
                about()
            );
        } else if let Some((_, ticket)) = fate.received
            && known(ticket)
            && !fate.returned
        {
            assert!(by_handle, "a handle is no longer valid: {}", about());
        }
    }
    assert_eq!(work.counts().unacked, 0, "{what}");
    broker.committer().shutdown();
}

#[tokio::test]
async fn a_receipt_handle_stays_valid_whenever_the_power_goes() {
    let base = prepare().await;
    for name in ["work", "quorum"] {
        let store = Arc::new(base.after_kill());
        let (fates, durable_up_to) = work(&store, name).await;
        check(
            store.after_power_loss(0),
            name,
            &fates,
            durable_up_to,
            "no failure",
        )
        .await;
        let reached = at_each_power_loss(
            &base,
            2 * STEPS,
            async |store| work(store, name).await,
            async |survivor, (fates, durable_up_to), what| {
                let what = format!("{name}, {what}");
                check(survivor, name, fates, *durable_up_to, &what).await;
            },
        )
        .await;
        let count = reached.len() as u64;
        assert!(count > STEPS, "the work reached only {count} power losses");
    }
}
