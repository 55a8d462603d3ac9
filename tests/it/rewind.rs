//! Rewinding a queue to acked messages, by a message to the reserved exchange, and over a restart.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use leveret::model::QueueOverrides;
use leveret::store::{MemoryStore, Store};
use leveret::wire::protocol::{basic, exchange, queue};
use leveret::wire::{AMQPClass, AMQPValue, FieldTable, decode_properties};
use serde_json::{Value, json};

use crate::support::reply_code::{ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED};
use crate::support::{Event, Peer, Publish, TestServer, eventually, eventually_eq, text};

const REPLY_TO: &str = "amq.rabbitmq.reply-to";
const REWIND: &str = "amq.leveret.rewind";
const CORRELATION_ID: &str = "7";

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

/// A request to rewind a queue to the place in the body.
fn request<'a>(queue: &str, place: &'a str) -> Publish<'a> {
    Publish::to(REWIND, queue, place.as_bytes())
        .transient()
        .with(|properties| properties.with_correlation_id(CORRELATION_ID.into()))
}

/// Asks for a rewind of a queue and reads the answer.
async fn rewind(peer: &mut Peer, queue: &str, place: &str) -> Value {
    ask(peer, request(queue, place)).await;
    answer(peer).await
}

/// Asks for a rewind of `q` to a place that the header gives, and reads the answer.
async fn rewind_by_header(peer: &mut Peer, place: AMQPValue) -> Value {
    let place = [("x-rewind-to", place)];
    ask(peer, request("q", "").with_headers(&place)).await;
    answer(peer).await
}

/// Sends a request that wants an answer.
async fn ask(peer: &mut Peer, request: Publish<'_>) {
    let request = request.with(|properties| properties.with_reply_to(REPLY_TO.into()));
    peer.publish_as(1, &request).await;
}

/// The answer to a request; the peer consumes from direct reply-to and from nothing else.
async fn answer(peer: &mut Peer) -> Value {
    let content = peer.content().await;
    let properties = decode_properties(&content.properties).unwrap();
    assert_eq!(
        properties.correlation_id().as_ref().unwrap().as_str(),
        CORRELATION_ID
    );
    assert_eq!(
        properties.content_type().as_ref().unwrap().as_str(),
        "application/json"
    );
    serde_json::from_slice(&content.body).unwrap()
}

async fn declare(peer: &mut Peer, name: &str, more: &[(&str, AMQPValue)]) {
    let mut arguments = vec![("x-rewind-seconds", AMQPValue::LongInt(3600))];
    arguments.extend_from_slice(more);
    peer.declare_durable(1, name, &arguments).await;
}

async fn until_rewindable(server: &TestServer, count: u64) {
    let rewindable = || server.counts("q").unwrap().rewindable;
    eventually_eq("all are acked", count, rewindable).await;
}

/// A peer that consumes answers from direct reply-to.
async fn requester(server: &TestServer) -> Peer {
    let mut peer = Peer::new(server).await;
    peer.consume_no_ack(1, REPLY_TO, "answers").await;
    peer
}

