//! Writes a fixture: a data directory with definitions and messages of every kind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leveret::broker::broker::Broker;
use leveret::broker::exchange::Destination;
use leveret::broker::queue::{Acknowledgement, Queue};
use leveret::broker::session::{DeclareExchange, DeclareQueue, Session};
use leveret::broker::vhost::VhostMetadata;
use leveret::model::arguments::{Overflow, QueueKind};
use leveret::model::{Lease, Message, Origin, QueueOverrides};
use leveret::store::FjallOptions;
use leveret::wire::FieldTable;

use super::inventory::inventory;
use super::{PASSWORD, VHOST, open, queue};
use crate::support::{eventually, long, socketless, table, text};

/// Long after this test will last be run.
const NEVER_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes a new fixture"]
async fn write_fixture() {
    let Ok(root) = std::env::var("LEVERET_FIXTURE").map(PathBuf::from) else {
        panic!("LEVERET_FIXTURE names the directory to write");
    };
    assert!(!root.exists(), "a fixture is never changed");
    let dir = tempfile::tempdir().unwrap();
    // Small limits, so that the directory gets tables and several extents.
    let options = FjallOptions {
        msgs_memtable_bytes: 16 * 1024,
        state_memtable_bytes: 4 * 1024,
        extent_bytes: 64 * 1024,
        checkpoint_bytes: 256 * 1024,
        ..FjallOptions::default()
    };
    let broker = open(dir.path(), options).await;
    define(&broker).await;
    fill(&broker).await;
    eventually("a checkpoint", || has_tables(dir.path())).await;
    fill_journal(&broker).await;
    fill_what_format_2_added(&broker).await;
    broker.committer().shutdown();
    drop(broker);
    freeze(dir.path(), &root.join("data"));
    let broker = open(dir.path(), FjallOptions::default()).await;
    fs::write(root.join("inventory.txt"), inventory(&broker).await).unwrap();
    broker.committer().shutdown();
}

fn has_tables(dir: &Path) -> bool {
    let keyspaces = fs::read_dir(dir.join("db/keyspaces")).unwrap();
    keyspaces
        .filter_map(|entry| fs::read_dir(entry.unwrap().path().join("tables")).ok())
        .any(|tables| tables.count() > 1)
}

/// Copies a directory without the zeroes at the end of journals and of the log. Empty directories get a file `.keep`, since
/// git does not store them otherwise.
fn freeze(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut empty = true;
    for entry in fs::read_dir(from).unwrap() {
        empty = false;
        let (from, name) = {
            let entry = entry.unwrap();
            (entry.path(), entry.file_name())
        };
        if from.is_dir() {
            freeze(&from, &to.join(name));
            continue;
        }
        if name == "reserve" {
            continue; // 16 MiB of nothing, which each start makes
        }
        let mut bytes = fs::read(&from).unwrap();
        if from
            .extension()
            .is_some_and(|extension| extension == "jnl" || extension == "log")
        {
            let end = bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            bytes.truncate(end);
        }
        fs::write(to.join(name), bytes).unwrap();
    }
    if empty {
        fs::write(to.join(".keep"), "").unwrap();
    }
}

