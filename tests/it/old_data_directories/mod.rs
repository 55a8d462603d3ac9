//! A data directory that an earlier build has written, opened with this one: everything in it is there, and nothing
//! else. What lies in `tests/fixtures` is never changed; a new format gets a new fixture beside the others, written by
//! `LEVERET_FIXTURE=tests/fixtures/data-v3 cargo test --test it old_data_directories::write -- --ignored`.
//!
//! A fixture holds the directory's files, journals without the zeroes at their end, and `inventory.txt`: what was in it
//! when it was written, in the words of [`inventory`]. Look through a new one by eye.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::exchange::Destination;
use leveret::broker::queue::{Queue, RewindTo, Settle};
use leveret::broker::session::{DeclareExchange, DeclareQueue, Session};
use leveret::broker::vhost::{Vhost, VhostMetadata};
use leveret::model::arguments::{Overflow, QueueKind};
use leveret::model::{Body, Lease, Message, Origin, QueueOverrides};
use leveret::store::{Committer, FjallOptions, FjallStore, Limits};
use leveret::wire::{AMQPValue, FieldTable};

const FIXTURES: &str = "tests/fixtures";
const PASSWORD: &[u8] = b"mint and thyme";
/// Long after anyone will look.
const NEVER_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

async fn open(dir: &Path, options: FjallOptions) -> Arc<Broker> {
    let store = FjallStore::open(dir, options).unwrap();
    let committer = Committer::start(Arc::new(store), Limits::default()).unwrap();
    Broker::open(committer, BrokerConfig::default())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_written_in_format_1_is_read() {
    is_read("data-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_written_in_format_2_is_read() {
    is_read("data-v2").await;
}

async fn is_read(fixture: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = [env!("CARGO_MANIFEST_DIR"), FIXTURES, fixture];
    let root: PathBuf = root.iter().collect();
    copy(&root.join("data"), dir.path());
    let broker = open(dir.path(), FjallOptions::default()).await;
    let found = inventory(&broker).await;
    let expected = fs::read_to_string(root.join("inventory.txt")).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count());
    broker
        .users()
        .authenticate("alice", PASSWORD)
        .await
        .unwrap();
    broker
        .users()
        .authenticate("alice", b"no")
        .await
        .unwrap_err();

    // And it goes on from there.
    let queue = queue(&broker, "shop", "orders");
    let published = queue.publish(&[message("orders", 10_000, 0, None)]);
    let ticket = published.ticket.unwrap();
    broker.committer().wait(ticket).await.unwrap();
    broker.committer().shutdown();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_name() != ".keep" {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn queue(broker: &Arc<Broker>, vhost: &str, name: &str) -> Arc<Queue> {
    broker.vhost(vhost).unwrap().queue(name).unwrap()
}

/// Everything that a broker has, one line each. Takes the messages, but settles none.
async fn inventory(broker: &Arc<Broker>) -> String {
    // One of its delayed messages was due long ago, or is soon.
    let waiting = queue(broker, "shop", "waiting");
    eventually("a delayed message", || waiting.counts().ready == 2).await;
    let mut lines = Vec::new();
    for user in broker.users().list() {
        lines.push(format!(
            "user {} {:?} {:?}",
            user.name, user.tags, user.limits
        ));
    }
    broker.users().with_permissions(|table| {
        for (user, vhost, grant) in table.grants() {
            let (configure, write, read) = (
                grant.configure.text(),
                grant.write.text(),
                grant.read.text(),
            );
            lines.push(format!(
                "permission {user} {vhost} '{configure}' '{write}' '{read}'"
            ));
        }
        for (user, vhost, exchange, topic) in table.topics() {
            let (write, read) = (topic.write(), topic.read());
            lines.push(format!(
                "topic permission {user} {vhost} {exchange} {write} {read}"
            ));
        }
    });
    for vhost in broker.vhost_list() {
        definitions(&vhost, &mut lines);
    }
    lines.sort();
    for vhost in broker.vhost_list() {
        let mut queues = vhost.queues();
        queues.sort_by(|a, b| a.name().cmp(b.name()));
        for queue in queues {
            messages(&queue, &mut lines).await;
        }
    }
    lines.join("\n") + "\n"
}

fn definitions(vhost: &Vhost, lines: &mut Vec<String>) {
    let name = vhost.name();
    let metadata = vhost.metadata();
    lines.push(format!(
        "vhost {name} {:?} {:?} {:?}",
        metadata.description, metadata.tags, metadata.default_queue_kind
    ));
    for e in vhost.exchanges() {
        lines.push(format!(
            "exchange {name} '{}' {:?} durable {} auto-delete {} internal {} {:?}",
            e.name, e.kind, e.durable, e.auto_delete, e.internal, e.arguments
        ));
    }
    for b in vhost.bindings() {
        lines.push(format!(
            "binding {name} '{}' {:?} '{}' {:?}",
            b.source, b.destination, b.routing_key, b.arguments
        ));
    }
    for queue in vhost.queues() {
        let spec = queue.spec();
        if !queue.overrides().is_empty() {
            let overrides = serde_json::to_string(&queue.overrides()).unwrap();
            lines.push(format!("overrides {name} {} {overrides}", spec.name));
        }
        let arguments = &spec.arguments.raw;
        lines.push(format!(
            "queue {name} {} durable {} auto-delete {} {arguments:?}",
            spec.name, spec.durable, spec.auto_delete
        ));
    }
}

async fn messages(queue: &Queue, lines: &mut Vec<String>) {
    let counts = queue.counts();
    let (name, ready, delayed) = (queue.name(), counts.ready, counts.delayed);
    lines.push(format!("in {name}: {ready} ready, {delayed} delayed"));
    if queue.arguments().kind == QueueKind::Stream {
        return; // nothing is ever taken from it
    }
    if queue.arguments().rewind_ms.is_some() {
        let rewound = queue.rewind(RewindTo::Offset(5)).await.unwrap();
        lines.push(format!("in {name}: {} rewound", rewound.messages));
    }
    if counts.unacked > 0 {
        lines.push(format!("in {name}: {} received", counts.unacked));
    }
    while let Some(got) = queue.get(false).await.unwrap() {
        let body = got.message.body.slices().concat();
        let start = String::from_utf8_lossy(body.get(..16).unwrap_or(&body)).into_owned();
        let origin = &got.message.origin;
        lines.push(format!(
            "in {name}: {start} {} bytes {:016x} from '{}' '{}' priority {} expiration {:?} properties {:02x?} \
             persistent {} redelivered {} count {}",
            body.len(),
            xxhash_rust::xxh3::xxh3_64(&body),
            origin.exchange,
            origin.routing_key,
            got.message.priority,
            got.message.expiration_ms,
            &got.message.properties[..],
            got.message.persistent,
            got.redelivered,
            got.delivery_count,
        ));
    }
}

/// Writes a fixture; see above.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes a new fixture"]
async fn write() {
    let Ok(root) = std::env::var("LEVERET_FIXTURE").map(PathBuf::from) else {
        panic!("LEVERET_FIXTURE names the directory to write");
    };
    assert!(!root.exists(), "a fixture is never changed");
    let dir = tempfile::tempdir().unwrap();
    // Tables, files of chunks and a journal: everything that a directory may hold.
    let options = FjallOptions {
        msgs_memtable_bytes: 16 * 1024,
        state_memtable_bytes: 4 * 1024,
        extent_batch_bytes: 32 * 1024,
        ..FjallOptions::default()
    };
    let broker = open(dir.path(), options).await;
    define(&broker).await;
    fill(&broker).await;
    eventually("a flushed memtable", || has_blobs(dir.path())).await;
    last_words(&broker).await;
    keeping(&broker).await;
    broker.committer().shutdown();
    drop(broker);
    freeze(dir.path(), &root.join("data"));
    let broker = open(dir.path(), FjallOptions::default()).await;
    fs::write(root.join("inventory.txt"), inventory(&broker).await).unwrap();
    broker.committer().shutdown();
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn has_blobs(dir: &Path) -> bool {
    let keyspaces = fs::read_dir(dir.join("db/keyspaces")).unwrap();
    keyspaces
        .filter_map(|entry| fs::read_dir(entry.unwrap().path().join("blobs")).ok())
        .any(|mut blobs| blobs.next().is_some())
}

/// Copies a directory without zeroes at the end of journals and extents; where there is nothing stands `.keep`, since git knows no
/// empty directories.
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
        let mut bytes = fs::read(&from).unwrap();
        if from
            .extension()
            .is_some_and(|extension| extension == "jnl" || extension == "ext")
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
        description: "what is sold".to_owned(),
        tags: vec!["a".into(), "b".into()],
        default_queue_kind: Some(QueueKind::Quorum),
    };
    broker.add_vhost("shop", metadata).await.unwrap();
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
        .set_permissions("guest", "shop", [".*"; 3])
        .await
        .unwrap();
    users
        .set_permissions("alice", "shop", ["^a", "", ".*"])
        .await
        .unwrap();
    users
        .set_topic_permissions("alice", "shop", "amq.topic", ["^x", "^y"])
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
        (
            "ranked",
            table(&[classic(), ("x-max-priority", AMQPValue::LongLongInt(5))]),
        ),
        (
            "safe",
            table(&[
                ("x-queue-type", text("quorum")),
                ("x-delivery-limit", AMQPValue::LongLongInt(9)),
            ]),
        ),
        ("waiting", table(&[classic()])),
        ("large", table(&[classic()])),
        ("events", table(&[("x-queue-type", text("stream"))])),
        ("kept", table(&[classic()])),
        ("handled", table(&[classic()])),
        (
            "empty",
            table(&[
                classic(),
                ("x-expires", AMQPValue::LongLongInt(i64::from(u32::MAX))),
            ]),
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
    let vhost = broker.vhost("shop").unwrap();
    let user = broker.users().get("guest").unwrap();
    broker.session(vhost, user, broker.next_connection())
}

fn table(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// `number` makes the body and varies its length.
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
        body: Body::Whole(body.into()),
        persistent: true,
        priority,
        expiration_ms: (queue == "safe").then_some(NEVER_MS),
        delay_ms,
        dead_lettered: false,
        failures: 0,
    })
}

async fn fill(broker: &Arc<Broker>) {
    let (orders, ranked) = (
        queue(broker, "shop", "orders"),
        queue(broker, "shop", "ranked"),
    );
    for number in 0..120 {
        orders.publish(&[message("orders", number, 0, None)]);
        if number % 4 == 0 {
            let priority = u8::try_from(number % 7).unwrap();
            ranked.publish(&[message("ranked", number, priority, None)]);
        }
        if number % 10 == 0 {
            flushed(broker).await; // a chunk each
        }
    }
    // Settled: the first ten, then every third up to the fiftieth. Some are never answered.
    let given = take(&orders, 50).await;
    let acked = (0..).zip(given).filter(|(n, _)| *n < 10 || n % 3 == 0);
    let acked: Vec<_> = acked.map(|(_, id)| id).collect();
    orders.settle(Settle::Ack, &acked, &[]);
    let large = queue(broker, "shop", "large");
    large.publish(&[sized("large", vec![b'L'; 70_000], 0, None)]); // more than a chunk's size
    flushed(broker).await;
}

/// What stays in the journal.
async fn last_words(broker: &Arc<Broker>) {
    let safe = queue(broker, "shop", "safe");
    let run: Vec<_> = (0..6).map(|n| message("safe", n, 0, None)).collect();
    safe.publish(&run);
    // 0 comes back twice, 1 once, 2 is acknowledged, 3 was handed out.
    for count in [2, 1] {
        let given = take(&safe, count).await;
        safe.settle(Settle::Requeue, &given, &[]);
    }
    let given = take(&safe, 4).await;
    safe.settle(Settle::Ack, &given[2..3], &[]);
    let waiting = queue(broker, "shop", "waiting");
    waiting.publish(&[
        message("waiting", 1, 0, Some(NEVER_MS)),
        message("waiting", 2, 0, Some(1500)),
    ]);
    waiting.publish(&[message("waiting", 3, 0, None)]);
    flushed(broker).await;
}

/// What format 1 did not have: a stream, messages that were acked and can be read again, leases by handle, overrides.
async fn keeping(broker: &Arc<Broker>) {
    let [events, kept, handled] =
        ["events", "kept", "handled"].map(|name| queue(broker, "shop", name));
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
    let vhost = broker.vhost("shop").unwrap();
    vhost.set_queue_overrides("kept", keep).unwrap();
    vhost.set_queue_overrides("handled", lease).unwrap();
    for number in 0..40 {
        events.publish(&[message("events", number, 0, None)]);
        kept.publish(&[message("kept", number, 0, None)]);
        handled.publish(&[message("handled", number, 0, None)]);
        if number % 8 == 0 {
            flushed(broker).await;
        }
    }
    let given = take(&kept, 20).await;
    kept.settle(Settle::Ack, &given[..15], &[]);
    let batch = handled.receive(10, Duration::ZERO).await.unwrap();
    let received: Vec<_> = batch
        .accept()
        .into_iter()
        .map(|message| message.handle)
        .collect();
    flushed(broker).await;
    let (deleted, _) = handled.delete_received(&received[2..5]);
    assert_eq!(deleted, [true; 3]);
    flushed(broker).await;
}

async fn take(queue: &Queue, count: usize) -> Vec<Lease> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(queue.get(false).await.unwrap().unwrap().lease);
    }
    taken
}

async fn flushed(broker: &Arc<Broker>) {
    let committer = broker.committer();
    committer.wait(committer.append(Vec::new())).await.unwrap();
}
