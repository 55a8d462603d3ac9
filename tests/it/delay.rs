//! Delayed messages: `x-delay` through exchanges of every type, not ready before their time, in the order of their
//! times, and over a restart.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use leveret::wire::protocol::{exchange, queue};
use leveret::wire::{AMQPClass, AMQPValue, PropertiesView};

use crate::support::{Peer, TestServer, eventually, table};

/// How late a message may come here, where the machine may be busy with anything. Leveret promises 50 ms.
const LATE: Duration = Duration::from_secs(5);

fn delay(ms: i32) -> [(&'static str, AMQPValue); 1] {
    [("x-delay", AMQPValue::LongInt(ms))]
}

async fn bind(peer: &mut Peer, exchange: &str, key: &str, arguments: &[(&str, AMQPValue)]) {
    let bind = queue::AMQPMethod::Bind(queue::Bind {
        queue: "q".into(),
        exchange: exchange.into(),
        routing_key: key.into(),
        nowait: false,
        arguments: table(arguments),
    });
    peer.call(1, AMQPClass::Queue(bind)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_exchange_passes_a_delay_on() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    let text = |value: &str| AMQPValue::LongString(value.into());
    let declare = exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: "later".into(),
        kind: "x-delayed-message".into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: table(&[("x-delayed-type", text("direct"))]),
    });
    peer.call(1, AMQPClass::Exchange(declare)).await;
    bind(&mut peer, "amq.direct", "k", &[]).await;
    bind(&mut peer, "amq.topic", "a.#", &[]).await;
    bind(&mut peer, "amq.fanout", "", &[]).await;
    bind(&mut peer, "amq.headers", "", &[("colour", text("red"))]).await;
    bind(&mut peer, "later", "k", &[]).await;
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
            contents.push((content.text(), start.elapsed(), content.properties));
        }
        // Both at once if this took longer than the delay.
        contents.sort_by(|(a, ..), (b, ..)| b.cmp(a));
        assert_eq!(contents[0].0, "now", "{exchange}");
        let (body, after, properties) = &contents[1];
        assert_eq!(body, "later", "{exchange}");
        assert!(
            *after >= Duration::from_millis(299),
            "{exchange}: {after:?}"
        );
        assert!(*after < LATE, "{exchange}: {after:?}");
        let properties = PropertiesView::parse(properties).unwrap();
        // Only the exchange that is made for it says that it was kept back.
        let told = if exchange == "later" { -300 } else { 300 };
        let headers = properties.headers().unwrap();
        assert_eq!(headers.inner().get("x-delay"), Some(&delay(told)[0].1));
    }
}

/// The order of their times is known only if they were published faster than these are apart: on a machine that is too
/// busy for that, it is tried again with more between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_come_in_the_order_of_their_times_and_only_once() {
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
async fn delays_go_on_over_a_restart() {
    let mut step_ms = 500;
    while !is_quick_enough_for_delays_over_a_restart(step_ms).await {
        step_ms *= 2;
    }
}

/// False if the messages were published so slowly that the order of their times is not known.
async fn is_quick_enough_for_delays_over_a_restart(step_ms: i32) -> bool {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &[]).await;
    let start = Instant::now();
    for n in (1..=4).rev() {
        peer.publish_to(1, "", "q", &delay(step_ms * n), &n.to_string())
            .await;
    }
    peer.publish_to(1, "", "q", &delay(3_600_000), "far").await;
    peer.expect_nothing(1).await;
    let was_quick = start.elapsed() < step(step_ms);
    let counts = server.counts("q").unwrap();
    assert_eq!(counts.ready + counts.delayed, 5);
    assert!(counts.delayed == 5 || start.elapsed() >= step(step_ms - 1));
    let committer = server.broker.committer();
    committer.wait(committer.append(Vec::new())).await.unwrap();
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

/// More than a queue keeps in memory, over a restart: each comes once, none early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_fits_into_memory_is_due_in_no_order_over_a_restart() {
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
    eventually("all are there", || {
        let counts = server.counts("q").unwrap();
        counts.ready + counts.delayed == COUNT as u64
    })
    .await;
    let counts = server.counts("q").unwrap();
    assert!(counts.resident_bytes < 16 << 20, "{counts:?}");
    let committer = server.broker.committer();
    committer.wait(committer.append(Vec::new())).await.unwrap();
    drop(peer);
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    peer.consume_no_ack(1, "q", "t").await;
    let mut bodies = BTreeSet::new();
    for _ in 0..COUNT {
        let body = peer.content().await.text();
        let due = body.split(' ').next().unwrap().parse().unwrap();
        // The clocks of the test and of the broker round apart.
        let after = start.elapsed() + Duration::from_millis(2);
        assert!(after >= Duration::from_millis(due), "early");
        assert!(bodies.insert(body), "once");
    }
    let counts = server.counts("q").unwrap();
    assert_eq!((counts.ready, counts.delayed), (0, 0));
}