async fn define(broker: &Arc<Broker>) {
    let metadata = VhostMetadata {
        protected_from_deletion: false,
        description: "what is sold".to_owned(),
        tags: vec!["a".into(), "b".into()],
        default_queue_kind: Some(QueueKind::Quorum),
    };
    broker.add_vhost(VHOST, metadata).await.unwrap();
    let users = broker.users();
    users
        .add("alice", PASSWORD, vec!["monitoring".into()])
        .await
        .unwrap();
    users
        .set_limits("alice", |limits| limits.max_channels = Some(7))
        .await
        .unwrap();
    users
        .set_permissions("guest", VHOST, [".*"; 3])
        .await
        .unwrap();
    users
        .set_permissions("alice", VHOST, ["^a", "", ".*"])
        .await
        .unwrap();
    users
        .set_topic_permissions("alice", VHOST, "amq.topic", ["^x", "^y"])
        .await
        .unwrap();
    users.add("bob", PASSWORD, Vec::new()).await.unwrap();

    let session = session(broker);
    let exchanges = [
        (
            "prices",
            "topic",
            table(&[("alternate-exchange", text("rest"))]),
        ),
        ("rest", "fanout", FieldTable::default()),
        ("fields", "headers", FieldTable::default()),
        ("spread", "x-consistent-hash", FieldTable::default()),
        (
            "later",
            "x-delayed-message",
            table(&[("x-delayed-type", text("direct"))]),
        ),
    ];
    for (name, kind, arguments) in exchanges {
        let declare = DeclareExchange {
            name,
            kind,
            passive: false,
            durable: true,
            auto_delete: false,
            internal: name == "rest",
            arguments,
        };
        session.declare_exchange(declare).await.unwrap();
    }
    let classic = || ("x-queue-type", text("classic"));
    let queues = [
        (
            "orders",
            table(&[classic(), ("x-dead-letter-exchange", text("rest"))]),
        ),
        ("ranked", table(&[classic(), ("x-max-priority", long(5))])),
        (
            "safe",
            table(&[
                ("x-queue-type", text("quorum")),
                ("x-delivery-limit", long(9)),
            ]),
        ),
        ("waiting", table(&[classic()])),
        ("large", table(&[classic()])),
        ("events", table(&[("x-queue-type", text("stream"))])),
        ("kept", table(&[classic()])),
        ("handled", table(&[classic()])),
        (
            "empty",
            table(&[classic(), ("x-expires", long(i64::from(u32::MAX)))]),
        ),
    ];
    for (name, arguments) in queues {
        let declare = DeclareQueue {
            name,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: name == "waiting",
            arguments,
        };
        session.declare_queue(declare).await.unwrap();
    }
    let all = table(&[("x-match", text("all")), ("kind", text("big"))]);
    let none = FieldTable::default;
    session
        .bind(
            Destination::Queue("orders".into()),
            "prices",
            "eu.#",
            none(),
        )
        .await
        .unwrap();
    session
        .bind(
            Destination::Queue("orders".into()),
            "prices",
            "us.*",
            none(),
        )
        .await
        .unwrap();
    session
        .bind(Destination::Queue("safe".into()), "fields", "", all)
        .await
        .unwrap();
    session
        .bind(Destination::Queue("large".into()), "spread", "3", none())
        .await
        .unwrap();
    session
        .bind(Destination::Queue("waiting".into()), "later", "w", none())
        .await
        .unwrap();
    session
        .bind(
            Destination::Exchange("spread".into()),
            "prices",
            "asia.#",
            none(),
        )
        .await
        .unwrap();
}

fn session(broker: &Arc<Broker>) -> Session {
    let vhost = broker.vhost(VHOST).unwrap();
    let user = broker.users().get("guest").unwrap();
    let connection = broker.next_connection();
    Session::new(
        Arc::clone(broker),
        vhost,
        Arc::new(user.logged_in()),
        connection,
    )
}

/// A message whose number determines its body and length.
fn message(queue: &str, number: usize, priority: u8, delay_ms: Option<u64>) -> Arc<Message> {
    let mut body = format!("{queue} {number:09}").into_bytes();
    body.extend((0..number % 700).map(|n| b'a' + u8::try_from(n % 26).unwrap()));
    sized(queue, body, priority, delay_ms)
}

fn sized(queue: &str, body: Vec<u8>, priority: u8, delay_ms: Option<u64>) -> Arc<Message> {
    let (exchange, key) = if queue == "orders" {
        ("prices", "eu.wool")
    } else {
        ("", queue)
    };
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: exchange.into(),
            routing_key: key.into(),
        }),
        properties: Bytes::from(vec![0x18, 0, 2, priority]), // delivery-mode and priority
        priority,
        expiration_ms: (queue == "safe").then_some(NEVER_MS),
        delay_ms,
        ..socketless::message(key, body)
    })
}

