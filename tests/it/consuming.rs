//! Deliveries, acknowledgements, requeueing, and the end of consumers.

use std::time::{Duration, Instant};

use leveret::wire::protocol::{basic, channel, queue};
use leveret::wire::{AMQPClass, HEARTBEAT};

use crate::support::reply_code::PRECONDITION_FAILED;
use crate::support::{Client, Event, Peer, TestServer, delete_queue, eventually, eventually_eq};

async fn with_messages(server: &TestServer, count: u32) -> Peer {
    let mut peer = Peer::new(server).await;
    peer.declare(1, "q").await;
    for i in 0..count {
        peer.publish(1, "q", i.to_string().as_bytes()).await;
    }
    eventually_eq("the messages are there", u64::from(count), || {
        server.ready("q")
    })
    .await;
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requeued_messages_return_to_their_old_places_and_are_redelivered_in_order() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 5).await;
    for tag in 1..=4 {
        assert_eq!(
            peer.get(1, "q").await.unwrap().delivery(),
            (tag, false, (tag - 1).to_string())
        );
    }
    peer.requeue(1, 3).await;
    peer.requeue_up_to(1, 2).await;
    for (tag, body) in (5..).zip(["0", "1", "2"]) {
        assert_eq!(
            peer.get(1, "q").await.unwrap().delivery(),
            (tag, true, body.to_owned())
        );
    }
    assert_eq!(
        peer.get(1, "q").await.unwrap().delivery(),
        (8, false, "4".to_owned())
    );
    // Without a dead letter exchange, a rejected message is dropped.
    peer.reject_up_to(1, 5).await;
    peer.expect_nothing(1).await;
    assert_eq!(server.numbers("q"), (0, 3, 0));
    drop(peer);
    eventually_eq("the others are back", (3, 0, 0), || server.numbers("q")).await;
    let mut peer = Peer::new(&server).await;
    for body in ["1", "2", "4"] {
        let (_, redelivered, got) = peer.get_no_ack(1, "q").await.unwrap().delivery();
        assert_eq!((redelivered, got), (true, body.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recover_requeues_all_unacked_messages_of_the_channel() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 3).await;
    peer.consume(1, "q", "t").await;
    for i in 0..3 {
        assert_eq!(peer.content().await.text(), i.to_string());
    }
    let recover = basic::AMQPMethod::Recover(basic::Recover { requeue: true });
    peer.basic(1, recover).await;
    assert!(matches!(
        peer.method().await.1,
        AMQPClass::Basic(basic::AMQPMethod::RecoverOk(_))
    ));
    for i in 0..3 {
        assert_eq!(
            peer.content().await.delivery(),
            (i + 4, true, i.to_string())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_delivered_after_cancel_ok_and_earlier_deliveries_can_be_acked() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 500).await;
    peer.consume(1, "q", "t").await;
    peer.cancel(1, "t").await;
    let mut delivered = 0;
    loop {
        match peer.next().await {
            Event::Method(_, AMQPClass::Basic(basic::AMQPMethod::Deliver(_))) => delivered += 1,
            Event::Method(_, AMQPClass::Basic(basic::AMQPMethod::CancelOk(_))) => {
                break;
            }
            Event::Header(..) | Event::Body(..) => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    peer.expect_nothing(1).await;
    assert_eq!(server.numbers("q"), (500 - delivered, delivered, 0));
    peer.ack_up_to(1, delivered).await;
    eventually_eq("they are acked", (500 - delivered, 0, 0), || {
        server.numbers("q")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_of_a_deleted_queue_are_cancelled_and_may_still_ack() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 1).await;
    let mut other = Peer::new(&server).await;
    peer.consume(1, "q", "t").await;
    assert_eq!(peer.content().await.text(), "0");
    other.call(1, delete_queue("q")).await;
    match peer.method().await.1 {
        AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
            assert_eq!((cancel.consumer_tag.as_str(), cancel.nowait), ("t", true));
        }
        other => panic!("not cancelled: {other:?}"),
    }
    // The consumer tag is free again, and an ack of an earlier delivery is no error.
    peer.ack(1, 1).await;
    peer.declare(1, "q").await;
    peer.consume(1, "q", "t").await;
}

/// `delete-ok` waits for the disk, and `basic.cancel` waits for `delete-ok`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delete_ok_comes_before_the_cancels_of_the_queues_consumers() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for round in 0..20 {
        let name = format!("q{round}");
        peer.declare_durable(1, &name, &[]).await;
        for tag in ["a", "b"] {
            peer.consume_no_ack(1, &name, tag).await;
        }
        let answer = peer.call(1, delete_queue(&name)).await;
        assert!(
            matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_))),
            "round {round}: {answer:?}"
        );
        let mut ended = Vec::new();
        for _ in 0..2 {
            match peer.method().await.1 {
                AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
                    ended.push(cancel.consumer_tag.to_string());
                }
                other => panic!("not cancelled: {other:?}"),
            }
        }
        ended.sort();
        assert_eq!(ended, ["a", "b"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_does_not_read_leaves_the_backlog_in_the_queue() {
    const MESSAGES: u64 = 800;
    /// Deliveries have stopped when the queue did not change for this long.
    const AT_REST: Duration = Duration::from_millis(300);
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    publisher.declare(1, "q").await;
    publisher.confirm_select(1).await;
    let body = vec![7; 64 * 1024];
    for i in 1..=MESSAGES {
        publisher.publish(1, "q", &body).await;
        if i % 100 == 0 {
            eventually("most are there", || server.ready("q") >= i - 20).await;
        }
    }
    let mut slow = Peer::new(&server).await;
    slow.consume_no_ack(1, "q", "t").await;
    let mut last = server.ready("q");
    let mut unchanged_since = Instant::now();
    eventually("deliveries come to rest", || {
        let ready = server.ready("q");
        if std::mem::replace(&mut last, ready) != ready {
            unchanged_since = Instant::now();
        }
        ready < MESSAGES && unchanged_since.elapsed() > AT_REST
    })
    .await;
    assert!(
        last > 500,
        "only {last} of {MESSAGES} are still in the queue"
    );
    for _ in 0..MESSAGES {
        assert_eq!(slow.content().await.body.len(), body.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_stays_unacked_past_the_consumer_timeout_closes_its_channel() {
    let server = TestServer::start_with(|settings| settings.consumer_timeout_ms = Some(1)).await;
    let client = Client {
        heartbeat: 1,
        ..Client::default()
    };
    let mut peer = Peer::connect(server.address, client).await;
    peer.open(1).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.get(1, "q").await.unwrap();
    let (code, text) = loop {
        match peer.next().await {
            Event::Heartbeat => peer.raw(&HEARTBEAT).await,
            Event::Method(1, AMQPClass::Channel(method)) => match method {
                channel::AMQPMethod::Close(m) => {
                    break (m.reply_code, m.reply_text.to_string());
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, PRECONDITION_FAILED);
    assert!(
        text.starts_with("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."),
        "{text}"
    );
    assert_eq!(server.numbers("q"), (1, 0, 0));
}
