//! Leases: a message that is not acked within `x-visibility-timeout` goes to another consumer. And messages that are
//! received by handle, outside any connection.

use std::time::Duration;

use leveret::wire::protocol::{basic, channel};
use leveret::wire::{AMQPClass, AMQPValue};

use crate::support::reply_code::PRECONDITION_FAILED;
use crate::support::{Peer, TestServer, eventually_eq, long, text};

/// Short enough to wait for; no test has to act within it.
const SHORT_MS: i64 = 300;
const LONG_MS: i64 = 600_000;

async fn declare(peer: &mut Peer, name: &str, arguments: &[(&str, AMQPValue)]) {
    peer.declare_durable(1, name, arguments).await;
}

async fn publish(server: &TestServer, peer: &mut Peer, bodies: &[&str]) {
    let before = server.ready("q");
    for body in bodies {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq(
        "the messages are there",
        before + bodies.len() as u64,
        || server.ready("q"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_not_acked_in_time_goes_to_another_consumer_and_a_late_ack_has_no_effect() {
    let server = TestServer::start().await;
    let mut slow = Peer::new(&server).await;
    declare(&mut slow, "q", &[("x-visibility-timeout", long(SHORT_MS))]).await;
    publish(&server, &mut slow, &["a", "b"]).await;
    // This consumer's lease outlasts the test: it holds the first message, and its prefetch allows no second.
    let mut other = Peer::new(&server).await;
    let arguments = [("x-visibility-timeout", long(LONG_MS))];
    other.qos(1, 1).await;
    other.consume_with(1, "q", "other", &arguments).await;
    assert_eq!(other.content().await.delivery(), (1, false, "a".to_owned()));
    slow.qos(1, 1).await;
    slow.consume(1, "q", "slow").await;
    assert_eq!(slow.content().await.delivery(), (1, false, "b".to_owned()));
    eventually_eq("the lease has ended", (1, 1, 2), || server.numbers("q")).await;
    // The message is back at its old place, before "c".
    publish(&server, &mut slow, &["c"]).await;
    other.ack(1, 1).await;
    assert_eq!(other.content().await.delivery(), (2, true, "b".to_owned()));
    assert_eq!(server.numbers("q"), (1, 1, 2));
    // The late ack frees the prefetch, and the channel stays open.
    slow.ack(1, 1).await;
    assert_eq!(slow.content().await.delivery(), (2, false, "c".to_owned()));
    slow.requeue(1, 2).await;
    assert_eq!(slow.content().await.delivery(), (3, true, "c".to_owned()));
    drop(slow);
    eventually_eq("it is alone", (1, 1, 1), || server.numbers("q")).await;
    other.ack(1, 2).await;
    assert_eq!(other.content().await.delivery(), (3, true, "c".to_owned()));
    other.ack(1, 3).await;
    eventually_eq("nothing is left", (0, 0, 1), || server.numbers("q")).await;
    other.expect_nothing(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_acks_and_nacks_of_every_kind_have_no_effect() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let arguments = [
        ("x-visibility-timeout", long(SHORT_MS)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    declare(&mut peer, "q", &arguments).await;
    peer.declare(1, "dead").await;
    publish(&server, &mut peer, &["a"]).await;
    for tag in 1..=3 {
        assert_eq!(
            peer.get(1, "q").await.unwrap().delivery(),
            (tag, tag > 1, "a".to_owned())
        );
        eventually_eq("the lease has ended", 1, || server.ready("q")).await;
        match tag {
            1 => peer.reject(1, 1).await,
            2 => peer.ack_all(1).await,
            _ => peer.requeue_up_to(1, 3).await,
        }
        peer.expect_nothing(1).await;
        assert_eq!(server.numbers("q"), (1, 0, 0), "after answer {tag}");
        assert_eq!(server.numbers("dead"), (0, 0, 0));
    }
    // A late ack uses up its delivery tag.
    peer.ack(1, 1).await;
    let (code, text) = peer.closed().await;
    assert_eq!(
        (code, &*text),
        (
            PRECONDITION_FAILED,
            "PRECONDITION_FAILED - unknown delivery tag 1"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_leases_raise_the_delivery_count_up_to_the_delivery_limit() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let arguments = [
        ("x-queue-type", text("quorum")),
        ("x-visibility-timeout", long(50)),
        ("x-delivery-limit", long(2)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("dead")),
    ];
    declare(&mut peer, "q", &arguments).await;
    peer.declare(1, "dead").await;
    peer.consume(1, "q", "never").await;
    peer.publish(1, "q", b"poison").await;
    for tag in 1..=3_u64 {
        let content = peer.content().await;
        assert_eq!(content.delivery(), (tag, tag > 1, "poison".to_owned()));
        let headers = content.headers();
        let count = headers.inner().get("x-delivery-count").cloned();
        let expected = i64::try_from(tag).unwrap() - 1;
        assert_eq!(count, (expected > 0).then(|| long(expected)));
    }
    eventually_eq("it is dead", (1, (0, 0, 1)), || {
        (server.ready("dead"), server.numbers("q"))
    })
    .await;
    let dead = peer.get_no_ack(1, "dead").await.unwrap();
    assert_eq!(
        dead.headers().inner().get("x-first-death-reason"),
        Some(&text("delivery_limit"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_visibility_timeout_of_a_consumer_is_refused() {
    let server = TestServer::start().await;
    for (value, fault) in [
        (long(0), "{value_zero,0}"),
        (long(-1), "{value_negative,-1}"),
        (text("5"), "\"expected integer, got longstr\""),
        (long(315_360_000_001), "{value_too_large,315360000001}"),
    ] {
        let mut peer = Peer::new(&server).await;
        peer.declare(1, "q").await;
        let arguments = [("x-visibility-timeout", value)];
        let answer = peer.try_consume(1, "q", "t", &arguments).await;
        let AMQPClass::Channel(channel::AMQPMethod::Close(close)) = answer else {
            panic!("not refused: {answer:?}");
        };
        let expected = format!(
            "PRECONDITION_FAILED - invalid arg 'x-visibility-timeout' for queue 'q' in vhost '/': {fault}"
        );
        assert_eq!(
            (close.reply_code, close.reply_text.to_string()),
            (PRECONDITION_FAILED, expected)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_does_not_requeue_what_was_received_by_handle() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare(&mut peer, "q", &[("x-visibility-timeout", long(LONG_MS))]).await;
    let queue = server.queue("q");
    publish(&server, &mut peer, &["a", "b", "c", "d"]).await;
    let got = peer.get(1, "q").await.unwrap();
    assert_eq!(got.text(), "a");
    let batch = queue.receive(2, Duration::ZERO).await.unwrap().accept();
    assert_eq!(batch.len(), 2);
    assert_eq!(server.numbers("q"), (1, 3, 0));
    // The connection requeues its own message only.
    let recover = basic::AMQPMethod::RecoverAsync(basic::RecoverAsync { requeue: true });
    peer.basic(1, recover).await;
    peer.expect_nothing(1).await;
    assert_eq!(server.numbers("q"), (2, 2, 0));
    drop(peer);
    let (valid, _) = queue.delete_received(&[batch[0].handle]);
    assert_eq!(valid, [true]);
    assert_eq!(server.numbers("q"), (2, 1, 0));
    // Both messages that are left can be received.
    let waiting = queue.receive(16, Duration::from_secs(20)).await.unwrap();
    assert_eq!(waiting.messages.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipt_handles_survive_a_restart_and_unacked_deliveries_are_requeued() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    declare(&mut peer, "q", &[("x-visibility-timeout", long(LONG_MS))]).await;
    publish(&server, &mut peer, &["a", "b", "c"]).await;
    peer.get(1, "q").await.unwrap();
    let batch = server.queue("q").receive(1, Duration::ZERO).await.unwrap();
    let committer = server.broker.committer();
    committer.wait(batch.ticket.unwrap()).await.unwrap();
    let batch = batch.accept();
    drop(peer);
    let server = server.restart().await;
    assert_eq!(server.numbers("q"), (2, 1, 0));
    let mut peer = Peer::new(&server).await;
    assert_eq!(peer.get(1, "q").await.unwrap().text(), "a");
    assert_eq!(peer.get(1, "q").await.unwrap().text(), "c");
    assert!(peer.get(1, "q").await.is_none());
    let (valid, ticket) = server.queue("q").delete_received(&[batch[0].handle]);
    assert_eq!(valid, [true]);
    let committer = server.broker.committer();
    committer.wait(ticket.unwrap()).await.unwrap();
    peer.ack_all(1).await;
    eventually_eq("nothing is left", (0, 0, 0), || server.numbers("q")).await;
}