/// Gets and acks everything from `q`; returns bodies, `x-offset` and `x-enqueued-at`.
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
async fn a_request_to_the_reserved_exchange_rewinds_to_a_time_or_an_offset_and_is_answered() {
    let server = TestServer::start().await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(&mut peer, "q", &[("x-queue-type", text("quorum"))]).await;
    let began = now_ms();
    for body in ["a", "b"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq("two messages", 2, || server.ready("q")).await;
    // Milliseconds pass before and after, so that the time lies between the messages.
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
    until_rewindable(&server, 3).await;

    let reply = rewind(&mut requester, "q", &format!("{between}ms")).await;
    assert_eq!(
        reply,
        json!({"queue": "q", "messages": 1, "from_offset": 2})
    );
    assert_eq!(
        drain(&mut peer).await,
        first[2..],
        "offsets and times stay the same"
    );
    until_rewindable(&server, 3).await;
    let reply = rewind_by_header(&mut requester, AMQPValue::LongInt(1)).await;
    assert_eq!(reply["messages"], 2);
    assert_eq!(drain(&mut peer).await, first[1..]);
    until_rewindable(&server, 3).await;
    let reply = rewind_by_header(&mut requester, AMQPValue::Timestamp(began / 1000)).await;
    assert_eq!(reply["messages"], 3);
    assert_eq!(drain(&mut peer).await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewound_messages_go_to_consumers_that_exist_already() {
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
        until_rewindable(&server, round + 1).await;
        assert_eq!(
            rewind(&mut requester, "q", "0").await["messages"],
            round + 1
        );
        for expected in 0..=round {
            let (tag, again, body) = peer.content().await.delivery();
            assert_eq!((again, body), (true, format!("{expected}")));
            peer.ack(1, tag).await;
        }
        until_rewindable(&server, round + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_rewound_messages_survive_a_restart() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare(&mut peer, "q", &[]).await;
    peer.confirm_select(1).await;
    for body in ["a", "b", "c"] {
        peer.publish(1, "q", body.as_bytes()).await;
        peer.method().await;
    }
    let first = drain(&mut peer).await;
    until_rewindable(&server, 3).await;
    let server = server.restart().await;
    assert_eq!(server.counts("q").unwrap().rewindable, 3);
    let mut requester = requester(&server).await;
    assert_eq!(rewind(&mut requester, "q", "1").await["messages"], 2);
    let server = server.restart().await;
    let counts = server.counts("q").unwrap();
    assert_eq!(
        (counts.ready, counts.ready_bytes, counts.rewindable),
        (2, 2, 1)
    );
    assert_eq!(drain(&mut Peer::new(&server).await).await, first[1..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_can_be_switched_off_and_on_by_an_override() {
    let store = Arc::new(MemoryStore::default());
    let server = TestServer::start_on(store.clone()).await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(&mut peer, "q", &[]).await;
    for body in ["a", "b"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq("two messages", 2, || server.ready("q")).await;
    drain(&mut peer).await;
    until_rewindable(&server, 2).await;
    let vhost = server.broker.vhost("/").unwrap();
    let log = vhost.queue("q").unwrap().id().log(0);
    let chunks = || store.read(log, 0, usize::MAX).unwrap().len();
    eventually("on disk", || chunks() > 0).await;
    let set_history = async |rewind_ms| {
        let overrides = QueueOverrides {
            rewind_ms,
            ..QueueOverrides::default()
        };
        vhost.set_queue_overrides("q", overrides).await.unwrap();
    };
    set_history(Some(0)).await;
    assert_eq!(server.counts("q").unwrap().rewindable, 0);
    assert_eq!(
        rewind(&mut requester, "q", "0").await["code"],
        PRECONDITION_FAILED
    );
    eventually_eq("nothing on disk", 0, chunks).await;
    set_history(Some(60_000)).await;
    assert_eq!(rewind(&mut requester, "q", "0").await["messages"], 0);
    peer.publish(1, "q", b"c").await;
    eventually_eq("a message", 1, || server.ready("q")).await;
    drain(&mut peer).await;
    until_rewindable(&server, 1).await;
    let reply = rewind(&mut requester, "q", "0").await;
    assert_eq!(
        reply,
        json!({"queue": "q", "messages": 1, "from_offset": 2})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_rewind_is_answered_or_without_reply_to_closes_the_channel() {
    let server = TestServer::start().await;
    let (mut requester, mut peer) = (requester(&server).await, Peer::new(&server).await);
    declare(&mut peer, "q", &[("x-max-priority", AMQPValue::LongInt(3))]).await;
    peer.declare(1, "plain").await;
    peer.publish(1, "q", b"a").await;
    let later = format!("{}ms", now_ms() + 100_000);
    let queue = "queue 'q' in vhost '/'";
    for (name, place, code, error) in [
        ("nope", "0", NOT_FOUND, "NOT_FOUND - no queue 'nope' in vhost '/'".to_owned()),
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
        let reply = rewind(&mut requester, name, place).await;
        assert_eq!(reply, json!({"queue": name, "code": code, "error": error}));
        // Without reply-to, the refusal closes the channel.
        let mut other = Peer::new(&server).await;
        other.publish_as(1, &request(name, place)).await;
        assert_eq!(other.closed().await, (code, error));
    }
    let reply = rewind(&mut requester, "q", "yesterday").await;
    assert!(
        reply["error"]
            .as_str()
            .unwrap()
            .contains("'yesterday' is neither an offset"),
        "{reply}"
    );

    let users = server.broker.users();
    users
        .set_permissions("guest", "/", [".*", ".*", "other"])
        .await
        .unwrap();
    let reply = rewind(&mut requester, "q", "0").await;
    let error = "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'guest'";
    assert_eq!(
        reply,
        json!({"queue": "q", "code": ACCESS_REFUSED, "error": error})
    );
    users
        .set_permissions("guest", "/", [".*", "other", ".*"])
        .await
        .unwrap();
    ask(&mut requester, request("q", "0")).await;
    let error = "ACCESS_REFUSED - write access to exchange 'amq.leveret.rewind' in vhost '/' refused for user 'guest'";
    assert_eq!(requester.closed().await, (ACCESS_REFUSED, error.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_done_request_is_acked_and_a_refused_one_nacked() {
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
        ask(&mut requester, request("q", place)).await;
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
async fn the_reserved_exchange_can_be_declared_but_not_bound_and_is_not_listed() {
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
    let bind = queue::Bind {
        queue: "q".into(),
        exchange: REWIND.into(),
        routing_key: "q".into(),
        nowait: false,
        arguments: FieldTable::default(),
    };
    peer.send(1, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
        .await;
    let error = "PRECONDITION_FAILED - exchange 'amq.leveret.rewind' in vhost '/' cannot be bound";
    assert_eq!(peer.closed().await, (PRECONDITION_FAILED, error.to_owned()));
}
