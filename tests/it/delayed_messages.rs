//! Delayed messages: `x-delay` through exchanges of every type, in the order in which messages are due, and over a
//! restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use leveret::wire::protocol::{basic, queue};
use leveret::wire::{AMQPClass, AMQPValue};
use rustix::process::Signal;

use crate::process::Process;
use crate::support::reply_code::PRECONDITION_FAILED;
use crate::support::{Client, Peer, TestServer, eventually_eq, long, purge, text};

/// How late a message may come on a busy machine. Leveret promises 50 ms.
const LATE: Duration = Duration::from_secs(5);

const HOUR_MS: i32 = 3_600_000;

fn delay(ms: i32) -> [(&'static str, AMQPValue); 1] {
    [("x-delay", AMQPValue::LongInt(ms))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_x_delay_is_delayed_through_every_type_of_exchange() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let delayed_type = [("x-delayed-type", text("direct"))];
    peer.declare_exchange(1, "later", "x-delayed-message", &delayed_type)
        .await;
    peer.bind(1, "q", "amq.direct", "k").await;
    peer.bind(1, "q", "amq.topic", "a.#").await;
    peer.bind(1, "q", "amq.fanout", "").await;
    peer.bind_with(1, "q", "amq.headers", "", &[("colour", text("red"))])
        .await;
    peer.bind(1, "q", "later", "k").await;
    let mut consumer = Peer::new(&server).await;
    consumer.consume_no_ack(1, "q", "t").await;
    for (exchange, key) in [
        ("", "q"),
        ("amq.direct", "k"),
        ("amq.topic", "a.b"),
        ("amq.fanout", "any"),
        ("amq.headers", ""),
        ("later", "k"),
    ] {
        let start = Instant::now();
        let mut headers = delay(300).to_vec();
        headers.push(("colour", text("red")));
        peer.publish_to(1, exchange, key, &headers, "later").await;
        peer.publish_to(1, exchange, key, &headers[1..], "now")
            .await;
        let mut contents = Vec::new();
        while contents.len() < 2 {
            let content = consumer.content().await;
            contents.push((content.text(), start.elapsed(), content.headers()));
        }
        // The order is open if publishing took longer than the delay.
        contents.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        assert_eq!(contents[0].0, "now", "{exchange}");
        let (body, after, headers) = &contents[1];
        assert_eq!(body, "later", "{exchange}");
        assert!(
            *after >= Duration::from_millis(299),
            "{exchange}: {after:?}"
        );
        assert!(*after < LATE, "{exchange}: {after:?}");
        // Only the delayed exchange marks the message as delayed, by a negative value.
        let x_delay = if exchange == "later" { -300 } else { 300 };
        assert_eq!(headers.inner().get("x-delay"), Some(&delay(x_delay)[0].1));
    }
}

/// The expected order holds only if all messages were published within one step. A busy machine gets another try with a
/// longer step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_are_delivered_once_in_the_order_in_which_they_are_due() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let mut consumer = Peer::new(&server).await;
    consumer.consume_no_ack(1, "q", "t").await;
    let mut step_ms = 100;
    let bodies = loop {
        let start = Instant::now();
        for (body, steps) in [("c", 4), ("a", 2), ("zero", 0), ("d", 5), ("b", 3)] {
            peer.publish_to(1, "", "q", &delay(steps * step_ms), body)
                .await;
        }
        for body in ["not a number", "below zero"] {
            let header = match body {
                "below zero" => AMQPValue::LongInt(-5),
                other => AMQPValue::LongString(other.into()),
            };
            peer.publish_to(1, "", "q", &[("x-delay", header)], body)
                .await;
        }
        peer.expect_nothing(1).await;
        let was_quick = start.elapsed() < step(step_ms);
        let mut bodies = Vec::new();
        for _ in 0..7 {
            bodies.push(consumer.content().await.text());
        }
        if was_quick {
            break bodies;
        }
        step_ms *= 2;
    };
    assert_eq!(
        bodies,
        ["zero", "not a number", "below zero", "a", "b", "c", "d"]
    );
    consumer.expect_nothing(1).await;
}

fn step(ms: i32) -> Duration {
    Duration::from_millis(ms.unsigned_abs().into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_continue_over_a_restart() {
    let mut step_ms = 500;
    while !checks_delays_over_a_restart(step_ms).await {
        step_ms *= 2;
    }
}

/// Returns false if publishing took longer than a step, so that the order is unknown.
async fn checks_delays_over_a_restart(step_ms: i32) -> bool {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[]).await;
    let start = Instant::now();
    for n in (1..=4).rev() {
        peer.publish_to(1, "", "q", &delay(step_ms * n), &n.to_string())
            .await;
    }
    peer.publish_to(1, "", "q", &delay(HOUR_MS), "far").await;
    peer.expect_nothing(1).await;
    let was_quick = start.elapsed() < step(step_ms);
    let counts = server.counts("q").unwrap();
    assert_eq!(counts.ready + counts.delayed, 5);
    assert!(counts.delayed == 5 || start.elapsed() >= step(step_ms - 1));
    server.flush().await;
    drop(peer);
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    peer.consume_no_ack(1, "q", "t").await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(peer.content().await.text());
    }
    assert!(start.elapsed() >= step(4 * step_ms - 1));
    assert!(!was_quick || bodies.is_sorted(), "{bodies:?}");
    let counts = server.counts("q").unwrap();
    assert_eq!((counts.ready, counts.delayed), (0, 1));
    was_quick
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_delayed_messages_than_fit_into_memory_come_once_and_none_early_after_a_restart() {
    const COUNT: usize = 15_000;
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[]).await;
    peer.confirm_select(1).await;
    let start = Instant::now();
    let last_ms = 7_000;
    for n in 0..COUNT {
        let left_ms = last_ms - i32::try_from(start.elapsed().as_millis()).unwrap();
        let share = i32::try_from(n * 7919 % COUNT).unwrap();
        let delay_ms = (left_ms - 3_000 * share / i32::try_from(COUNT).unwrap()).max(1);
        let due = start.elapsed() + Duration::from_millis(delay_ms.unsigned_abs().into());
        let body = format!("{} {n:>1500}", due.as_millis());
        peer.publish_to(1, "", "q", &delay(delay_ms), &body).await;
    }
    eventually_eq("all are there", COUNT as u64, || {
        let counts = server.counts("q").unwrap();
        counts.ready + counts.delayed
    })
    .await;
    let counts = server.counts("q").unwrap();
    assert!(counts.resident_bytes < 16 << 20, "{counts:?}");
    server.flush().await;
    drop(peer);
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    peer.consume_no_ack(1, "q", "t").await;
    let mut bodies = BTreeSet::new();
    for _ in 0..COUNT {
        let body = peer.content().await.text();
        let due = body.split(' ').next().unwrap().parse().unwrap();
        // The test and the broker round their clocks differently.
        let after = start.elapsed() + Duration::from_millis(2);
        assert!(after >= Duration::from_millis(due), "early");
        assert!(bodies.insert(body), "a message came twice");
    }
    let counts = server.counts("q").unwrap();
    assert_eq!((counts.ready, counts.delayed), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_delayed_messages_is_not_empty_and_a_purge_drops_them() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let hour = delay(HOUR_MS);
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"now").await;
    for body in ["one", "two"] {
        peer.publish_to(1, "", "q", &hour, body).await;
    }
    let delayed = |queue: &str| server.counts(queue).unwrap().delayed;
    eventually_eq("they wait", 2, || delayed("q")).await;
    let delete_if_empty = AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue: "q".into(),
        if_unused: false,
        if_empty: true,
        nowait: false,
    }));
    let mut refused = Peer::new(&server).await;
    let got = peer.get_no_ack(1, "q").await;
    assert!(got.is_some());
    refused.send(1, delete_if_empty.clone()).await;
    let (code, _) = refused.closed().await;
    assert_eq!(code, PRECONDITION_FAILED);
    peer.publish(1, "q", b"now").await;
    let purged = peer.call(1, purge("q")).await;
    let AMQPClass::Queue(queue::AMQPMethod::PurgeOk(purged)) = purged else {
        panic!("{purged:?}")
    };
    assert_eq!((purged.message_count, delayed("q")), (3, 0));
    // The queue goes on after the purge.
    peer.publish_to(1, "", "q", &delay(1), "soon").await;
    eventually_eq("it is due", 1, || server.ready("q")).await;
    assert_eq!(peer.get_no_ack(1, "q").await.unwrap().text(), "soon");
    assert_eq!(peer.get_no_ack(1, "q").await, None);
    peer.call(1, delete_if_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_count_towards_the_length_limits_of_their_queue() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for (limit, max) in [("x-max-length", 2), ("x-max-length-bytes", 8)] {
        let arguments = [(limit, long(max)), ("x-overflow", text("reject-publish"))];
        peer.declare_durable(1, limit, &arguments).await;
        peer.publish(1, limit, b"four").await;
        for body in ["four", "more", "most"] {
            peer.publish_to(1, "", limit, &delay(HOUR_MS), body).await;
        }
        peer.publish(1, limit, b"last").await;
        peer.declare_durable(1, limit, &arguments).await; // the broker has handled all publishes
        let counts = server.counts(limit).unwrap();
        assert_eq!((counts.ready, counts.delayed), (1, 1), "{limit}");
    }
}

