//! Receives: their order, how long receipt handles are valid, and the return of dropped batches.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::broker::queue::budget::MemoryBudget;
use crate::broker::queue::dead_letter::letter::DeadLetter;
use crate::broker::queue::dead_letter::line::Letters;
use crate::broker::queue::reading::threads::QueueThreads;
use crate::broker::queue::shell::{LetterRoutes, Queue, QueueGone, QueueOwner, QueueServices};
use crate::broker::queue::spec::QueueSpec;
use crate::broker::queue::timers::Timers;
use crate::broker::queue::work_queue::tests::rig::{body, long, message, text};
use crate::model::QueueId;
use crate::model::arguments::QueueArguments;
use crate::store::{Committer, Limits, MemoryStore};
use crate::wire::{AMQPValue, FieldTable, ShortString};

use super::receipt_handle::ReceiptHandle;
use super::received_batch::ReceivedBatch;
use super::waiting::RECEIVE_BYTES_MAX;

struct NoOwner;

impl QueueOwner for NoOwner {
    fn route_dead_letter(&self, _: &DeadLetter) -> LetterRoutes {
        LetterRoutes::default()
    }

    fn queue_unused(&self, _: &Arc<Queue>) {}

    fn queue_expired(&self, _: &Arc<Queue>) {}
}

fn queue(id: u64, arguments: &[(&str, AMQPValue)]) -> Arc<Queue> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert(ShortString::from(*name), value.clone());
    }
    let owner: Weak<dyn QueueOwner> = Weak::<NoOwner>::new();
    let services = QueueServices {
        committer: Committer::start(Arc::new(MemoryStore::new()), Limits::default())
            .expect("a committer"),
        timers: Timers::start(Arc::default()),
        clock: Arc::default(),
        budget: Arc::new(MemoryBudget::new(1 << 30)),
        threads: QueueThreads::new(),
        letters: Letters::start(),
        stats: Arc::default(),
        owner,
    };
    let spec = QueueSpec {
        id: QueueId(id),
        name: "q".into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: QueueArguments::shared(&table).expect("valid arguments"),
    };
    let queue = Queue::open(spec, services, Vec::new());
    queue.start();
    queue
}

fn bodies(batch: &ReceivedBatch) -> Vec<bytes::Bytes> {
    batch
        .messages
        .iter()
        .map(|received| body(&received.message))
        .collect()
}

/// Accepts a batch, and returns its bodies.
fn kept(batch: ReceivedBatch) -> Vec<bytes::Bytes> {
    let bodies = bodies(&batch);
    drop(batch.accept());
    bodies
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_receive_takes_ready_messages_and_its_handles_delete_them_once() {
    let queue = queue(1, &[]);
    queue.publish(&["a", "b", "c"].map(message));
    let batch = queue.receive(2, Duration::ZERO).await.expect("a queue");
    assert_eq!(bodies(&batch), ["a", "b"]);
    let received = batch.accept();
    assert!(received.iter().all(|received| received.count == 1));
    let handles: Vec<ReceiptHandle> = received.iter().map(|received| received.handle).collect();
    assert_eq!(queue.counts().unacked, 2);
    let (valid, _) = queue.delete_received(&handles[..1]);
    assert_eq!(valid, [true]);
    assert_eq!(queue.delete_received(&handles).0, [false, true]);
    assert_eq!((queue.counts().ready, queue.counts().unacked), (1, 0));
    let batch = queue.receive(16, LONG).await.expect("a queue");
    assert_eq!(bodies(&batch), ["c"]);
    drop(batch.accept());
    let batch = queue.receive(16, Duration::ZERO).await.expect("a queue");
    assert!(batch.messages.is_empty());
    let batch = queue
        .receive(16, Duration::from_millis(5))
        .await
        .expect("a queue");
    assert!(batch.messages.is_empty());
}

#[tokio::test]
async fn a_dropped_batch_goes_back_and_does_not_count() {
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", long(1)),
    ];
    let queue = queue(1, &arguments);
    queue.publish(&[message("a")]);
    let mut last = None;
    for _ in 0..5 {
        let batch = queue.receive(1, LONG).await.expect("a queue");
        assert_eq!(batch.messages[0].count, 1);
        // The receipt handles of a dropped batch are not valid.
        if let Some(before) = last.replace(batch.messages[0].handle) {
            assert_eq!(queue.delete_received(&[before]).0, [false]);
        }
        drop(batch);
        assert_eq!(queue.counts().ready, 1);
    }
}

