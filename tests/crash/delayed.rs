//! Delayed messages on a store that loses power at its n-th commit or sync, for every n. They are more than fit into memory
//! and due in random order, so that the queue writes them again in order; some become due meanwhile. Whatever the disk
//! holds then, no confirmed message is lost and none is there twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::model::{Message, Ticket};
use leveret::store::Store;
use leveret::store::faulty::FaultyStore;

use crate::power_loss::{
    at_each_power_loss, drain, durable, flush, message, open_with, prepare, queue,
};

const STEPS: u64 = 14;
/// Messages of a step; a few steps publish more than fit into memory.
const RUN: u64 = 40;
/// So little that each queue gets only its minimum.
const MEMORY_BYTES: u64 = 1;

async fn open(store: Arc<FaultyStore>) -> Arc<Broker> {
    let config = BrokerConfig {
        memory_bytes: MEMORY_BYTES,
        ..BrokerConfig::default()
    };
    open_with(store, config).await
}

/// One of eight is due within milliseconds; the others after this test.
fn delayed(id: u64) -> Arc<Message> {
    let delay_ms = match id % 8 {
        0 => 1 + id % 5,
        _ => 3_600_000 + id * 7_919 % 100_000,
    };
    Arc::new(Message {
        delay_ms: Some(delay_ms),
        ..Message::clone(&message(id))
    })
}

/// Publishes until all is done or the power is gone. Returns the numbers of messages published, confirmed, and in the queue
/// at the end.
async fn work(store: &Arc<FaultyStore>, name: &str) -> (u64, u64, u64) {
    let broker = open(store.clone()).await;
    let work = queue(&broker, name);
    let committer = broker.committer();
    let mut tickets = Vec::new();
    for step in 0..STEPS {
        let run: Vec<_> = (step * RUN..(step + 1) * RUN).map(delayed).collect();
        let ticket = work.publish(&run).ticket;
        tickets.push(ticket);
        if !durable(committer, store, ticket).await {
            break;
        }
    }
    flush(committer, store).await;
    let counts = work.counts();
    committer.shutdown();
    let durable_up_to = committer.durable();
    let known = |ticket: &&Option<Ticket>| ticket.is_some_and(|ticket| ticket <= durable_up_to);
    let confirmed = tickets.iter().filter(known).count() as u64;
    let published = tickets.len() as u64;
    (
        published * RUN,
        confirmed * RUN,
        counts.ready + counts.delayed,
    )
}

/// What a new broker finds: the number of messages, and the ids of the ready ones.
async fn found(store: FaultyStore, name: &str) -> (u64, Vec<u64>) {
    let broker = open(Arc::new(store)).await;
    let work = queue(&broker, name);
    let counts = work.counts();
    let ready = drain(&work).await;
    broker.committer().shutdown();
    (counts.ready + counts.delayed, ready)
}

#[tokio::test]
async fn delayed_messages_survive_once_whenever_the_power_goes() {
    let base = prepare().await;
    for name in ["work", "quorum"] {
        let store = Arc::new(base.after_kill());
        let (published, confirmed, left) = work(&store, name).await;
        assert_eq!(
            (published, confirmed, left),
            (STEPS * RUN, published, published)
        );
        let logs = store.logs().expect("in memory");
        let mut logs = logs.iter().filter(|(log, _)| log.is_delayed());
        let written = logs.next().map(|(_, state)| state.record.next);
        assert!(written > Some(published), "none was written again");
        assert_eq!(found(store.after_kill(), name).await.0, published);
        let reached = at_each_power_loss(
            &base,
            2 * STEPS,
            async |store| work(store, name).await,
            async |survivor, (published, confirmed, _), what| {
                let (there, ready) = found(survivor, name).await;
                assert!(
                    (*confirmed..=*published).contains(&there),
                    "{name}, {what}: {there} of {confirmed} to {published}"
                );
                let once: BTreeSet<_> = ready.iter().filter(|id| *id % 8 == 0).collect();
                assert_eq!(once.len(), ready.len(), "{name}, {what}: {ready:?}");
            },
        )
        .await;
        let count = reached.len() as u64;
        assert!(count > STEPS, "the work reached only {count} power losses");
    }
}