async fn until_confirmed(peer: &mut Peer, last: u64) {
    loop {
        let (_, confirm) = peer.method().await;
        let AMQPClass::Basic(basic::AMQPMethod::Ack(ack)) = confirm else {
            panic!("{confirm:?}");
        };
        if ack.delivery_tag == last {
            return;
        }
    }
}

/// Messages become due all the time, so some were delivered before any batch had that they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_message_that_was_delivered_before_a_kill_comes_again_as_redelivered() {
    const COUNT: usize = 2_000;
    const BEFORE: usize = COUNT / 2;
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Process::start_by(|command| command, dir.path());
    let mut peer = Peer::connect(broker.address.parse().unwrap(), Client::default()).await;
    peer.open(1).await;
    peer.declare_durable(1, "q", &[]).await;
    peer.confirm_select(1).await;
    for n in 0..COUNT {
        let delay_ms = 1_000 + i32::try_from(n / 2).unwrap();
        peer.publish_to(1, "", "q", &delay(delay_ms), &n.to_string())
            .await;
    }
    until_confirmed(&mut peer, COUNT as u64).await;
    peer.consume(1, "q", "t").await;
    let mut delivered = BTreeSet::new();
    for _ in 0..BEFORE {
        delivered.insert(peer.content().await.text());
    }
    broker.signal(Signal::KILL);
    broker.ended();
    let broker = Process::start_by(|command| command, dir.path());
    let mut peer = Peer::connect(broker.address.parse().unwrap(), Client::default()).await;
    peer.open(1).await;
    peer.consume(1, "q", "t").await;
    let mut all = BTreeSet::new();
    for _ in 0..COUNT {
        let content = peer.content().await;
        let ((_, redelivered, _), body) = (content.delivery(), content.text());
        let is_new = redelivered || !delivered.contains(&body);
        assert!(is_new, "{body} comes again as a new message");
        assert!(all.insert(body));
    }
}
