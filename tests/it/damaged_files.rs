//! A disk that does not return all that was written: queues deliver the rest and count what is missing.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::queue::{Queue, RewindTo};
use leveret::model::Message;
use leveret::wire::AMQPValue;

use crate::support::socketless::{ack, declare, message, number_of, numbered_body, publish, queue};
use crate::support::{PATIENCE, eventually_eq, socketless, table};

pub(crate) const QUEUE: &str = "jobs";
/// Three messages are in a chunk.
const BODY: usize = 20_000;
const BATCH: u64 = 10;
pub(crate) const MESSAGES: u64 = 30;
/// This message lies in the chunk that is damaged.
const DAMAGED: u64 = 12;

async fn open(dir: &Path) -> Arc<Broker> {
    socketless::open_on_disk(dir, BrokerConfig::default()).await
}

pub(crate) fn numbered(number: u64) -> Message {
    message(QUEUE, numbered_body(number, BODY))
}

fn delayed(number: u64, delay_ms: u64) -> Message {
    Message {
        delay_ms: Some(delay_ms),
        ..numbered(number)
    }
}

/// Fills a directory with messages in three batches.
pub(crate) async fn fill(dir: &Path, message: impl Fn(u64) -> Message) {
    let broker = open(dir).await;
    let arguments = table(&[("x-rewind-seconds", AMQPValue::LongInt(3600))]);
    let jobs = declare(&broker, QUEUE, arguments).await;
    for first in (0..MESSAGES).step_by(10) {
        let batch = (first..first + BATCH).map(&message).collect();
        publish(&broker, &jobs, batch).await;
    }
    broker.committer().shutdown();
}

fn damage_chunk(dir: &Path) {
    damage_message(dir, DAMAGED);
}

/// Damages each copy of a message on disk, found by its body.
pub(crate) fn damage_message(dir: &Path, number: u64) {
    let start_of_body = numbered_body(number, 100);
    let mut found = 0;
    for entry in fs::read_dir(dir.join("log")).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        for at in memchr::memmem::find_iter(&content, &start_of_body) {
            file.write_all_at(b"damage", at as u64 + 50).unwrap();
            found += 1;
        }
    }
    assert!(found > 0, "message {number} is not in the log");
}

/// Takes and acks a message; returns its number.
async fn get(queue: &Queue) -> Option<u64> {
    let got = tokio::time::timeout(PATIENCE, queue.get(false)).await;
    let got = got.expect("an answer in time").unwrap()?;
    ack(queue, &[got.lease]);
    Some(number_of(&got.message))
}

pub(crate) async fn drain(queue: &Queue) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(number) = get(queue).await {
        numbers.push(number);
    }
    numbers
}

/// The one range of offsets that the queue reports as lost.
fn lost(queue: &Queue) -> Range<u64> {
    let lost = queue.lost();
    assert_eq!(lost.len(), 1, "{lost:?}");
    assert_eq!(lost[0].1.len(), 1, "{lost:?}");
    lost[0].1[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_delivers_everything_but_a_damaged_chunk_which_stays_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), numbered).await;
    damage_chunk(dir.path());
    let broker = open(dir.path()).await;
    let jobs = queue(&broker, QUEUE);
    let delivered = drain(&jobs).await;
    let lost_offsets = lost(&jobs);
    let damaged = lost_offsets.end - lost_offsets.start;
    assert!(
        lost_offsets.contains(&DAMAGED) && damaged < BATCH,
        "{lost_offsets:?}"
    );
    let intact: Vec<u64> = (0..MESSAGES)
        .filter(|number| !lost_offsets.contains(number))
        .collect();
    assert_eq!(delivered, intact);
    let counts = jobs.counts();
    assert_eq!(
        (counts.ready, counts.unacked, counts.damaged),
        (0, 0, damaged)
    );
    // A rewind passes over the damage.
    let rewound = jobs.rewind(RewindTo::Offset(2)).await.unwrap();
    assert_eq!(rewound.messages, MESSAGES - damaged - 2);
    assert_eq!(drain(&jobs).await, intact[2..]);
    jobs.publish(&[100, 101].map(|number| Arc::new(numbered(number))));
    let (purged, ticket) = jobs.purge();
    assert_eq!(purged, 2);
    socketless::durable(&broker, ticket).await;
    assert_eq!(jobs.counts().damaged, damaged);
    broker.committer().shutdown();
    drop(jobs);
    drop(broker);
    // Nothing of the chunk was removed: the next start finds it, and fails to read it again.
    let broker = open(dir.path()).await;
    let jobs = queue(&broker, QUEUE);
    assert_eq!(jobs.counts().ready, damaged);
    assert_eq!(get(&jobs).await, None);
    assert_eq!(lost(&jobs), lost_offsets);
    broker.committer().shutdown();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target)), // a table may be gone meanwhile
        }
    }
}

