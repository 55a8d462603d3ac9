//! Delayed messages: `x-delay` through exchanges of every type, not ready before their time, in the order of their
//! times, and over a restart.

use std::process::Command;
use std::time::{Duration, Instant};

use leveret::wire::protocol::{exchange, queue};
use leveret::wire::{AMQPClass, AMQPValue, FieldTable, PropertiesView};

use crate::support::{Peer, TestServer, eventually};

/// How late a message may come here, where the machine may be busy with anything. Leveret promises 50 ms.
const LATE: Duration = Duration::from_secs(5);

fn delay(ms: i32) -> [(&'static str, AMQPValue); 1] {
    [("x-delay", AMQPValue::LongInt(ms))]
}

fn table(of: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in of {
        table.insert((*name).into(), value.clone());
    }
    table
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
        let body = format!("by {exchange:?}");
        peer.publish_to(1, exchange, key, &headers, &body).await;
        peer.publish_to(1, exchange, key, &headers[1..], "now")
            .await;
        eventually("one waits and one is there", || {
            let counts = server.counts("q").unwrap();
            (counts.ready, counts.delayed) == (1, 1) || start.elapsed() > LATE
        })
        .await;
        assert_eq!(peer.get(1, "q", true).await.unwrap().told().2, "now");
        eventually("its time has come", || server.numbers("q").0 == 1).await;
        let after = start.elapsed();
        assert!(after >= Duration::from_millis(299), "{exchange}: {after:?}");
        assert!(after < LATE, "{exchange}: {after:?}");
        let content = peer.get(1, "q", true).await.unwrap();
        assert_eq!(content.told().2, body);
        let properties = PropertiesView::parse(&content.properties).unwrap();
        // Only the exchange that is made for it says that it was kept back.
        let told = if exchange == "later" { -300 } else { 300 };
        let headers = properties.headers().unwrap();
        assert_eq!(headers.inner().get("x-delay"), Some(&delay(told)[0].1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_come_in_the_order_of_their_times_and_only_once() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.confirm_select(1).await;
    for (body, ms) in [("c", 400), ("a", 200), ("zero", 0), ("d", 500), ("b", 300)] {
        peer.publish_to(1, "", "q", &delay(ms), body).await;
    }
    for body in ["not a number", "below zero"] {
        let header = match body {
            "below zero" => AMQPValue::LongInt(-5),
            other => AMQPValue::LongString(other.into()),
        };
        peer.publish_to(1, "", "q", &[("x-delay", header)], body)
            .await;
    }
    eventually("all are there", || {
        let counts = server.counts("q").unwrap();
        counts.ready + counts.delayed == 7
    })
    .await;
    let mut peer = Peer::new(&server).await;
    peer.consume(1, "q", "t", true).await;
    let mut bodies = Vec::new();
    for _ in 0..7 {
        bodies.push(peer.content().await.told().2);
    }
    assert_eq!(
        bodies,
        ["zero", "not a number", "below zero", "a", "b", "c", "d"]
    );
    peer.nothing(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_go_on_over_a_restart() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_with(1, "q", true, &[]).await;
    peer.confirm_select(1).await;
    let start = Instant::now();
    // Far enough apart that their order is theirs, however slowly they are published.
    for n in (0..4).rev() {
        peer.publish_to(1, "", "q", &delay(700 + 500 * n), &n.to_string())
            .await;
    }
    peer.publish_to(1, "", "q", &delay(3_600_000), "far").await;
    eventually("all are kept back", || {
        server.counts("q").unwrap().delayed == 5
    })
    .await;
    let committer = server.broker.committer();
    committer.wait(committer.append(Vec::new())).await.unwrap();
    drop(peer);
    let server = server.restart().await;
    let mut peer = Peer::new(&server).await;
    peer.consume(1, "q", "t", true).await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        bodies.push(peer.content().await.told().2);
    }
    assert!(start.elapsed() >= Duration::from_millis(699));
    assert!(bodies.is_sorted(), "{bodies:?}");
    let counts = server.counts("q").unwrap();
    assert_eq!((counts.ready, counts.delayed), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_in_no_order_comes_when_it_is_due() {
    let server = TestServer::start().await;
    let mut bench = Command::new(env!("CARGO_BIN_EXE_leveret"));
    bench.args(["bench", "delayed", "--count", "3000", "--due", "1.5..3"]);
    bench.args(["--pairs", "2", "--size", "100", "--json", "--quiet"]);
    bench.args(["--uri", &format!("amqp://guest:guest@{}", server.address)]);
    let done = tokio::task::spawn_blocking(move || bench.output().unwrap());
    let done = done.await.unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{said}");
    let summary: serde_json::Value = serde_json::from_str(&said).unwrap();
    let found = &summary["delayed"]["due"];
    assert_eq!(found["early"], 0, "{said}");
    let left_out = ["published_late", "due_unattended"].map(|name| found[name].as_u64().unwrap());
    assert!(left_out.iter().sum::<u64>() < 3000, "{said}");
    let late_ms = found["late_ms"]["max"].as_f64().unwrap();
    assert!(late_ms < LATE.as_secs_f64() * 1000.0, "{said}");
}
