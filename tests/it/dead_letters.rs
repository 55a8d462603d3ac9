//! Dead lettering: in steps that leave time for other clients, into full queues, and after the queue is purged or deleted.

use std::sync::Arc;
use std::time::Duration;

use leveret::model::Message;
use leveret::model::arguments::QueueKind;
use leveret::wire::protocol::{basic, queue};
use leveret::wire::{AMQPClass, AMQPValue};
use rustix::process::Signal;

use crate::process::Process;
use crate::support::socketless::message;
use crate::support::{
    Client, PATIENCE, Peer, TestServer, declare, delete_queue, eventually_eq, long, purge, table,
    text,
};

/// Arguments that send dead letters to the queue `dead`.
fn to_dead() -> [(&'static str, AMQPValue); 2] {
    [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ]
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

/// A client of a broker process, with channel 1.
async fn connected(broker: &Process) -> Peer {
    let address = broker.address.parse().unwrap();
    let mut peer = Peer::connect(address, Client::default()).await;
    peer.open(1).await;
    peer
}

/// Drains a queue; returns the bodies.
async fn drain(peer: &mut Peer, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(content) = peer.get_no_ack(1, queue).await {
        bodies.push(content.text());
    }
    bodies
}

/// Each of these full queues gets the dead letters of all others: one more message causes thousands of dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cascade_of_dead_letters_leaves_time_for_other_clients() {
    const QUEUES: usize = 6;
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_exchange(1, "loop", "fanout", &[]).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_messages_that_expire_together_are_dead_lettered_in_order_and_leave_time_for_others() {
    const MESSAGES: u64 = 20_000;
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, "q", &to_dead()).await;
    peer.declare(1, "dead").await;
    let mut other = Peer::new(&server).await;
    other.declare(1, "other").await;
    other.confirm_select(1).await;
    let queue = server.queue("q");
    let message = |body: &str, expiration_ms| {
        Arc::new(Message {
            expiration_ms,
            ..message("q", body.to_owned())
        })
    };
    // They expire behind a message that does not: when it leaves, all of them are dead.
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
    assert!(confirms > 1, "no other client was served meanwhile");
    let mut reader = Peer::new(&server).await;
    reader.consume_no_ack(1, "dead", "t").await;
    for body in &all {
        assert_eq!(&reader.content().await.text(), body);
    }
}

/// More messages than one step of dead lettering publishes.
const MANY: usize = 3_000;

/// Fills `q`, which dead-letters to `dead`, and delivers all of it to a consumer; returns the last delivery tag.
async fn delivered(peer: &mut Peer, auto_delete: bool) -> u64 {
    let declare = queue::Declare {
        durable: true,
        auto_delete,
        arguments: table(&to_dead()),
        ..declare("q")
    };
    peer.declare_as(1, declare).await;
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
async fn pending_dead_letters_are_published_after_their_queue_is_purged_or_deleted() {
    for how in ["purge", "delete", "auto-delete"] {
        let server = TestServer::start().await;
        let mut peer = Peer::new(&server).await;
        let last = delivered(&mut peer, how == "auto-delete").await;
        peer.reject_up_to(1, last).await;
        match how {
            "purge" => peer.send(1, purge("q")).await,
            "delete" => peer.send(1, delete_queue("q")).await,
            _ => peer.cancel(1, "t").await,
        }
        eventually_eq(how, MANY as u64, || server.ready("dead")).await;
        let all: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
        let mut reader = Peer::new(&server).await;
        assert_eq!(drain(&mut reader, "dead").await, all, "{how}");
        if how == "purge" {
            assert_eq!(server.numbers("q"), (0, 0, 1));
        } else {
            assert!(server.counts("q").is_none());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_dies_in_a_full_queue_leaves_room_for_its_own_dead_letter() {
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
        // The second message goes to the consumer, and the queue has room again.
        peer.reject(1, first.0).await;
        let second = peer.content().await.delivery();
        assert_eq!(second.2, "second", "{name}");
        peer.ack(1, second.0).await;
        assert_eq!(peer.content().await.text(), "first", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_classic_queue_refuses_dead_letters_and_a_full_quorum_queue_accepts_them() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_exchange(1, "now", "direct", &[]).await;
    let kind = [("x-delayed-type", text("direct"))];
    peer.declare_exchange(1, "later", "x-delayed-message", &kind)
        .await;
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
            // A delay through the default exchange changes nothing.
            peer.publish_to(1, "", &source, &delay, "letter").await;
            eventually_eq("it is there", 1, || server.ready(&source)).await;
            let got = peer.get(1, &source).await.unwrap();
            peer.reject(1, got.delivery_tag()).await;
            eventually_eq("it has left", (0, 0, 0), || server.numbers(&source)).await;
            assert!(server.broker.letters_published(PATIENCE).await);
            let expected = match kind {
                QueueKind::Quorum => 2,
                _ => 1,
            };
            eventually_eq("nothing is delayed any more", 0, || {
                server.counts(&target).unwrap().delayed
            })
            .await;
            assert_eq!(server.ready(&target), expected, "{source}");
        }
    }
}

/// A message is new until a client has had it, also over an orderly restart, as in RabbitMQ. After a crash nothing tells
/// which messages clients have had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_dead_letters_that_a_client_has_had_are_redelivered_after_an_orderly_restart() {
    for (signal, flags) in [
        (
            Signal::TERM,
            [("out", true), ("waits", false), ("later", false)],
        ),
        (
            Signal::KILL,
            [("out", true), ("waits", true), ("later", true)],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut broker = Process::start_by(|command| command, dir.path());
        let mut peer = connected(&broker).await;
        let arguments = [&to_dead()[..], &[("x-max-length", long(1))]].concat();
        peer.declare_durable(1, "dead", &[]).await;
        peer.declare_durable(1, "short", &arguments).await;
        peer.confirm_select(1).await;
        // Each pushes the one before out.
        for body in ["out", "waits", "later"] {
            confirmed(&mut peer, "short", body.as_bytes()).await;
        }
        assert_eq!(peer.get(1, "dead").await.unwrap().text(), "out");
        broker.signal(signal);
        broker.ended();
        let broker = Process::start_by(|command| command, dir.path());
        let mut peer = connected(&broker).await;
        peer.publish(1, "short", b"new").await;
        for (body, redelivered) in flags {
            let content = peer.get_no_ack(1, "dead").await.unwrap();
            let (_, flag, text) = content.delivery();
            assert_eq!((&text[..], flag), (body, redelivered), "{signal:?}");
        }
    }
}
