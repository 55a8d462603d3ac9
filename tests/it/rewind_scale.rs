//! Rewinding a million messages: how long it takes and how much memory. Run it by name; `REWIND_RUNS` sets the number
//! of thousands.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use leveret::broker::broker::BrokerConfig;
use leveret::broker::queue::RewindTo;
use leveret::wire::AMQPValue;

use crate::support::socketless::{ack, declare, durable, message, open_on_disk};
use crate::support::table;

const RUN: u64 = 1000;
const BODY: usize = 100;
const MIB: u64 = 1024 * 1024;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes and reads a million messages"]
async fn a_rewind_of_a_million_messages_takes_a_tenth_of_a_second_and_little_memory() {
    let runs = std::env::var("REWIND_RUNS").map_or(1000, |runs| runs.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig {
        memory_bytes: 16 * MIB,
        ..BrokerConfig::default()
    };
    let broker = open_on_disk(dir.path(), config).await;
    let arguments = table(&[("x-rewind-seconds", AMQPValue::LongInt(3600))]);
    let queue = declare(&broker, "q", arguments).await;
    let message = Arc::new(message("q", vec![b'.'; BODY]));
    let run_of_messages: Vec<_> = (0..RUN).map(|_| Arc::clone(&message)).collect();
    let mut middle_ms = 0;
    for run in 0..runs {
        if run == runs / 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            middle_ms = now_ms();
        }
        let published = queue.publish(&run_of_messages).ticket;
        let mut leases = Vec::new();
        while let Some(got) = queue.get(false).await.unwrap() {
            leases.push(got.lease);
        }
        assert_eq!(leases.len() as u64, RUN);
        durable(&broker, published.max(ack(&queue, &leases))).await;
    }
    let all = runs * RUN;
    assert_eq!(queue.counts().rewindable, all);
    let before = resident_bytes();
    for (to, expected) in [
        (RewindTo::Time(middle_ms), all - runs / 2 * RUN),
        (RewindTo::Offset(0), runs / 2 * RUN),
    ] {
        let began = Instant::now();
        let rewound = queue.rewind(to).await.unwrap();
        durable(&broker, rewound.ticket).await;
        let took = began.elapsed();
        println!("{to:?}: {} messages in {took:?}", rewound.messages);
        assert_eq!(rewound.messages, expected);
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
    let counts = queue.counts();
    assert_eq!((counts.ready, counts.ready_bytes), (all, all * BODY as u64));
    assert!(counts.resident_bytes < MIB, "{counts:?}");
    let grown = resident_bytes().saturating_sub(before);
    println!("resident: {before} and {grown} more");
    assert!(grown < 32 * MIB, "{grown}");
    let began = Instant::now();
    let mut leases = Vec::new();
    for _ in 0..all {
        leases.push(queue.get(false).await.unwrap().unwrap().lease);
        if leases.len() as u64 == RUN {
            ack(&queue, &leases);
            leases.clear();
        }
    }
    println!("read back in {:?}", began.elapsed());
    assert!(queue.counts().resident_bytes < 32 * MIB);
    broker.committer().shutdown();
}
