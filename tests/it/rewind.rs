//! Acked messages that are read again: by a message to the reserved exchange, over a restart, and very many of them.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use leveret::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
use leveret::broker::queue::{RewindTo, Settle};
use leveret::broker::session::DeclareQueue;
use leveret::model::{Body, Message, Origin, QueueOverrides};
use leveret::store::{Committer, FjallOptions, FjallStore, Limits, MemoryStore, Store};
use leveret::wire::protocol::{basic, exchange};
use leveret::wire::{
    AMQPClass, AMQPProperties, AMQPValue, FieldTable, FrameKind, decode_properties,
    encode_properties,
};
use serde_json::{Value, json};

use crate::support::reply_code::{ACCESS_REFUSED, PRECONDITION_FAILED};
use crate::support::{Event, Peer, TestServer, eventually, eventually_eq};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const REWIND: &str = "amq.leveret.rewind";

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

/// Asks for a rewind of `queue`; the place stands in the body, unless `header` says it.
async fn ask(peer: &mut Peer, queue: &str, header: Option<AMQPValue>, body: &str, answer: bool) {
    let publish = basic::Publish {
        exchange: REWIND.into(),
        routing_key: queue.into(),
        mandatory: false,
        immediate: false,
    };
    let mut properties = AMQPProperties::default().with_correlation_id("7".into());
    if let Some(value) = header {
        let mut headers = FieldTable::default();
        headers.insert("x-rewind-to".into(), value);
        properties = properties.with_headers(headers);
    }
    if answer {
        properties = properties.with_reply_to(REPLY_TO.into());
    }
    peer.basic(1, basic::AMQPMethod::Publish(publish)).await;
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&(body.len() as u64).to_be_bytes());
    header.extend_from_slice(&encode_properties(&properties));
    peer.frame(FrameKind::Header, 1, &header).await;
    if !body.is_empty() {
        peer.frame(FrameKind::Body, 1, body.as_bytes()).await;
    }
}

/// The answer to a request; the peer consumes from direct reply-to and from nothing else.
async fn answer(peer: &mut Peer) -> Value {
    let content = peer.content().await;
    let properties = decode_properties(&content.properties).unwrap();
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "7");
    assert_eq!(
        properties.content_type().as_ref().unwrap().as_str(),
        "application/json"
    );
    serde_json::from_slice(&content.body).unwrap()
}

async fn rewound(peer: &mut Peer, to: &str) -> Value {
    ask(peer, "q", None, to, true).await;
    answer(peer).await
}

async fn declare(peer: &mut Peer, name: &str, more: &[(&str, AMQPValue)]) {
    let mut arguments = vec![("x-rewind-seconds", AMQPValue::LongInt(3600))];
    arguments.extend_from_slice(more);
    peer.declare_durable(1, name, &arguments).await;
}

/// A requester: a peer that waits for answers.
async fn requester(server: &TestServer) -> Peer {
    let mut peer = Peer::new(server).await;
    peer.consume_no_ack(1, REPLY_TO, "answers").await;
    peer
}

