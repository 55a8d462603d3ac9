//! Dead letters: in bounded steps that hold up nobody else, what a full queue takes of them, and what becomes of those
//! that wait when their queue is purged or deleted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use leveret::model::arguments::QueueKind;
use leveret::model::{Body, Message, Origin};
use leveret::wire::protocol::{basic, exchange, queue};
use leveret::wire::{AMQPClass, AMQPValue, FieldTable};

use crate::support::reply_code::PRECONDITION_FAILED;
use crate::support::{Peer, TestServer, eventually_eq, long, text};

async fn declare_exchange(peer: &mut Peer, name: &str, kind: &str, arguments: &[(&str, &str)]) {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), text(value));
    }
    let declare = exchange::AMQPMethod::Declare(exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: table,
    });
    peer.call(1, AMQPClass::Exchange(declare)).await;
}

/// Publishes to `queue` and waits for the confirm.
async fn confirmed(peer: &mut Peer, queue: &str, body: &[u8]) {
    peer.publish(1, queue, body).await;
    let (_, method) = peer.method().await;
    assert!(matches!(
        method,
        AMQPClass::Basic(basic::AMQPMethod::Ack(_))
    ));
}

async fn bodies(peer: &mut Peer, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(content) = peer.get_no_ack(1, queue).await {
        bodies.push(content.text());
    }
    bodies
}

async fn all_published(server: &TestServer) {
    assert!(
        server
            .broker
            .letters_published(Duration::from_secs(60))
            .await
    );
}

/// Of full queues each is the dead letter queue of all others: one message more sets off thousands of dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_of_dead_letters_stalls_no_one_else() {
    const QUEUES: usize = 6;
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare_exchange(&mut peer, "loop", "fanout", &[]).await;
    let names: Vec<String> = (0..QUEUES).map(|number| format!("q{number}")).collect();
    let arguments = [
        ("x-max-length", long(1)),
        ("x-dead-letter-exchange", text("loop")),
    ];
    for name in &names {
        peer.declare_durable(1, name, &arguments).await;
        peer.bind(1, name, "loop", "").await;
        peer.publish(1, name, b"full").await;
    }
    let mut other = Peer::new(&server).await;
    other.declare(1, "other").await;
    other.confirm_select(1).await;
    peer.confirm_select(1).await;
    confirmed(&mut peer, &names[0], b"push").await;
    let mut confirms = 0;
    while !server.broker.letters_published(Duration::ZERO).await {
        confirmed(&mut other, "other", b"b").await;
        confirms += 1;
    }
    assert!(
        confirms > 1,
        "the cascade was over before the first confirm"
    );
    for name in &names {
        assert_eq!(server.numbers(name), (1, 0, 0), "{name}");
    }
}

fn message(body: &str, expiration_ms: Option<u64>) -> Arc<Message> {
    Arc::new(Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: b"\0\0"[..].into(),
        body: Body::Whole(Bytes::copy_from_slice(body.as_bytes())),
        persistent: true,
        priority: 0,
        expiration_ms,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
    })
}

/// They wait behind one that does not expire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_expire_at_once_are_dead_lettered_in_order_and_in_steps() {
    const MESSAGES: u64 = 20_000;
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let arguments = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    peer.declare_durable(1, "q", &arguments).await;
    peer.declare(1, "dead").await;
    let mut other = Peer::new(&server).await;
    other.declare(1, "other").await;
    other.confirm_select(1).await;
    let queue = server.broker.vhost("/").unwrap().queue("q").unwrap();
    queue.publish(&[message("first", None)]);
    let all: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    for bodies in all.chunks(500) {
        let run: Vec<_> = bodies.iter().map(|body| message(body, Some(1))).collect();
        queue.publish(&run);
    }
    assert_eq!(server.ready("q"), MESSAGES + 1);
    assert!(peer.get_no_ack(1, "q").await.is_some());
    let mut confirms = 0;
    while server.ready("dead") < MESSAGES {
        confirmed(&mut other, "other", b"b").await;
        confirms += 1;
    }
    assert!(confirms > 1);
    let mut reader = Peer::new(&server).await;
    reader.consume_no_ack(1, "dead", "t").await;
    for body in &all {
        assert_eq!(&reader.content().await.text(), body);
    }
}