async fn fill(broker: &Arc<Broker>) {
    let (orders, ranked) = (queue(broker, "orders"), queue(broker, "ranked"));
    for number in 0..120 {
        orders.publish(&[message("orders", number, 0, None)]);
        if number % 4 == 0 {
            let priority = u8::try_from(number % 7).unwrap();
            ranked.publish(&[message("ranked", number, priority, None)]);
        }
        if number % 10 == 0 {
            flush(broker).await; // a chunk each
        }
    }
    // Of the first fifty, the first ten and every third are acked; the others stay unacked.
    let taken = take(&orders, 50).await;
    let acked = (0..).zip(taken).filter(|(n, _)| *n < 10 || n % 3 == 0);
    let acked: Vec<_> = acked.map(|(_, id)| id).collect();
    socketless::ack(&orders, &acked);
    let large = queue(broker, "large");
    large.publish(&[sized("large", vec![b'L'; 70_000], 0, None)]); // larger than a chunk
    flush(broker).await;
}

/// Writes what stays in the journal.
async fn fill_journal(broker: &Arc<Broker>) {
    let safe = queue(broker, "safe");
    let run: Vec<_> = (0..6).map(|n| message("safe", n, 0, None)).collect();
    safe.publish(&run);
    // Message 0 is requeued twice, 1 once; 2 is acked; 3 was delivered.
    for count in [2, 1] {
        let taken = take(&safe, count).await;
        safe.acknowledge(Acknowledgement::Requeue, &taken, &[]);
    }
    let taken = take(&safe, 4).await;
    socketless::ack(&safe, &taken[2..3]);
    let waiting = queue(broker, "waiting");
    waiting.publish(&[
        message("waiting", 1, 0, Some(NEVER_MS)),
        message("waiting", 2, 0, Some(1500)),
    ]);
    waiting.publish(&[message("waiting", 3, 0, None)]);
    flush(broker).await;
}

/// Writes what format 1 did not have: a stream, history, leases by handle, and overrides.
async fn fill_what_format_2_added(broker: &Arc<Broker>) {
    let [events, kept, handled] = ["events", "kept", "handled"].map(|name| queue(broker, name));
    let keep = QueueOverrides {
        rewind_ms: Some(NEVER_MS),
        ..QueueOverrides::default()
    };
    let lease = QueueOverrides {
        visibility_timeout_ms: Some(NEVER_MS),
        max_length: Some(1000),
        overflow: Some(Overflow::RejectPublish),
        ..QueueOverrides::default()
    };
    let vhost = broker.vhost(VHOST).unwrap();
    vhost.set_queue_overrides("kept", keep).await.unwrap();
    vhost.set_queue_overrides("handled", lease).await.unwrap();
    for number in 0..40 {
        events.publish(&[message("events", number, 0, None)]);
        kept.publish(&[message("kept", number, 0, None)]);
        handled.publish(&[message("handled", number, 0, None)]);
        if number % 8 == 0 {
            flush(broker).await;
        }
    }
    let taken = take(&kept, 20).await;
    socketless::ack(&kept, &taken[..15]);
    let batch = handled.receive(10, Duration::ZERO).await.unwrap();
    let received: Vec<_> = batch
        .accept()
        .into_iter()
        .map(|message| message.handle)
        .collect();
    flush(broker).await;
    let (deleted, _) = handled.delete_received(&received[2..5]);
    assert_eq!(deleted, [true; 3]);
    flush(broker).await;
}

async fn take(queue: &Queue, count: usize) -> Vec<Lease> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(queue.get(false).await.unwrap().unwrap().lease);
    }
    taken
}

async fn flush(broker: &Arc<Broker>) {
    let committer = broker.committer();
    committer.wait(committer.append(Vec::new())).await.unwrap();
}
