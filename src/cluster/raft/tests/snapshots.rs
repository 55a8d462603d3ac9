//! Members whose log no longer has what another one lacks: they send it a snapshot.

use super::*;
use crate::model::{Body, LogId, Message, Origin};
use crate::store::{ChunkEncoder, Journal, LogRecord, Replica, StoredChunk};

/// Bytes of the log that these members keep: a dozen entries.
pub(super) const KEEP: u64 = 256 * 1024;
pub(super) const BODY: usize = 20_000;
const LOG: LogId = LogId(512);
const OTHER: LogId = LogId(1024);

async fn start(dir: &Path, name: &'static str, network: &Arc<Network>) -> Node {
    let mut node = Node::stopped(dir, name, network);
    node.keep_log_bytes = Some(KEEP);
    node.restart().await;
    node
}

fn append(first: u64) -> Batch {
    append_to(LOG, first)
}

/// Adds a message to a queue's log.
fn append_to(log: LogId, first: u64) -> Batch {
    let mut chunk = ChunkEncoder::new();
    let message = Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(b"\0\0"),
        body: Body::Whole(vec![u8::try_from(first % 251).unwrap(); BODY].into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    };
    chunk.push(1, &message);
    let record = LogRecord {
        next: first + 1,
        ..LogRecord::default()
    };
    let chunk = chunk.finish();
    [
        Op::PutChunk { log, first, chunk },
        Op::PutLog { log, record },
    ]
    .into_iter()
    .collect()
}

pub(super) async fn append_all(store: Arc<dyn Store>, messages: std::ops::Range<u64>) {
    let write = move || {
        for first in messages {
            store.append(&append(first)).unwrap();
            store.sync().unwrap();
        }
        store.apply().unwrap();
    };
    tokio::task::spawn_blocking(write).await.unwrap();
}

/// Whether the node's queue has exactly the first messages.
pub(super) fn has(node: &Node, messages: u64) -> bool {
    let store = &node.running.as_ref().unwrap().1;
    let found = store.read(LOG, 0, usize::MAX).unwrap_or_default();
    let is_right = |(first, chunk): (u64, &StoredChunk)| {
        let is_put = |op: &Op| matches!(op, Op::PutChunk { chunk: put, .. } if *put == chunk.data);
        chunk.first == first && append(first).ops.iter().any(is_put)
    };
    found.len() as u64 == messages && (0..).zip(&found).all(is_right)
}

pub(super) fn purged(node: &Node) -> u64 {
    let store = &node.running.as_ref().unwrap().1;
    store.replica_state().unwrap().purged.index
}

async fn all_have(nodes: &[Node], messages: u64) {
    for node in nodes {
        let what = format!("{} has {messages} messages", node.name);
        eventually(&what, || has(node, messages)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_long_comes_back_by_a_snapshot() {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(start(dir.path(), name, &network).await);
    }
    let members = nodes.iter().map(Node::info).collect();
    nodes[0].member().form(members).await.unwrap();
    let first = leader(&nodes).await;
    let store = nodes[first].member().lead().await.unwrap().store;
    append_all(store.clone(), 0..10).await;
    all_have(&nodes, 10).await;
    let away = (first + 1) % 3;
    nodes[away].stop().await;
    append_all(store.clone(), 10..80).await;
    // All members purge, the followers too.
    let here = |node: &usize| *node != away;
    for node in (0..3).filter(here) {
        eventually("the log is purged", || purged(&nodes[node]) > 40).await;
    }
    nodes[away].restart().await;
    // The leader goes on meanwhile.
    append_all(store, 80..90).await;
    all_have(&nodes, 90).await;
    assert!(purged(&nodes[away]) > 40, "it came by a snapshot");
    // It leads, and starts again.
    let id = nodes[away].info().id;
    hand_over(&nodes[first], id).await;
    eventually("it leads", || nodes[away].leads()).await;
    let store = nodes[away].member().lead().await.unwrap().store;
    append_all(store, 90..100).await;
    all_have(&nodes, 100).await;
    nodes[away].stop().await;
    nodes[away].restart().await;
    all_have(&nodes, 100).await;
    for node in &mut nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_log_begins_late_takes_in_two_others() {
    let (dir, network) = (scratch(), Arc::default());
    let mut node = Node::stopped(dir.path(), "a", &network);
    let options = FjallOptions {
        checkpoint_bytes: 64 * 1024,
        ..small()
    };
    // As a broker that runs alone leaves it.
    let alone = FjallStore::open(&node.dir, options).unwrap();
    let log = OTHER;
    for round in 0..10 {
        let firsts = round * 40..(round + 1) * 40;
        for first in firsts.clone() {
            alone.append(&append_to(log, first)).unwrap();
            alone.sync().unwrap();
            alone.apply().unwrap();
        }
        let removed = firsts.map(|first| Op::RemoveChunk { log, first });
        alone.append(&removed.collect()).unwrap();
        alone.sync().unwrap();
        alone.apply().unwrap();
    }
    for first in 0..20 {
        alone.append(&append(first)).unwrap();
    }
    alone.sync().unwrap();
    alone.apply().unwrap();
    drop(alone);
    node.restart().await;
    let mut nodes = vec![node];
    assert!(purged(&nodes[0]) > 0, "its log begins late");
    nodes[0].member().form(vec![nodes[0].info()]).await.unwrap();
    assert_eq!(leader(&nodes).await, 0);
    let store = nodes[0].member().lead().await.unwrap().store;
    append_all(store.clone(), 20..30).await;
    for name in ["b", "c"] {
        let node = start(dir.path(), name, &network).await;
        nodes[0].member().add(node.info()).await.unwrap();
        nodes.push(node);
    }
    append_all(store, 30..35).await;
    all_have(&nodes, 35).await;
    for node in &mut nodes {
        node.stop().await;
    }
}