/// More than are published at once.
const MANY: usize = 3_000;

/// A queue `q` whose messages, as many, are all with a consumer; they go to `dead`.
async fn held(peer: &mut Peer, auto_delete: bool) -> u64 {
    let mut table = FieldTable::default();
    table.insert("x-dead-letter-exchange".into(), text(""));
    table.insert("x-dead-letter-routing-key".into(), text("dead"));
    let declare = queue::AMQPMethod::Declare(queue::Declare {
        queue: "q".into(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete,
        nowait: false,
        arguments: table,
    });
    peer.call(1, AMQPClass::Queue(declare)).await;
    peer.declare(1, "dead").await;
    for number in 0..MANY {
        peer.publish(1, "q", number.to_string().as_bytes()).await;
    }
    peer.consume(1, "q", "t").await;
    let mut last = 0;
    for _ in 0..MANY {
        last = peer.content().await.delivery_tag();
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_that_wait_outlive_a_purge_and_the_end_of_their_queue() {
    for how in ["purge", "delete", "auto-delete"] {
        let server = TestServer::start().await;
        let mut peer = Peer::new(&server).await;
        let last = held(&mut peer, how == "auto-delete").await;
        peer.reject_up_to(1, last).await;
        let method = match how {
            "purge" => AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge {
                queue: "q".into(),
                nowait: false,
            })),
            "delete" => AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
                queue: "q".into(),
                if_unused: false,
                if_empty: false,
                nowait: false,
            })),
            _ => AMQPClass::Basic(basic::AMQPMethod::Cancel(basic::Cancel {
                consumer_tag: "t".into(),
                nowait: false,
            })),
        };
        peer.send(1, method).await;
        eventually_eq(how, MANY as u64, || server.ready("dead")).await;
        let all: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
        let mut reader = Peer::new(&server).await;
        assert_eq!(bodies(&mut reader, "dead").await, all, "{how}");
        if how == "purge" {
            assert_eq!(server.numbers("q"), (0, 0, 1));
        } else {
            assert!(server.counts("q").is_none());
        }
    }
}

/// What a message frees by leaving a full queue is free before its dead letter comes back there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_finds_the_room_that_its_message_left() {
    let server = TestServer::start().await;
    for (kind, overflow) in [
        ("classic", "drop-head"),
        ("classic", "reject-publish"),
        ("classic", "reject-publish-dlx"),
        ("quorum", "drop-head"),
        ("quorum", "reject-publish"),
    ] {
        let name = format!("{kind} {overflow}");
        let mut peer = Peer::new(&server).await;
        let arguments = [
            ("x-queue-type", text(kind)),
            ("x-max-length", long(1)),
            ("x-overflow", text(overflow)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(&name)),
        ];
        peer.declare_durable(1, &name, &arguments).await;
        peer.qos(1, 1).await;
        peer.consume(1, &name, "t").await;
        peer.publish(1, &name, b"first").await;
        let first = peer.content().await.delivery();
        assert_eq!(first.2, "first", "{name}");
        peer.publish(1, &name, b"second").await;
        eventually_eq("the second waits", 1, || server.ready(&name)).await;
        // It leaves the queue for the consumer, and makes room.
        peer.reject(1, first.0).await;
        let second = peer.content().await.delivery();
        assert_eq!(second.2, "second", "{name}");
        peer.ack(1, second.0).await;
        assert_eq!(peer.content().await.text(), "first", "{name}");
    }
}