#[tokio::test]
async fn a_receipt_handle_is_valid_until_its_lease_ends() {
    let queue = queue(1, &[("x-visibility-timeout", long(30))]);
    queue.publish(&[message("a")]);
    let first = queue.receive(1, LONG).await.expect("a queue").accept();
    // Returns when the first lease has ended.
    let second = queue.receive(1, LONG).await.expect("a queue").accept();
    assert_eq!(second[0].count, 2);
    assert_eq!(second[0].id, first[0].id);
    assert_eq!(second[0].first_received, first[0].first_received);
    assert!(second[0].visible > first[0].visible);
    assert_eq!(queue.delete_received(&[first[0].handle]).0, [false]);
    assert_eq!(queue.counts().unacked, 1);
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(queue.delete_received(&[second[0].handle]).0, [false]);
    assert_eq!(queue.counts().ready, 1);
}

#[tokio::test]
async fn waiting_receives_are_served_in_order_and_each_message_goes_to_one() {
    let queue = queue(1, &[]);
    let wait = |n: usize| {
        let queue = Arc::clone(&queue);
        async move { (n, queue.receive(1, LONG).await.map(kept)) }
    };
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..50 {
        waiting.spawn(wait(n));
        tokio::task::yield_now().await;
    }
    for n in 0..50 {
        queue.publish(&[message(&n.to_string())]);
    }
    while let Some(done) = waiting.join_next().await {
        let (n, bodies) = done.expect("no panic");
        assert_eq!(bodies.expect("a queue"), [n.to_string()]);
    }
    assert_eq!((queue.counts().ready, queue.counts().unacked), (0, 50));
}

#[tokio::test]
async fn a_receive_that_gives_up_loses_no_message() {
    let queue = queue(1, &[]);
    for _ in 0..3 {
        let waiting = queue.receive(1, LONG);
        assert!(
            tokio::time::timeout(Duration::from_millis(2), waiting)
                .await
                .is_err()
        );
    }
    queue.publish(&[message("a")]);
    assert_eq!(queue.counts().ready, 1);
    // A receive that has its answer is dropped before it is polled.
    let mut waiting = Box::pin(queue.receive(2, LONG));
    let batch = queue.receive(2, LONG).await.expect("a queue").accept();
    assert!(poll_once(&mut waiting).await.is_none());
    queue.publish(&["b", "c"].map(message));
    assert_eq!(queue.counts().ready, 0);
    drop(waiting);
    assert_eq!(queue.counts().ready, 2);
    assert_eq!(queue.delete_received(&[batch[0].handle]).0, [true]);
}

#[tokio::test]
async fn deleting_the_queue_ends_waiting_receives() {
    let queue = queue(1, &[]);
    let mut waiting = Box::pin(queue.receive(1, LONG));
    assert!(poll_once(&mut waiting).await.is_none());
    queue.delete(|_| true);
    assert_eq!(waiting.await.map(drop), Err(QueueGone));
    assert_eq!(queue.receive(1, LONG).await.map(drop), Err(QueueGone));
}

#[tokio::test]
async fn handles_of_another_queue_and_leases_of_connections_are_not_valid() {
    let (old, new) = (queue(1, &[]), queue(2, &[]));
    for queue in [&old, &new] {
        queue.publish(&[message("a")]);
    }
    let batch = old.receive(1, LONG).await.expect("a queue").accept();
    let got = new.get(false).await.expect("a queue").expect("a message");
    assert_eq!(new.delete_received(&[batch[0].handle]).0, [false]);
    let guessed = ReceiptHandle::new(QueueId(2), got.lease);
    assert_eq!(new.delete_received(&[guessed]).0, [false]);
    assert_eq!(new.counts().unacked, 1);
}

/// Polls once; `None` if it is not ready.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn the_bytes_of_one_receive_are_limited() {
    let queue = queue(1, &[]);
    let large = |bytes| message(&"x".repeat(bytes));
    queue.publish(&[
        large(RECEIVE_BYTES_MAX - 1),
        large(1),
        large(1),
        large(RECEIVE_BYTES_MAX + 1),
        large(1),
    ]);
    for expected in [2, 1, 1, 1] {
        let batch = queue.receive(16, LONG).await.expect("a queue");
        assert_eq!(batch.accept().len(), expected);
    }
}
