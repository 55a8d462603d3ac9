//! A backlog far larger than the memory for messages, in a broker on disk. `leveret-bench backlog` measures the same
//! with ten million messages.

use std::path::Path;
use std::sync::Arc;

use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::queue::Queue;
use leveret::wire::FieldTable;

use crate::support::socketless::{
    self, ack, declare, message, number_of, numbered_body, publish, queue,
};

const QUEUES: [&str; 2] = ["backlog.0", "backlog.1"];
const BUDGET: u64 = 4 * 1024 * 1024;
const BODY: usize = 4096;
/// Messages of both queues together: 64 MiB.
const MESSAGES: u64 = 64 * 1024 * 1024 / BODY as u64;
/// Messages published between two waits for the disk: only messages on disk can leave memory.
const RUN: u64 = 64;
/// Chunks that are read back together may exceed the budget for a moment, and so may a run.
const RESIDENT_MAX: u64 = BUDGET + 2 * 1024 * 1024;

async fn open(dir: &Path) -> Arc<Broker> {
    let config = BrokerConfig {
        memory_bytes: BUDGET,
        ..BrokerConfig::default()
    };
    socketless::open_on_disk(dir, config).await
}

fn queues(broker: &Arc<Broker>) -> [Arc<Queue>; 2] {
    QUEUES.map(|name| queue(broker, name))
}

/// Resident bytes of the queues, which must agree with the budget's count.
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
async fn a_backlog_larger_than_memory_grows_survives_a_restart_and_drains_in_order_within_the_budget()
 {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path()).await;
    for name in QUEUES {
        declare(&broker, name, FieldTable::default()).await;
    }

    let mut most = 0;
    let mut next = 0;
    while next < MESSAGES {
        for queue in queues(&broker) {
            let run = (next..next + RUN).map(|number| message("", numbered_body(number, BODY)));
            publish(&broker, &queue, run.collect()).await;
            next += RUN;
            most = most.max(resident(&broker));
        }
    }
    // Each of the two queues may use an eighth of what the other leaves.
    assert!(most > BUDGET / 8, "little of the budget is used: {most}");
    assert!(most <= RESIDENT_MAX, "{most} while the backlog grew");
    broker.committer().shutdown();
    drop(broker);

    let broker = open(dir.path()).await;
    assert_eq!(resident(&broker), 0, "after a start it is all on disk");
    let ready = queues(&broker).map(|queue| queue.counts().ready);
    assert_eq!(ready, [MESSAGES / 2; 2]);
    // Both queues are drained in turn, so that they compete for the budget.
    let mut most = 0;
    for run in 0..MESSAGES / 2 / RUN {
        for (index, queue) in (0..).zip(queues(&broker)) {
            let mut leases = Vec::new();
            for expected in (2 * run + index) * RUN..(2 * run + index + 1) * RUN {
                let got = queue.get(false).await.unwrap().unwrap();
                assert_eq!(number_of(&got.message), expected);
                leases.push(got.lease);
            }
            ack(&queue, &leases);
            most = most.max(resident(&broker));
        }
    }
    assert!(most <= RESIDENT_MAX, "{most} while the backlog was drained");
    assert_eq!(resident(&broker), 0);
    for queue in queues(&broker) {
        assert!(queue.get(false).await.unwrap().is_none());
    }
    broker.committer().shutdown();
}