/// One rule for all ways to a queue: a classic queue refuses dead letters when it is full, a quorum queue never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_takes_dead_letters_by_its_type_also_through_a_delayed_exchange() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare_exchange(&mut peer, "now", "direct", &[]).await;
    let kind = [("x-delayed-type", "direct")];
    declare_exchange(&mut peer, "later", "x-delayed-message", &kind).await;
    for through in ["now", "later"] {
        for kind in [QueueKind::Classic, QueueKind::Quorum] {
            let source = format!("{through} {}", kind.as_str());
            let target = format!("{source} target");
            let arguments = [
                ("x-dead-letter-exchange", text(through)),
                ("x-dead-letter-routing-key", text(&target)),
            ];
            peer.declare_durable(1, &source, &arguments).await;
            let arguments = [
                ("x-queue-type", text(kind.as_str())),
                ("x-max-length", long(1)),
                ("x-overflow", text("reject-publish")),
            ];
            peer.declare_durable(1, &target, &arguments).await;
            peer.bind(1, &target, through, &target).await;
            peer.publish(1, &target, b"full").await;
            let delay = [("x-delay", AMQPValue::LongInt(1))];
            // The default exchange delays as well.
            peer.publish_to(1, "", &source, &delay, "letter").await;
            eventually_eq("it is there", 1, || server.ready(&source)).await;
            let got = peer.get(1, &source).await.unwrap();
            peer.reject(1, got.delivery_tag()).await;
            eventually_eq("it has left", (0, 0, 0), || server.numbers(&source)).await;
            all_published(&server).await;
            let expected = match kind {
                QueueKind::Quorum => 2,
                _ => 1,
            };
            eventually_eq("what is delayed is due", 0, || {
                server.counts(&target).unwrap().delayed
            })
            .await;
            assert_eq!(server.ready(&target), expected, "{source}");
        }
    }
}

/// Messages that wait for their time belong to the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delayed_messages_are_purged_counted_and_seen() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let delay = [("x-delay", AMQPValue::LongInt(3_600_000))];
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"now").await;
    for body in ["one", "two"] {
        peer.publish_to(1, "", "q", &delay, body).await;
    }
    let delayed = |queue: &str| server.counts(queue).unwrap().delayed;
    eventually_eq("they wait", 2, || delayed("q")).await;
    let delete = |queue: &str, if_empty| {
        AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
            queue: queue.into(),
            if_unused: false,
            if_empty,
            nowait: false,
        }))
    };
    let mut refused = Peer::new(&server).await;
    let got = peer.get_no_ack(1, "q").await;
    assert!(got.is_some());
    refused.send(1, delete("q", true)).await;
    let (code, _) = refused.closed().await;
    assert_eq!(code, PRECONDITION_FAILED);
    peer.publish(1, "q", b"now").await;
    let purge = queue::AMQPMethod::Purge(queue::Purge {
        queue: "q".into(),
        nowait: false,
    });
    let purged = peer.call(1, AMQPClass::Queue(purge)).await;
    let AMQPClass::Queue(queue::AMQPMethod::PurgeOk(purged)) = purged else {
        panic!("{purged:?}")
    };
    assert_eq!((purged.message_count, delayed("q")), (3, 0));
    // The log goes on after it.
    let soon = [("x-delay", AMQPValue::LongInt(1))];
    peer.publish_to(1, "", "q", &soon, "soon").await;
    eventually_eq("it is due", 1, || server.ready("q")).await;
    assert_eq!(bodies(&mut peer, "q").await, ["soon"]);
    peer.call(1, delete("q", true)).await;

    for (limit, max) in [("x-max-length", 2), ("x-max-length-bytes", 8)] {
        let arguments = [(limit, long(max)), ("x-overflow", text("reject-publish"))];
        peer.declare_durable(1, limit, &arguments).await;
        peer.publish(1, limit, b"four").await;
        for body in ["four", "more", "most"] {
            peer.publish_to(1, "", limit, &delay, body).await;
        }
        peer.publish(1, limit, b"last").await;
        peer.declare_durable(1, limit, &arguments).await; // all before is done
        let counts = server.counts(limit).unwrap();
        assert_eq!((counts.ready, counts.delayed), (1, 1), "{limit}");
    }
}
