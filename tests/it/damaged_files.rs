//! A broker whose disk does not give back all that was written: the queues go on with the rest and say what is missing.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use leveret::broker::queue::{Queue, RewindTo, Settle};
use leveret::broker::session::DeclareQueue;
use leveret::model::{Body, Message, Origin};
use leveret::store::{Committer, FjallOptions, FjallStore, Limits, StoreError};
use leveret::wire::{AMQPValue, FieldTable};

use crate::support::PATIENCE;

/// Large enough for extents when ten come at once; three are a chunk.
const BODY: usize = 20_000;
const MESSAGES: u64 = 30;

async fn open(dir: &Path) -> Arc<Broker> {
    let deadline = Instant::now() + PATIENCE;
    let store = loop {
        match FjallStore::open(dir, FjallOptions::default()) {
            // Tasks of the broker that was there before may end a little later than it.
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => {}
            opened => break opened.unwrap(),
        }
    };
    let committer = Committer::start(Arc::new(store), Limits::default()).unwrap();
    Broker::open(committer, BrokerConfig::default())
        .await
        .unwrap()
}

fn queue(broker: &Arc<Broker>) -> Arc<Queue> {
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    vhost.queue("jobs").unwrap()
}

fn message(number: u64, delay_ms: Option<u64>) -> Arc<Message> {
    let mut body = vec![b'.'; BODY];
    body[..8].copy_from_slice(&number.to_be_bytes());
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "jobs".into(),
        }),
        properties: Bytes::from_static(b"\x10\x00\x02"), // delivery-mode 2
        body: Body::Whole(body.into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms,
        dead_lettered: false,
        failures: 0,
    })
}

fn number_of(message: &Message) -> u64 {
    let body = message.body.slices().concat();
    u64::from_be_bytes(body[..8].try_into().unwrap())
}

/// A directory with messages in its queue, in three batches.
async fn filled(dir: &Path, delay_ms: Option<u64>) {
    let broker = open(dir).await;
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let user = broker.users().get(DEFAULT_USER).unwrap();
    let session = broker.session(vhost, user, broker.next_connection());
    let mut arguments = FieldTable::default();
    arguments.insert("x-rewind-seconds".into(), AMQPValue::LongInt(3600));
    let declare = DeclareQueue {
        name: "jobs",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
    };
    session.declare_queue(declare).await.unwrap();
    drop(session);
    for first in (0..MESSAGES).step_by(10) {
        let run: Vec<_> = (first..first + 10)
            .map(|number| message(number, delay_ms))
            .collect();
        let ticket = queue(&broker).publish(&run).ticket.unwrap();
        broker.committer().wait(ticket).await.unwrap();
    }
    broker.committer().shutdown();
}

/// Harms the chunk that message 12 lies in.
fn harm(dir: &Path) {
    let path = dir.join("extents/0.ext");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let at = 12 * BODY as u64 + 5000;
    file.write_all_at(b"damage", at).unwrap();
}

async fn get(queue: &Queue) -> Option<u64> {
    let got = tokio::time::timeout(PATIENCE, queue.get(false)).await;
    let got = got.expect("an answer in time").unwrap()?;
    queue.settle(Settle::Ack, &[got.lease], &[]);
    Some(number_of(&got.message))
}

async fn drained(queue: &Queue) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(number) = get(queue).await {
        numbers.push(number);
    }
    numbers
}

