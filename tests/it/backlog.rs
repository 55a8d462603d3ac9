//! A backlog far larger than the memory for messages, in a broker on disk: it is kept out of memory while it grows,
//! and drained in order after a restart without coming into memory as a whole. The same with ten million messages is
//! measured by `leveret-bench backlog`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use leveret::broker::queue::{Queue, Settle};
use leveret::broker::session::DeclareQueue;
use leveret::model::{Body, Message, Origin};
use leveret::store::{Committer, FjallOptions, FjallStore, Limits, StoreError};
use leveret::wire::FieldTable;

use crate::support::PATIENCE;

const QUEUES: [&str; 2] = ["backlog.0", "backlog.1"];
const BUDGET: u64 = 4 * 1024 * 1024;
const BODY: usize = 4096;
/// Messages of both queues together: 64 MiB.
const MESSAGES: u64 = 64 * 1024 * 1024 / 4096;
/// Messages published between two waits for the disk: what is not on disk cannot be let go.
const RUN: u64 = 64;
/// Chunks that are read back at once may lie above the budget for a moment, as may what a run adds.
const RESIDENT_MAX: u64 = BUDGET + 2 * 1024 * 1024;

async fn open(dir: &Path) -> Arc<Broker> {
    let deadline = Instant::now() + PATIENCE;
    let store = loop {
        match FjallStore::open(dir, FjallOptions::default()) {
            // Tasks of the broker that was there before may end a little later than it.
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => break opened.unwrap(),
        }
    };
    let committer = Committer::start(Arc::new(store), Limits::default()).unwrap();
    let config = BrokerConfig {
        memory_bytes: BUDGET,
        ..BrokerConfig::default()
    };
    Broker::open(committer, config).await.unwrap()
}

fn queues(broker: &Arc<Broker>) -> [Arc<Queue>; 2] {
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    QUEUES.map(|name| vhost.queue(name).unwrap())
}

fn message(number: u64) -> Arc<Message> {
    let mut body = vec![b'.'; BODY];
    body[..8].copy_from_slice(&number.to_be_bytes());
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "backlog".into(),
        }),
        properties: Bytes::from_static(b"\x10\x00\x02"), // delivery-mode 2
        body: Body::Whole(body.into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
    })
}

fn number_of(message: &Message) -> u64 {
    let body = message.body.slices().concat();
    assert_eq!(body.len(), BODY);
    u64::from_be_bytes(body[..8].try_into().unwrap())
}

/// What the queues say and what the budget says must agree, and be small.
fn resident(broker: &Arc<Broker>) -> u64 {
    let used = broker.budget().used();
    let counted: u64 = queues(broker)
        .iter()
        .map(|queue| queue.counts().resident_bytes)
        .sum();
    assert_eq!(counted, used);
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_backlog() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path()).await;
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let user = broker.users().get(DEFAULT_USER).unwrap();
    let session = broker.session(vhost, user, broker.next_connection());
    for name in QUEUES {
        let declare = DeclareQueue {
            name,
            passive: false,
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        session.declare_queue(declare).await.unwrap();
    }
    drop(session);

    let mut most = 0;
    let mut next = 0;
    while next < MESSAGES {
        for queue in queues(&broker) {
            let run: Vec<_> = (next..next + RUN).map(message).collect();
            let ticket = queue.publish(&run).ticket.unwrap();
            broker.committer().wait(ticket).await.unwrap();
            next += RUN;
            most = most.max(resident(&broker));
        }
    }
    // Each of the two queues may have an eighth of what the other leaves.
    assert!(most > BUDGET / 8, "memory is there to be used: {most}");
    assert!(most <= RESIDENT_MAX, "{most} while it grew");
    broker.committer().shutdown();
    drop(broker);

    let broker = open(dir.path()).await;
    assert_eq!(resident(&broker), 0, "after a start it is all on disk");
    let ready = queues(&broker).map(|queue| queue.counts().ready);
    assert_eq!(ready, [MESSAGES / 2; 2]);
    // Two consumers in turn, as different queues compete for the budget.
    let mut most = 0;
    for run in 0..MESSAGES / 2 / RUN {
        for (index, queue) in (0..).zip(queues(&broker)) {
            let mut leases = Vec::new();
            for expected in (2 * run + index) * RUN..(2 * run + index + 1) * RUN {
                let got = queue.get(false).await.unwrap().unwrap();
                assert_eq!(number_of(&got.message), expected);
                leases.push(got.lease);
            }
            queue.settle(Settle::Ack, &leases, &[]);
            most = most.max(resident(&broker));
        }
    }
    assert!(most <= RESIDENT_MAX, "{most} while it was drained");
    assert_eq!(resident(&broker), 0);
    for queue in queues(&broker) {
        assert!(queue.get(false).await.unwrap().is_none());
    }
    broker.committer().shutdown();
}
