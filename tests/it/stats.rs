//! The counters of queues, exchanges, channels, virtual hosts and the broker move as messages move.

use leveret::broker::stats::{Deaths, HandedOut, MessageStats, Protocol, Published};
use leveret::model::arguments::QueueKind;
use leveret::wire::protocol::queue;
use leveret::wire::{AMQPClass, AMQPValue};

use crate::support::{Peer, Publish, TestServer, delete_queue, eventually_eq};

fn of_queue(server: &TestServer, queue: &str) -> MessageStats {
    server.queue(queue).stats().messages()
}

fn of_vhost(server: &TestServer) -> MessageStats {
    server
        .broker
        .vhost("/")
        .unwrap()
        .stats()
        .totals()
        .messages()
}

fn of_exchange(server: &TestServer, exchange: &str) -> (u64, u64) {
    let exchange = server.broker.vhost("/").unwrap().exchange(exchange);
    let stats = exchange.unwrap().stats.messages();
    (stats.publish_in, stats.publish_out)
}

/// The counters of the only channel of a connection, in the order in which they were opened.
fn of_channel(server: &TestServer, connection: usize) -> MessageStats {
    let connections = server.broker.connections().list();
    let status = connections[connection].status();
    let channel = status.channels.first();
    channel.map_or_else(MessageStats::default, |channel| channel.message_stats)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_deliveries_and_acks_are_counted_wherever_they_pass() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    for queue in ["q", "other"] {
        peer.declare_durable(1, queue, &[]).await;
        peer.bind(1, queue, "amq.fanout", "").await;
    }
    peer.confirm_select(1).await;
    for _ in 0..3 {
        peer.publish_as(1, &Publish::to("amq.fanout", "", b"body"))
            .await;
    }
    peer.publish_as(1, &Publish::to("amq.fanout", "", &[0; 101]))
        .await;
    peer.publish_as(1, &Publish::to("amq.direct", "nowhere", b"1"))
        .await;
    peer.publish_as(1, &Publish::to("amq.direct", "nowhere", b"2").mandatory())
        .await;
    let published = Published {
        received: 6,
        received_confirm: 6,
        confirmed: 6,
        routed: 8,
        unroutable_dropped: 1,
        unroutable_returned: 1,
    };
    eventually_eq("all is counted", published, || {
        let totals = server.broker.stats().totals();
        *totals.published.of(Protocol::Amqp)
    })
    .await;
    let sizes = server.broker.stats().totals().sizes;
    let sizes = sizes.of(Protocol::Amqp);
    assert_eq!((&sizes.buckets[..3], sizes.sum), (&[5, 1, 0][..], 115));
    assert_eq!(of_exchange(&server, "amq.fanout"), (4, 8));
    assert_eq!(of_exchange(&server, "amq.direct"), (2, 0));
    assert_eq!(of_queue(&server, "q").publish, 4);
    eventually_eq("the disk has them", 4, || {
        of_queue(&server, "q").disk_writes
    })
    .await;

    let mut consumer = Peer::new(&server).await;
    consumer.consume(1, "q", "t").await;
    for tag in 1..=4 {
        assert_eq!(consumer.content().await.delivery_tag(), tag);
    }
    consumer.ack_up_to(1, 3).await;
    consumer.requeue(1, 4).await;
    assert!(consumer.content().await.delivery().1, "redelivered");
    eventually_eq("deliveries are counted", [5; 3], || {
        let stats = [
            of_queue(&server, "q"),
            of_vhost(&server),
            of_channel(&server, 1),
        ];
        stats.map(|stats| stats.deliver)
    })
    .await;
    for stats in [
        of_queue(&server, "q"),
        of_vhost(&server),
        of_channel(&server, 1),
    ] {
        assert_eq!((stats.ack, stats.redeliver, stats.deliver_get()), (3, 1, 5));
    }
    eventually_eq("the publisher's status is up to date", 6, || {
        of_channel(&server, 0).confirm
    })
    .await;
    for stats in [of_vhost(&server), of_channel(&server, 0)] {
        assert_eq!((stats.publish, stats.confirm), (6, 6));
        assert_eq!((stats.return_unroutable, stats.drop_unroutable), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetches_are_counted_by_acknowledgement_and_queue_type() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let quorum = AMQPValue::LongString("quorum".into());
    peer.declare_durable(1, "q", &[("x-queue-type", quorum)])
        .await;
    for body in ["1", "2"] {
        peer.publish(1, "q", body.as_bytes()).await;
    }
    eventually_eq("the messages are there", 2, || server.ready("q")).await;
    assert!(peer.get(1, "q").await.is_some());
    assert!(peer.get_no_ack(1, "q").await.is_some());
    assert!(peer.get(1, "q").await.is_none());
    peer.consume_no_ack(1, "q", "t").await;
    peer.publish(1, "q", b"3").await;
    assert_eq!(peer.content().await.text(), "3");
    let expected = HandedOut {
        deliver_no_ack: 1,
        get: 1,
        get_no_ack: 1,
        get_empty: 1,
        ..HandedOut::default()
    };
    let totals = server.broker.stats().totals();
    let by_kind = totals.handed_out.of(Protocol::Amqp);
    assert_eq!(*by_kind.of(QueueKind::Quorum), expected);
    assert_eq!(*by_kind.of(QueueKind::Classic), HandedOut::default());
    assert_eq!(server.queue("q").stats().handed_out, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_die_are_counted_by_reason() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let one = ("x-max-length", AMQPValue::LongInt(1));
    let letters = (
        "x-dead-letter-exchange",
        AMQPValue::LongString("amq.fanout".into()),
    );
    peer.declare_durable(1, "dropping", std::slice::from_ref(&one))
        .await;
    peer.declare_durable(1, "lettered", &[one, letters]).await;
    for queue in ["dropping", "lettered"] {
        for body in ["1", "2", "3"] {
            peer.publish(1, queue, body.as_bytes()).await;
        }
        let got = peer.get(1, queue).await.unwrap();
        peer.reject(1, got.delivery_tag()).await;
    }
    let deaths = Deaths {
        maxlen: 2,
        rejected: 1,
        ..Deaths::default()
    };
    eventually_eq("all deaths are counted", (deaths, deaths), || {
        let totals = server.broker.stats().totals();
        let kind = QueueKind::Classic;
        (*totals.dropped.of(kind), *totals.dead_lettered.of(kind))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cmq_counts_as_a_protocol_of_its_own() {
    let server = TestServer::start().await;
    let mut client = crate::cmq::client(&server).await;
    let q = ("queueName", "q");
    client.ok("CreateQueue", &[q]).await;
    for body in ["1", "2"] {
        client.ok("SendMessage", &[q, ("msgBody", body)]).await;
    }
    let got = client.ok("ReceiveMessage", &[q]).await;
    let handle = ("receiptHandle", got["receiptHandle"].as_str().unwrap());
    client.ok("DeleteMessage", &[q, handle]).await;
    client.ok("ReceiveMessage", &[q]).await;
    client.refused("ReceiveMessage", &[q]).await;
    let totals = server.broker.stats().totals();
    let published = totals.published.of(Protocol::Cmq);
    assert_eq!((published.received, published.confirmed), (2, 2));
    let by_kind = totals.handed_out.of(Protocol::Cmq);
    let expected = HandedOut {
        get: 2,
        get_empty: 1,
        ack: 1,
        ..HandedOut::default()
    };
    let kind = server.queue("q").spec().arguments.kind;
    assert_eq!(*by_kind.of(kind), expected);
    assert_eq!(of_queue(&server, "q").publish, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_channels_and_queues_are_counted_as_they_come_and_go() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.open(2).await;
    peer.declare(1, "q").await;
    peer.declare(1, "q").await;
    let passive = queue::Declare {
        passive: true,
        ..crate::support::declare("q")
    };
    peer.call(1, AMQPClass::Queue(queue::AMQPMethod::Declare(passive)))
        .await;
    peer.call(1, delete_queue("q")).await;
    peer.close_channel(2).await;
    peer.method().await;
    let churn = server.broker.stats().churn();
    assert_eq!((churn.connection_created, churn.connection_closed), (1, 0));
    assert_eq!((churn.channel_created, churn.channel_closed), (2, 1));
    assert_eq!(
        (
            churn.queue_declared,
            churn.queue_created,
            churn.queue_deleted
        ),
        (2, 1, 1)
    );
    let totals = server.broker.stats().totals();
    assert!(totals.received_bytes > 100 && totals.sent_bytes > 100);
    drop(peer);
    eventually_eq("all is closed", (1, 2), || {
        let churn = server.broker.stats().churn();
        (churn.connection_closed, churn.channel_closed)
    })
    .await;
}
