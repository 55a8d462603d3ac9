//! Publishes, acks, rejects and transactions on a store that loses power at its n-th commit or sync, for every n. Whatever
//! the disk holds then, a broker opened on it must have every message that was confirmed and not settled, none that was
//! durably settled, nothing else, and in order. A transaction or a dead letter happens completely or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leveret::broker::queue::Acknowledgement;
use leveret::model::Ticket;
use leveret::store::faulty::FaultyStore;

use crate::power_loss::{
    at_each_power_loss, drain, durable, flush, get, id_of, message, open, prepare, queue,
};

const STEPS: u64 = 24;

/// What happened to a message, with the ticket of each step.
#[derive(Debug, Default)]
struct Fate {
    published: Option<Ticket>,
    /// Published to `other` in the same transaction.
    twin: bool,
    acked: Option<Option<Ticket>>,
    rejected: Option<Option<Ticket>>,
}

/// Works until all steps are done or the power is gone. Returns the fates and the last durable ticket, which is what
/// clients know.
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
                0 | 1 => {
                    fate.acked = Some(work.acknowledge(Acknowledgement::Ack, &[got.lease], &[]))
                }
                2 => {
                    fate.rejected =
                        Some(work.acknowledge(Acknowledgement::Reject, &[got.lease], &[]))
                }
                3 => drop(work.acknowledge(Acknowledgement::Requeue, &[got.lease], &[])),
                _ => {} // stays unacked
            }
        }
        if step % 3 == 0 && !flush(committer, store).await {
            break;
        }
    }
    flush(committer, store).await;
    committer.shutdown();
    (fates, committer.durable())
}

/// Checks what a new broker finds. Clients know of everything up to `durable_up_to`.
async fn check(
    survivor: FaultyStore,
    fates: &BTreeMap<u64, Fate>,
    durable_up_to: Ticket,
    what: &str,
) {
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
    let known = |ticket: Option<Ticket>| ticket.is_some_and(|ticket| ticket <= durable_up_to);
    for (id, fate) in fates {
        let (in_work, in_dead, in_other) =
            (work.contains(id), dead.contains(id), other.contains(id));
        let about = || format!("message {id}, {fate:?}, durable_up_to {durable_up_to:?}; {seen}");
        let confirmed = known(fate.published);
        match (fate.acked, fate.rejected) {
            (None, None) => {
                assert!(in_work || !confirmed, "lost: {}", about());
                assert!(!in_dead, "dead-lettered without a reject: {}", about());
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

#[tokio::test]
async fn confirmed_messages_survive_and_settled_ones_stay_away_whenever_the_power_goes() {
    let base = prepare().await;
    let store = Arc::new(base.after_kill());
    let (fates, durable_up_to) = work(&store).await;
    assert!(
        fates
            .values()
            .all(|fate| fate.published.is_none_or(|ticket| ticket <= durable_up_to))
    );
    check(
        store.after_power_loss(0),
        &fates,
        durable_up_to,
        "no failure",
    )
    .await;

    let reached = at_each_power_loss(
        &base,
        8 + 2 * STEPS,
        async |store| work(store).await,
        async |survivor, (fates, durable_up_to), what| {
            check(survivor, fates, *durable_up_to, what).await;
        },
    )
    .await;
    let count = reached.len() as u64;
    assert!(count > STEPS, "the work reached only {count} power losses");
}
