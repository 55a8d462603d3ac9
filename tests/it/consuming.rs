//! Deliveries: prefetch, acknowledgements, going back, and the end of consumers.

use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, queue};

use crate::support::{Peer, TestServer, eventually};

async fn with_messages(server: &TestServer, count: u32) -> Peer {
    let mut peer = Peer::new(server).await;
    peer.declare(1, "q").await;
    for i in 0..count {
        peer.publish(1, "q", i.to_string().as_bytes()).await;
    }
    eventually("the messages are there", || {
        server.numbers("q").0 == u64::from(count)
    })
    .await;
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefetch_limits_and_acks_free() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 6).await;
    peer.qos(1, 2, false).await;
    peer.consume(1, "q", "t", false).await;
    assert_eq!(peer.content().await.told(), (1, false, "0".to_owned()));
    assert_eq!(peer.content().await.told(), (2, false, "1".to_owned()));
    peer.nothing(1).await;
    peer.ack(1, 2, false).await;
    assert_eq!(peer.content().await.told(), (3, false, "2".to_owned()));
    peer.nothing(1).await;
    peer.ack(1, 0, true).await;
    assert_eq!(peer.content().await.told(), (4, false, "3".to_owned()));
    assert_eq!(peer.content().await.told(), (5, false, "4".to_owned()));
    peer.nothing(1).await;
    assert_eq!(server.numbers("q"), (1, 2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channels_prefetch_is_shared() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 10).await;
    peer.qos(1, 3, true).await;
    peer.consume(1, "q", "a", false).await;
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(peer.content().await.told().2);
    }
    peer.consume(1, "q", "b", false).await;
    peer.nothing(1).await;
    peer.ack(1, 2, true).await;
    for _ in 0..2 {
        got.push(peer.content().await.told().2);
    }
    peer.nothing(1).await;
    // The limit counts for those that are there already.
    peer.qos(1, 5, true).await;
    for _ in 0..2 {
        got.push(peer.content().await.told().2);
    }
    peer.nothing(1).await;
    got.sort();
    assert_eq!(got, ["0", "1", "2", "3", "4", "5", "6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_comes_again_in_order() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 5).await;
    for tag in 1..=4 {
        assert_eq!(
            peer.get(1, "q", false).await.unwrap().told(),
            (tag, false, (tag - 1).to_string())
        );
    }
    peer.nack(1, 3, false, true).await;
    peer.nack(1, 2, true, true).await;
    for (tag, body) in (5..).zip(["0", "1", "2"]) {
        assert_eq!(
            peer.get(1, "q", false).await.unwrap().told(),
            (tag, true, body.to_owned())
        );
    }
    assert_eq!(
        peer.get(1, "q", false).await.unwrap().told(),
        (8, false, "4".to_owned())
    );
    // Rejected without a dead letter exchange: gone.
    peer.nack(1, 5, true, false).await;
    peer.nothing(1).await;
    assert_eq!(server.numbers("q"), (0, 3, 0));
    drop(peer);
    eventually("the others are back", || server.numbers("q") == (3, 0, 0)).await;
    let mut peer = Peer::new(&server).await;
    for body in ["1", "2", "4"] {
        let (_, redelivered, got) = peer.get(1, "q", true).await.unwrap().told();
        assert_eq!((redelivered, got), (true, body.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recover_gives_everything_back() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 3).await;
    peer.consume(1, "q", "t", false).await;
    for i in 0..3 {
        assert_eq!(peer.content().await.told().2, i.to_string());
    }
    let recover = basic::AMQPMethod::Recover(basic::Recover { requeue: true });
    peer.basic(1, recover).await;
    assert!(matches!(
        peer.method().await.1,
        AMQPClass::Basic(basic::AMQPMethod::RecoverOk(_))
    ));
    for i in 0..3 {
        assert_eq!(peer.content().await.told(), (i + 4, true, i.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_cancel_ok_nothing_comes() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 500).await;
    peer.consume(1, "q", "t", false).await;
    let cancel = basic::Cancel {
        consumer_tag: "t".into(),
        nowait: false,
    };
    peer.basic(1, basic::AMQPMethod::Cancel(cancel)).await;
    let mut delivered = 0;
    loop {
        match peer.next().await {
            crate::support::Event::Method(_, AMQPClass::Basic(basic::AMQPMethod::Deliver(_))) => {
                delivered += 1
            }
            crate::support::Event::Method(_, AMQPClass::Basic(basic::AMQPMethod::CancelOk(_))) => {
                break;
            }
            crate::support::Event::Header(..) | crate::support::Event::Body(..) => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    peer.nothing(1).await;
    assert_eq!(server.numbers("q"), (500 - delivered, delivered, 0));
    // They may still be answered.
    peer.ack(1, delivered, true).await;
    eventually("they are acked", || {
        server.numbers("q") == (500 - delivered, 0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_tells_its_consumers() {
    let server = TestServer::start().await;
    let mut peer = with_messages(&server, 1).await;
    let mut other = Peer::new(&server).await;
    peer.consume(1, "q", "t", false).await;
    assert_eq!(peer.content().await.told().2, "0");
    let delete = queue::Delete {
        queue: "q".into(),
        if_unused: false,
        if_empty: false,
        nowait: false,
    };
    other
        .call(1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))
        .await;
    match peer.method().await.1 {
        AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
            assert_eq!((cancel.consumer_tag.as_str(), cancel.nowait), ("t", true));
        }
        other => panic!("not cancelled: {other:?}"),
    }
    // The tag is free, and what was delivered may still be answered.
    peer.ack(1, 1, false).await;
    peer.declare(1, "q").await;
    peer.consume(1, "q", "t", false).await;
}

/// Whoever deletes a durable queue reads the answer first, however long the disk takes, and then that the queue's
/// consumers have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_answered_before_its_consumers_are_cancelled() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for round in 0..20 {
        let name = format!("q{round}");
        peer.declare_with(1, &name, true, &[]).await;
        for tag in ["a", "b"] {
            peer.consume(1, &name, tag, true).await;
        }
        let delete = queue::Delete {
            queue: name.as_str().into(),
            if_unused: false,
            if_empty: false,
            nowait: false,
        };
        let answer = peer
            .call(1, AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))
            .await;
        assert!(
            matches!(answer, AMQPClass::Queue(queue::AMQPMethod::DeleteOk(_))),
            "round {round}: {answer:?} instead of the answer"
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

/// A consumer that does not read gets no more than its window, whatever is in the queue and however it asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_not_buffered_for() {
    let server = TestServer::start().await;
    let mut publisher = Peer::new(&server).await;
    publisher.declare(1, "q").await;
    publisher.confirm_select(1).await;
    let body = vec![7; 64 * 1024];
    for i in 1..=800 {
        publisher.publish(1, "q", &body).await;
        if i % 100 == 0 {
            eventually("they are there", || server.numbers("q").0 >= i - 20).await;
        }
    }
    let mut slow = Peer::new(&server).await;
    slow.consume(1, "q", "t", true).await;
    let mut last = 0;
    eventually("deliveries come to rest", || {
        let ready = server.numbers("q").0;
        std::mem::replace(&mut last, ready) == ready && ready < 800
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let ready = server.numbers("q").0;
    assert!(
        ready > 500,
        "{ready} of 800 messages are still in the queue"
    );
    for _ in 0..800 {
        assert_eq!(slow.content().await.body.len(), body.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_kept_too_long_closes_its_channel() {
    let server = TestServer::start_with(|settings| settings.consumer_timeout_ms = Some(1)).await;
    let client = crate::support::Client {
        heartbeat: 1,
        ..Default::default()
    };
    let mut peer = Peer::connect(server.address, client).await;
    peer.open(1).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.get(1, "q", false).await.unwrap();
    let (code, text) = loop {
        match peer.next().await {
            crate::support::Event::Heartbeat => peer.raw(&leveret::wire::HEARTBEAT).await,
            crate::support::Event::Method(1, AMQPClass::Channel(method)) => match method {
                leveret::wire::protocol::channel::AMQPMethod::Close(m) => {
                    break (m.reply_code, m.reply_text.to_string());
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 406);
    assert!(
        text.starts_with("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."),
        "{text}"
    );
    assert_eq!(server.numbers("q"), (1, 0, 0));
}
