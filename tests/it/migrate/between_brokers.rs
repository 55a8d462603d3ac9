//! `leveret migrate` from one broker to another: the small version of `interop/migrate`.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue, decode_properties};
use serde_json::Value;

use crate::support::{PATIENCE, Peer, Publish, TestServer, eventually, text};

const MESSAGES: u32 = 10_000;

/// The command, with a state file and a report in `dir`.
fn migrate(from: &TestServer, to: &TestServer, dir: &Path, more: &[&str]) -> Child {
    let amqp = |server: &TestServer| format!("amqp://guest:guest@{}", server.address);
    let api = |server: &TestServer| format!("http://guest:guest@{}", server.management);
    Command::new(env!("CARGO_BIN_EXE_leveret"))
        .arg("migrate")
        .args(["--from", &amqp(from), "--management", &api(from)])
        .args(["--to", &amqp(to), "--to-management", &api(to)])
        .arg("--state")
        .arg(dir.join("state.json"))
        .arg("--report")
        .arg(dir.join("report.json"))
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the command; returns its exit code and what it printed.
async fn finished(child: Child) -> (i32, String) {
    let output = tokio::task::spawn_blocking(|| child.wait_with_output());
    let output = output.await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap()
}

/// Messages that the state file knows to be at the target.
fn confirmed(dir: &Path) -> u64 {
    let state = std::fs::read(dir.join("state.json")).unwrap_or_default();
    let state: Value = serde_json::from_slice(&state).unwrap_or_default();
    let queues = state["queues"].as_array().cloned().unwrap_or_default();
    queues
        .iter()
        .filter_map(|queue| queue["confirmed"].as_u64())
        .sum()
}

/// How far the stream has been copied.
fn next_offset(dir: &Path) -> u64 {
    let state = std::fs::read(dir.join("state.json")).unwrap_or_default();
    let state: Value = serde_json::from_slice(&state).unwrap_or_default();
    let queues = state["queues"].as_array().cloned().unwrap_or_default();
    let stream = queues.iter().find(|queue| queue["name"] == "stream");
    stream
        .and_then(|queue| queue["next_offset"].as_u64())
        .unwrap_or_default()
}

/// Publishes numbered messages through the exchange `shop`, which leads to all queues with the key.
async fn fill(peer: &mut Peer, key: &str, numbers: std::ops::Range<u32>) {
    let mut frames = bytes::BytesMut::new();
    for number in numbers {
        let body = number.to_string();
        let headers = [
            ("n", AMQPValue::LongUInt(number)),
            ("odd", AMQPValue::ShortUInt(7)),
        ];
        let publish = Publish::to("shop", key, body.as_bytes())
            .with_headers(&headers)
            .with(|properties| {
                properties
                    .with_priority(u8::try_from(number % 3).unwrap())
                    .with_user_id("guest".into())
            });
        frames.extend_from_slice(&peer.frames(1, &publish));
    }
    peer.raw(&frames).await;
}

async fn declare_all(peer: &mut Peer) {
    peer.declare_exchange(1, "shop", "topic", &[]).await;
    let quorum = [("x-queue-type", text("quorum"))];
    let stream = [("x-queue-type", text("stream"))];
    let priorities = [("x-max-priority", AMQPValue::LongInt(2))];
    for (name, arguments) in [
        ("classic", &[][..]),
        ("priorities", &priorities),
        ("quorum", &quorum),
        ("stream", &stream),
    ] {
        peer.declare_durable(1, name, arguments).await;
        peer.bind(1, name, "shop", "all.#").await;
    }
}

/// All messages of a queue: number, whether redelivered or marked, priority. Checks what each must have.
async fn drain(server: &TestServer, queue: &str) -> Vec<(u32, bool, u8)> {
    let mut peer = Peer::new(server).await;
    peer.qos(1, 500).await;
    let offset = [("x-stream-offset", text("first"))];
    let arguments: &[_] = if queue == "stream" { &offset } else { &[] };
    peer.consume_with(1, queue, "c", arguments).await;
    let expected = match queue {
        "stream" => server.counts(queue).unwrap().ready,
        _ => server.ready(queue) + server.unacked(queue),
    };
    let mut found = Vec::new();
    while (found.len() as u64) < expected {
        let content = peer.content().await;
        let AMQPClass::Basic(basic::AMQPMethod::Deliver(method)) = &content.method else {
            panic!("{content:?}");
        };
        assert_eq!(method.exchange.as_str(), "shop");
        assert_eq!(method.routing_key.as_str(), "all.x");
        let number: u32 = content.text().parse().unwrap();
        let properties = decode_properties(&content.properties).unwrap();
        let headers = content.headers();
        let own = |name: &str| headers.inner().get(name).cloned();
        assert_eq!(own("n"), Some(AMQPValue::LongUInt(number)));
        assert_eq!(own("odd"), Some(AMQPValue::ShortUInt(7)));
        assert_eq!(own("x-leveret-origin"), None);
        assert_eq!(properties.user_id().as_ref().unwrap().as_str(), "guest");
        let is_marked = own("x-migrated-redelivered").is_some();
        found.push((
            number,
            method.redelivered || is_marked,
            properties.priority().unwrap(),
        ));
        peer.ack(1, method.delivery_tag).await;
    }
    found
}

/// Checks that every number is there, twice only if flagged, and that first copies are in order.
fn check(queue: &str, found: &[(u32, bool, u8)], count: u32) {
    let mut seen = HashMap::new();
    let mut last = HashMap::new();
    for (number, is_flagged, priority) in found {
        if seen.insert(*number, ()).is_some() {
            assert!(is_flagged, "{queue}: {number} is there twice");
            continue;
        }
        let lane = if queue == "classic" || queue == "stream" {
            0
        } else {
            *priority
        };
        let before = last.insert(lane, *number);
        assert!(
            before.is_none_or(|before| before < *number),
            "{queue}: {before:?} before {number}"
        );
    }
    assert_eq!(seen.len(), usize::try_from(count).unwrap(), "{queue}");
}

const QUEUES: [&str; 4] = ["classic", "priorities", "quorum", "stream"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_and_messages_arrive_unchanged_and_in_order() {
    let (from, to) = (TestServer::start().await, TestServer::start().await);
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(&from).await;
    declare_all(&mut peer).await;
    fill(&mut peer, "all.x", 0..MESSAGES / 4).await;
    let full = || {
        QUEUES
            .iter()
            .all(|queue| from.ready(queue) == u64::from(MESSAGES / 4))
    };
    eventually("all are published", full).await;

    let (code, said) = finished(migrate(&from, &to, dir.path(), &["--dry-run"])).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("/ classic (classic): 2500 messages"),
        "{said}"
    );
    assert!(to.counts("classic").is_none(), "a dry run changes nothing");

    let (code, said) = finished(migrate(&from, &to, dir.path(), &[])).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("All counts agree."), "{said}");
    assert!(said.contains("not copied: users 'guest'"), "{said}");
    let report = report(dir.path());
    assert_eq!(report["agrees"], Value::Bool(true));
    assert_eq!(report["queues"].as_array().unwrap().len(), 4);
    for queue in QUEUES {
        let found = drain(&to, queue).await;
        check(queue, &found, MESSAGES / 4);
        assert!(
            found.iter().all(|(_, is_flagged, _)| !is_flagged),
            "{queue}"
        );
    }
    assert_eq!(from.ready("classic"), 0);
    assert_eq!(
        from.ready("stream"),
        u64::from(MESSAGES / 4),
        "a stream keeps its messages"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_migration_continues_while_messages_arrive() {
    let (from, to) = (TestServer::start().await, TestServer::start().await);
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(&from).await;
    declare_all(&mut peer).await;
    fill(&mut peer, "all.x", 0..MESSAGES / 2).await;
    let options = ["--follow", "--prefetch", "50"];
    let mut first = migrate(&from, &to, dir.path(), &options);
    fill(&mut peer, "all.x", MESSAGES / 2..MESSAGES * 3 / 4).await;
    eventually("some are moved", || confirmed(dir.path()) > 500).await;
    first.kill().unwrap();
    finished(first).await;

    // Fewer workers than queues go round.
    let round = ["--follow", "--parallel", "2"];
    let mut second = migrate(&from, &to, dir.path(), &round);
    fill(&mut peer, "all.x", MESSAGES * 3 / 4..MESSAGES).await;
    let deadline = Instant::now() + 5 * PATIENCE;
    let moved = || {
        let copied = next_offset(dir.path()) == u64::from(MESSAGES);
        let left = |queue: &&&str| from.ready(queue) + from.unacked(queue) > 0;
        let queues = QUEUES.iter().filter(|queue| **queue != "stream");
        copied && queues.filter(left).count() == 0
    };
    while !moved() {
        assert!(Instant::now() < deadline, "not all are moved");
        assert!(
            second.try_wait().unwrap().is_none(),
            "it goes on until it is stopped"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pid = rustix::process::Pid::from_child(&second);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let (code, said) = finished(second).await;
    assert_eq!(code, 0, "{said}");
    for queue in QUEUES {
        check(queue, &drain(&to, queue).await, MESSAGES);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_the_target_does_not_have_fails_alone() {
    let (from, to) = (TestServer::start().await, TestServer::start().await);
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Peer::new(&from).await;
    declare_all(&mut peer).await;
    fill(&mut peer, "all.x", 0..10).await;
    Peer::new(&to)
        .await
        .declare_durable(1, "classic", &[])
        .await;
    let only = ["--messages-only", "--queues", "^(classic|quorum)$"];
    let (code, said) = finished(migrate(&from, &to, dir.path(), &only)).await;
    assert_eq!(code, 1, "{said}");
    let verdicts = report(dir.path());
    let verdict = |index: usize| verdicts["queues"][index]["verdict"]["result"].clone();
    assert_eq!(
        (verdict(0), verdict(1)),
        ("agrees".into(), "failed".into()),
        "{said}"
    );
    assert_eq!(to.ready("classic"), 10);
    assert_eq!(from.ready("quorum"), 10);
}