/// The offsets that the queue says are lost; there is one stretch of them.
fn lost(queue: &Queue) -> Range<u64> {
    let lost = queue.lost();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].1.len(), 1, "{lost:?}");
    lost[0].1[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_goes_on_behind_a_damaged_chunk() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), None).await;
    harm(dir.path());
    let broker = open(dir.path()).await;
    let jobs = queue(&broker);
    let numbers = drained(&jobs).await;
    let lost_offsets = lost(&jobs);
    assert!(lost_offsets.contains(&12) && lost_offsets.end - lost_offsets.start < 10);
    let whole: Vec<u64> = (0..MESSAGES)
        .filter(|n| !lost_offsets.contains(n))
        .collect();
    assert_eq!(numbers, whole);
    let damaged = lost_offsets.end - lost_offsets.start;
    let counts = jobs.counts();
    assert_eq!(
        (counts.ready, counts.unacked, counts.damaged),
        (0, 0, damaged)
    );
    // What was acked comes back by a rewind, over the damage.
    let rewound = jobs.rewind(RewindTo::Offset(2)).await.unwrap();
    assert_eq!(rewound.messages, MESSAGES - damaged - 2);
    assert_eq!(drained(&jobs).await, whole[2..]);
    let run = [message(100, None), message(101, None)];
    jobs.publish(&run);
    let (purged, ticket) = jobs.purge();
    assert_eq!(purged, 2);
    broker.committer().wait(ticket.unwrap()).await.unwrap();
    assert_eq!(jobs.counts().damaged, damaged);
    broker.committer().shutdown();
    drop(jobs);
    drop(broker);
    // Nothing of it was removed: the next start finds it, and cannot read it again.
    let broker = open(dir.path()).await;
    let jobs = queue(&broker);
    assert_eq!(jobs.counts().ready, damaged);
    assert_eq!(get(&jobs).await, None);
    assert_eq!(lost(&jobs), lost_offsets);
    broker.committer().shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_extents_end_neither_gets_nor_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), None).await;
    fs::remove_dir_all(dir.path().join("extents")).unwrap();
    let broker = open(dir.path()).await;
    let jobs = queue(&broker);
    assert_eq!(get(&jobs).await, None);
    assert_eq!(jobs.counts().damaged, MESSAGES);
    let ticket = jobs.publish(&[message(40, None)]).ticket.unwrap();
    broker.committer().wait(ticket).await.unwrap();
    assert_eq!(get(&jobs).await, Some(40));
    broker.committer().shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_of_delayed_messages_holds_up_no_others() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), Some(1)).await;
    let broker = open(dir.path()).await;
    // These are due already: others, which are not, take their place.
    let jobs = queue(&broker);
    let deadline = Instant::now() + PATIENCE;
    while jobs.counts().ready < MESSAGES {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    jobs.purge();
    let run: Vec<_> = (0..10).map(|number| message(number, Some(4000))).collect();
    let ticket = jobs.publish(&run).ticket.unwrap();
    broker.committer().wait(ticket).await.unwrap();
    let run: Vec<_> = (10..20).map(|number| message(number, Some(4000))).collect();
    let ticket = jobs.publish(&run).ticket.unwrap();
    broker.committer().wait(ticket).await.unwrap();
    broker.committer().shutdown();
    drop(jobs);
    drop(broker);
    // The bodies say where they lie: the last of the first ten.
    let path = dir.path().join("extents");
    let mut hurt = 0;
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap().path();
        let content = fs::read(&entry).unwrap();
        let mut body = 9u64.to_be_bytes().to_vec();
        body.extend([b'.'; 100]);
        for at in memchr::memmem::find_iter(&content, &body) {
            let file = fs::OpenOptions::new().write(true).open(&entry).unwrap();
            file.write_all_at(b"damage", at as u64 + 50).unwrap();
            hurt += 1;
        }
    }
    assert!(hurt > 0);
    let broker = open(dir.path()).await;
    let jobs = queue(&broker);
    let deadline = Instant::now() + PATIENCE;
    let mut numbers = Vec::new();
    while !numbers.contains(&19) {
        assert!(Instant::now() < deadline, "{numbers:?}");
        numbers.extend(get(&jobs).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let counts = jobs.counts();
    let kept = numbers.len() as u64;
    assert_eq!((counts.delayed, counts.damaged), (0, 20 - kept));
    assert!(!numbers.contains(&9) && kept >= 10, "{numbers:?}");
    broker.committer().shutdown();
}