/// Zeroes the entries of the log with these messages, the copies of their heads included.
fn wipe_entries(dir: &Path, first: u64, last: u64) {
    const PAGE: u64 = 4096;
    for entry in fs::read_dir(dir.join("log")).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        let place = |number| memchr::memmem::find(&content, &numbered_body(number, 100));
        let (Some(from), Some(to)) = (place(first), place(last)) else {
            continue;
        };
        // The head may have a page of its own.
        let from = (from as u64 / PAGE).saturating_sub(1) * PAGE;
        let to = (to as u64 + BODY as u64 + 1000).next_multiple_of(PAGE);
        let zeros = vec![0; usize::try_from(to - from).unwrap()];
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        return file.write_all_at(&zeros, from).unwrap();
    }
    panic!("messages {first} and {last} are not in one file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_knows_at_the_start_what_went_with_damaged_entries() {
    let (dir, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = open(dir.path()).await;
    let jobs = declare(&broker, QUEUE, table(&[])).await;
    for first in (0..MESSAGES).step_by(10) {
        let batch = (first..first + BATCH).map(numbered).collect();
        publish(&broker, &jobs, batch).await;
        // An entry of its own, which may be damaged too.
        declare(&broker, &format!("other {first}"), table(&[])).await;
    }
    copy_dir(dir.path(), image.path()); // as a kill leaves it
    broker.committer().shutdown();
    wipe_entries(image.path(), BATCH, 2 * BATCH - 1);
    let broker = open(image.path()).await;
    let jobs = queue(&broker, QUEUE);
    let counts = jobs.counts();
    assert_eq!((counts.ready, counts.damaged), (MESSAGES - BATCH, BATCH));
    assert_eq!(lost(&jobs), BATCH..2 * BATCH);
    let intact: Vec<u64> = (0..BATCH).chain(2 * BATCH..MESSAGES).collect();
    assert_eq!(drain(&jobs).await, intact);
    broker.committer().shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_whose_extents_are_missing_accepts_and_delivers_new_messages() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), numbered).await;
    for file in fs::read_dir(dir.path().join("log")).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let broker = open(dir.path()).await;
    let jobs = queue(&broker, QUEUE);
    assert_eq!(get(&jobs).await, None);
    assert_eq!(jobs.counts().damaged, MESSAGES);
    publish(&broker, &jobs, vec![numbered(40)]).await;
    assert_eq!(get(&jobs).await, Some(40));
    broker.committer().shutdown();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_of_delayed_messages_delays_no_others() {
    const DELAY_MS: u64 = 4000;
    const DAMAGED: u64 = 9;
    const LAST: u64 = 19;
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), |number| delayed(number, 1)).await;
    let broker = open(dir.path()).await;
    let jobs = queue(&broker, QUEUE);
    eventually_eq("all are due", MESSAGES, || jobs.counts().ready).await;
    jobs.purge();
    for first in [0, BATCH] {
        let batch = (first..first + BATCH).map(|number| delayed(number, DELAY_MS));
        publish(&broker, &jobs, batch.collect()).await;
    }
    broker.committer().shutdown();
    drop(jobs);
    drop(broker);
    damage_message(dir.path(), DAMAGED);
    let broker = open(dir.path()).await;
    let jobs = queue(&broker, QUEUE);
    let mut numbers = Vec::new();
    let all_due = async {
        while !numbers.contains(&LAST) {
            numbers.extend(get(&jobs).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, all_due).await;
    assert!(came.is_ok(), "{numbers:?}");
    let counts = jobs.counts();
    let intact = numbers.len() as u64;
    assert_eq!((counts.delayed, counts.damaged), (0, 2 * BATCH - intact));
    assert!(
        !numbers.contains(&DAMAGED) && intact >= BATCH,
        "{numbers:?}"
    );
    broker.committer().shutdown();
}