/// Gets everything from `q` and acks it: bodies, `x-offset` and `x-enqueued-at`.
async fn drain(peer: &mut Peer) -> Vec<(String, i64, i64)> {
    let mut drained = Vec::new();
    while let Some(content) = peer.get(1, "q").await {
        let (tag, _, body) = content.delivery();
        let properties = decode_properties(&content.properties).unwrap();
        let headers = properties.headers().clone().unwrap();
        let number = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongLongInt(value)) => *value,
            other => panic!("{name}: {other:?}"),
        };
        drained.push((body, number("x-offset"), number("x-enqueued-at")));
        peer.ack(1, tag).await;
    }
    drained
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_to_the_reserved_exchange_rewinds_a_queue_and_is_answered() {
    let server = TestServer::start().await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(
        &mut peer,
        "q",
        &[("x-queue-type", AMQPValue::LongString("quorum".into()))],
    )
    .await;
    let began = now_ms();
    for body in ["a", "b"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq("two messages", 2, || server.ready("q")).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = now_ms();
    tokio::time::sleep(Duration::from_millis(5)).await;
    peer.publish(1, "q", b"c").await;
    eventually_eq("three messages", 3, || server.ready("q")).await;
    let first = drain(&mut peer).await;
    let offsets: Vec<i64> = first.iter().map(|(_, offset, _)| *offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
    assert!(
        first
            .iter()
            .all(|(.., at)| u64::try_from(*at).unwrap() >= began)
    );
    eventually_eq("all acked", 3, || server.counts("q").unwrap().rewindable).await;

    let told = rewound(&mut requester, &format!("{between}ms")).await;
    assert_eq!(told, json!({"queue": "q", "messages": 1, "from_offset": 2}));
    assert_eq!(
        drain(&mut peer).await,
        first[2..],
        "the same places and times"
    );
    eventually_eq("all acked", 3, || server.counts("q").unwrap().rewindable).await;
    ask(&mut requester, "q", Some(AMQPValue::LongInt(1)), "", true).await;
    assert_eq!(answer(&mut requester).await["messages"], 2);
    assert_eq!(drain(&mut peer).await, first[1..]);
    eventually_eq("all acked", 3, || server.counts("q").unwrap().rewindable).await;
    ask(
        &mut requester,
        "q",
        Some(AMQPValue::Timestamp(began / 1000)),
        "",
        true,
    )
    .await;
    assert_eq!(answer(&mut requester).await["messages"], 3);
    assert_eq!(drain(&mut peer).await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_are_there_get_what_comes_back_at_once() {
    let server = TestServer::start().await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(&mut peer, "q", &[]).await;
    peer.qos(1, 10).await;
    peer.consume(1, "q", "c").await;
    for round in 0..20 {
        peer.publish(1, "q", format!("{round}").as_bytes()).await;
        let (tag, again, body) = peer.content().await.delivery();
        assert_eq!((again, body), (false, format!("{round}")));
        peer.ack(1, tag).await;
        eventually_eq("acked", round + 1, || {
            server.counts("q").unwrap().rewindable
        })
        .await;
        assert_eq!(rewound(&mut requester, "0").await["messages"], round + 1);
        for expected in 0..=round {
            let (tag, again, body) = peer.content().await.delivery();
            assert_eq!((again, body), (true, format!("{expected}")));
            peer.ack(1, tag).await;
        }
        eventually_eq("acked", round + 1, || {
            server.counts("q").unwrap().rewindable
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_and_what_was_rewound_survives_a_restart() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare(&mut peer, "q", &[]).await;
    peer.confirm_select(1).await;
    for body in ["a", "b", "c"] {
        peer.publish(1, "q", body.as_bytes()).await;
        peer.method().await;
    }
    let first = drain(&mut peer).await;
    eventually_eq("all acked", 3, || server.counts("q").unwrap().rewindable).await;
    let server = server.restart().await;
    assert_eq!(server.counts("q").unwrap().rewindable, 3);
    let mut requester = requester(&server).await;
    assert_eq!(rewound(&mut requester, "1").await["messages"], 2);
    let server = server.restart().await;
    let counts = server.counts("q").unwrap();
    assert_eq!(
        (counts.ready, counts.ready_bytes, counts.rewindable),
        (2, 2, 1)
    );
    assert_eq!(drain(&mut Peer::new(&server).await).await, first[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeping_is_switched_off_and_on_while_the_queue_works() {
    let store = Arc::new(MemoryStore::default());
    let server = TestServer::start_on(store.clone()).await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(&mut peer, "q", &[]).await;
    for body in ["a", "b"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq("two messages", 2, || server.ready("q")).await;
    drain(&mut peer).await;
    eventually_eq("all acked", 2, || server.counts("q").unwrap().rewindable).await;
    let vhost = server.broker.vhost("/").unwrap();
    let log = vhost.queue("q").unwrap().id().log(0);
    let chunks = || store.read(log, 0, usize::MAX).unwrap().len();
    eventually("on disk", || chunks() > 0).await;
    let keep = |rewind_ms| {
        let overrides = QueueOverrides {
            rewind_ms,
            ..QueueOverrides::default()
        };
        vhost.set_queue_overrides("q", overrides).unwrap();
    };
    keep(Some(0));
    assert_eq!(server.counts("q").unwrap().rewindable, 0);
    assert_eq!(
        rewound(&mut requester, "0").await["code"],
        PRECONDITION_FAILED
    );
    eventually_eq("nothing on disk", 0, || chunks()).await;
    keep(Some(60_000));
    assert_eq!(rewound(&mut requester, "0").await["messages"], 0);
    peer.publish(1, "q", b"c").await;
    eventually_eq("a message", 1, || server.ready("q")).await;
    drain(&mut peer).await;
    eventually_eq("acked", 1, || server.counts("q").unwrap().rewindable).await;
    let told = rewound(&mut requester, "0").await;
    assert_eq!(told, json!({"queue": "q", "messages": 1, "from_offset": 2}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_answered_or_end_the_channel() {
    let server = TestServer::start().await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(&mut peer, "q", &[("x-max-priority", AMQPValue::LongInt(3))]).await;
    peer.declare(1, "plain").await;
    peer.publish(1, "q", b"a").await;
    let later = format!("{}ms", now_ms() + 100_000);
    let queue = "queue 'q' in vhost '/'";
    for (name, place, code, text) in [
        ("nope", "0", 404, "NOT_FOUND - no queue 'nope' in vhost '/'".to_owned()),
        (
            "plain",
            "0",
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - cannot rewind queue 'plain' in vhost '/': the queue does not keep acked messages \
             (x-rewind-seconds)"
                .to_owned(),
        ),
        (
            "q",
            &*later,
            PRECONDITION_FAILED,
            format!("PRECONDITION_FAILED - cannot rewind {queue}: the time to rewind to is in the future"),
        ),
        (
            "q",
            "9",
            PRECONDITION_FAILED,
            format!("PRECONDITION_FAILED - cannot rewind {queue}: no message has that offset yet: the next one will be 1"),
        ),
    ] {
        ask(&mut requester, name, None, place, true).await;
        assert_eq!(answer(&mut requester).await, json!({"queue": name, "code": code, "error": text}));
        // Who does not wait for an answer learns it like this.
        let mut other = Peer::new(&server).await;
        ask(&mut other, name, None, place, false).await;
        assert_eq!(other.closed().await, (code, text));
    }
    ask(&mut requester, "q", None, "yesterday", true).await;
    let told = answer(&mut requester).await;
    assert!(
        told["error"]
            .as_str()
            .unwrap()
            .contains("'yesterday' is neither an offset"),
        "{told}"
    );

    let users = server.broker.users();
    users
        .set_permissions("guest", "/", [".*", ".*", "other"])
        .await
        .unwrap();
    ask(&mut requester, "q", None, "0", true).await;
    let text = "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'guest'";
    assert_eq!(
        answer(&mut requester).await,
        json!({"queue": "q", "code": ACCESS_REFUSED, "error": text})
    );
    users
        .set_permissions("guest", "/", [".*", "other", ".*"])
        .await
        .unwrap();
    ask(&mut requester, "q", None, "0", true).await;
    let text = "ACCESS_REFUSED - write access to exchange 'amq.leveret.rewind' in vhost '/' refused for user 'guest'";
    assert_eq!(requester.closed().await, (ACCESS_REFUSED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirms_tell_what_became_of_a_request() {
    let server = TestServer::start().await;
    let mut requester = requester(&server).await;
    declare(&mut requester, "q", &[]).await;
    requester.confirm_select(1).await;
    requester.publish(1, "q", b"a").await;
    assert!(matches!(
        requester.method().await.1,
        AMQPClass::Basic(basic::AMQPMethod::Ack(_))
    ));
    for (place, is_done) in [("0", true), ("9", false), ("0", true)] {
        ask(&mut requester, "q", None, place, true).await;
        let (mut answered, mut confirmed) = (false, None);
        while !answered || confirmed.is_none() {
            match requester.next().await {
                Event::Method(_, AMQPClass::Basic(method)) => match method {
                    basic::AMQPMethod::Ack(_) => confirmed = Some(true),
                    basic::AMQPMethod::Nack(_) => confirmed = Some(false),
                    _ => {}
                },
                Event::Body(..) => answered = true,
                _ => {}
            }
        }
        assert_eq!(confirmed, Some(is_done), "{place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reserved_exchange_is_there_but_takes_part_in_nothing() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    for passive in [true, false] {
        let declare = exchange::Declare {
            exchange: REWIND.into(),
            kind: "direct".into(),
            passive,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        let declare = AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare));
        let ok = peer.call(1, declare).await;
        assert!(
            matches!(ok, AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_))),
            "{ok:?}"
        );
    }
    let exchanges = server.broker.vhost("/").unwrap().exchanges();
    assert!(exchanges.iter().all(|exchange| *exchange.name != *REWIND));
    let bind = leveret::wire::protocol::queue::Bind {
        queue: "q".into(),
        exchange: REWIND.into(),
        routing_key: "q".into(),
        nowait: false,
        arguments: FieldTable::default(),
    };
    peer.send(
        1,
        AMQPClass::Queue(leveret::wire::protocol::queue::AMQPMethod::Bind(bind)),
    )
    .await;
    let text = "PRECONDITION_FAILED - exchange 'amq.leveret.rewind' in vhost '/' cannot be bound";
    assert_eq!(peer.closed().await, (PRECONDITION_FAILED, text.to_owned()));
}

/// Very many small messages on disk: the rewind itself is quick, and what comes back is read like a backlog. Run it by
/// name; the number of messages may be set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes and reads a million messages"]
async fn a_million_messages_come_back_in_a_moment() {
    const RUN: u64 = 1000;
    const BODY: usize = 100;
    let runs = std::env::var("REWIND_RUNS").map_or(1000, |runs| runs.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(dir.path(), FjallOptions::default()).unwrap();
    let committer = Committer::start(Arc::new(store), Limits::default()).unwrap();
    let config = BrokerConfig {
        memory_bytes: 16 << 20,
        ..BrokerConfig::default()
    };
    let broker = Broker::open(committer, config).await.unwrap();
    let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
    let user = broker.users().get(DEFAULT_USER).unwrap();
    let session = broker.session(Arc::clone(&vhost), user, broker.next_connection());
    let mut arguments = FieldTable::default();
    arguments.insert("x-rewind-seconds".into(), AMQPValue::LongInt(3600));
    let declare = DeclareQueue {
        name: "q",
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
    };
    session.declare_queue(declare).await.unwrap();
    let queue = vhost.queue("q").unwrap();
    let message = Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(b"\x10\x00\x02"), // delivery-mode 2
        body: Body::Whole(vec![b'.'; BODY].into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
    });
    let run_of_messages: Vec<_> = (0..RUN).map(|_| Arc::clone(&message)).collect();
    let mut middle_ms = 0;
    for run in 0..runs {
        if run == runs / 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            middle_ms = now_ms();
        }
        let mut ticket = queue.publish(&run_of_messages).ticket;
        let mut leases = Vec::new();
        while let Some(got) = queue.get(false).await.unwrap() {
            leases.push(got.lease);
        }
        assert_eq!(leases.len() as u64, RUN);
        ticket = ticket.max(queue.settle(Settle::Ack, &leases, &[]));
        broker.committer().wait(ticket.unwrap()).await.unwrap();
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
        broker
            .committer()
            .wait(rewound.ticket.unwrap())
            .await
            .unwrap();
        let took = began.elapsed();
        println!("{to:?}: {} messages in {took:?}", rewound.messages);
        assert_eq!(rewound.messages, expected);
        assert!(took < Duration::from_millis(100), "{took:?}");
    }
    let counts = queue.counts();
    assert_eq!((counts.ready, counts.ready_bytes), (all, all * BODY as u64));
    assert!(counts.resident_bytes < 1 << 20, "{counts:?}");
    let grown = resident_bytes().saturating_sub(before);
    println!("resident: {before} and {grown} more");
    assert!(grown < 32 << 20, "{grown}");
    let began = Instant::now();
    let mut leases = Vec::new();
    for _ in 0..all {
        leases.push(queue.get(false).await.unwrap().unwrap().lease);
        if leases.len() as u64 == RUN {
            queue.settle(Settle::Ack, &leases, &[]);
            leases.clear();
        }
    }
    println!("read back in {:?}", began.elapsed());
    assert!(queue.counts().resident_bytes < 32 << 20);
    broker.committer().shutdown();
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
