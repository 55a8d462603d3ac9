//! Policies change while clients publish, consume, declare and delete. No confirmed message is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use leveret::model::policy::PolicyKind;
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};
use serde_json::{Value, json};

use super::{draft, vhost};
use crate::support::{Event, Peer, TestServer, delete_queue, eventually, text};

/// How long policies change.
const LENGTH: Duration = Duration::from_secs(4);
/// Publishers, each to a queue of its own.
const PUBLISHERS: usize = 3;
/// Messages of one publisher between two waits for all their confirms.
const ROUND: usize = 50;

/// Definitions that follow each other. Those that drop messages dead-letter them.
fn definitions() -> Vec<Value> {
    let dead = |mut definition: Value| {
        definition["dead-letter-exchange"] = json!("");
        definition["dead-letter-routing-key"] = json!("dead");
        definition
    };
    vec![
        dead(json!({"max-length": 5})),
        dead(json!({"message-ttl": 1})),
        dead(json!({"max-length-bytes": 20, "visibility-timeout": 20})),
        dead(json!({"max-length": 10, "overflow": "reject-publish"})),
        dead(json!({"rewind-seconds": 60, "message-ttl": 100_000})),
        // Drops nothing: what has died before still goes to its dead letter exchange.
        json!({"max-length": 1_000_000}),
    ]
}

/// Publishes numbered messages until told to stop. Returns those that the broker confirmed.
async fn publisher(mut peer: Peer, queue: String, stop: Arc<AtomicBool>) -> BTreeSet<String> {
    let mut confirmed = BTreeSet::new();
    peer.confirm_select(1).await;
    let (mut bodies, mut settled) = (Vec::new(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..ROUND {
            let body = format!("{queue}-{}", bodies.len());
            peer.publish(1, &queue, body.as_bytes()).await;
            bodies.push(body);
        }
        while settled < bodies.len() as u64 {
            let (tag, multiple, is_ack) = match peer.method().await.1 {
                AMQPClass::Basic(basic::AMQPMethod::Ack(m)) => (m.delivery_tag, m.multiple, true),
                AMQPClass::Basic(basic::AMQPMethod::Nack(m)) => (m.delivery_tag, m.multiple, false),
                other => panic!("{other:?}"),
            };
            let first = if multiple { settled + 1 } else { tag };
            for tag in first..=tag {
                settled += 1;
                if is_ack {
                    confirmed.insert(bodies[usize::try_from(tag - 1).unwrap()].clone());
                }
            }
        }
    }
    confirmed
}

/// Consumes until nothing has come for a while after the stop. Returns what it has acked.
async fn consumer(mut peer: Peer, queue: String, seen: Arc<parking_lot::Mutex<BTreeSet<String>>>) {
    peer.qos(1, 20).await;
    peer.consume(1, &queue, "t").await;
    loop {
        match peer.next().await {
            Event::Method(1, method @ AMQPClass::Basic(basic::AMQPMethod::Deliver(_))) => {
                let content = peer.content_of(method).await;
                seen.lock().insert(content.text());
                peer.ack(1, content.delivery_tag()).await;
            }
            Event::End => return,
            _ => {}
        }
    }
}

/// Declares and deletes queues that the policies match.
async fn declarer(mut peer: Peer, stop: Arc<AtomicBool>, declared: Arc<AtomicUsize>) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("q-short-{}", number % 7);
        let arguments: &[(&str, AMQPValue)] = &[("x-queue-type", text("quorum"))];
        peer.declare_durable(1, &name, if number % 2 == 0 { arguments } else { &[] })
            .await;
        peer.call(1, delete_queue(&name)).await;
        declared.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn policies_that_change_under_load_lose_no_confirmed_message() {
    let server = TestServer::start().await;
    let first = draft("p", "^q-", definitions()[0].clone());
    let vhost = vhost(&server);
    vhost.set_policy(PolicyKind::User, first).await.unwrap();
    let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::default());
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "dead", &[]).await;
    let (mut publishers, mut others) = (Vec::new(), Vec::new());
    for number in 0..PUBLISHERS {
        let queue = format!("q-{number}");
        let kind = if number == 0 { "quorum" } else { "classic" };
        peer.declare_durable(1, &queue, &[("x-queue-type", text(kind))])
            .await;
        let consuming = consumer(Peer::new(&server).await, queue.clone(), Arc::clone(&seen));
        others.push(tokio::spawn(consuming));
        let publishing = publisher(Peer::new(&server).await, queue, Arc::clone(&stop));
        publishers.push(tokio::spawn(publishing));
    }
    let dead = consumer(Peer::new(&server).await, "dead".into(), Arc::clone(&seen));
    others.push(tokio::spawn(dead));
    let declared = Arc::<AtomicUsize>::default();
    let declaring = declarer(
        Peer::new(&server).await,
        Arc::clone(&stop),
        declared.clone(),
    );
    let declaring = tokio::spawn(declaring);
    let began = Instant::now();
    let mut changes = 0;
    for definition in definitions().into_iter().cycle() {
        if began.elapsed() > LENGTH {
            break;
        }
        // A second policy of higher priority overlaps and goes again.
        let over = leveret::model::policy::PolicyDraft {
            priority: Some(json!(1)),
            ..draft("over", "^q-[01]", definition.clone())
        };
        let set = [draft("p", "^q-", definition), over];
        for draft in set {
            vhost.set_policy(PolicyKind::User, draft).await.unwrap();
            tokio::task::yield_now().await;
        }
        vhost.clear_policy(PolicyKind::User, "over").await.unwrap();
        changes += 3;
    }
    stop.store(true, Ordering::Relaxed);
    declaring.await.unwrap();
    let mut confirmed = BTreeSet::new();
    for publisher in publishers {
        confirmed.append(&mut publisher.await.unwrap());
    }
    let missing = || confirmed.difference(&*seen.lock()).count();
    eventually("every confirmed message is delivered", || missing() == 0).await;
    assert!(!confirmed.is_empty() && changes > 10);
    assert!(declared.load(Ordering::Relaxed) > 0);
    others.iter().for_each(|task| task.abort());
    println!(
        "{} messages confirmed, {changes} changes of policies, {} queues declared and deleted",
        confirmed.len(),
        declared.load(Ordering::Relaxed)
    );
}
