//! The firehose: what is copied to `amq.rabbitmq.trace` while tracing is on, and what that costs clients.

use std::sync::Arc;
use std::time::Duration;

use leveret::store::Limits;
use leveret::store::faulty::FaultyStore;
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue, PropertiesView};
use tokio::time::timeout;

use crate::support::{
    Client, Content, Peer, Publish, TestServer, declare, eventually, eventually_eq, keys, long,
    table, text,
};

const EXCHANGE: &str = "amq.rabbitmq.trace";

/// Turns tracing on in `/`, with the queue `trace` bound to all of it.
async fn trace(server: &TestServer, peer: &mut Peer) {
    peer.declare(1, "trace").await;
    peer.bind(1, "trace", EXCHANGE, "#").await;
    set_traced(server, true);
}

fn set_traced(server: &TestServer, traced: bool) {
    server.broker.vhost("/").unwrap().set_traced(traced);
}

/// The routing key of a traced message, the queues or redelivery that its headers tell, and its body.
fn told(content: &Content) -> (String, AMQPValue, String) {
    let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = &content.method else {
        panic!("{content:?}");
    };
    assert_eq!(ok.exchange.as_str(), EXCHANGE);
    let headers = content.headers();
    let fields = headers.inner();
    let told = fields.get("routed_queues").or(fields.get("redelivered"));
    let told = told.expect("what it tells").clone();
    (ok.routing_key.to_string(), told, content.text())
}

/// All messages in the queue `trace`.
async fn traced(peer: &mut Peer) -> Vec<(String, AMQPValue, String)> {
    let mut all = Vec::new();
    while let Some(content) = peer.get_no_ack(1, "trace").await {
        all.push(told(&content));
    }
    all
}

fn published(exchange: &str, queues: &[&str], body: &str) -> (String, AMQPValue, String) {
    let key = format!("publish.{exchange}");
    (key, keys(queues), body.to_owned())
}

fn delivered(queue: &str, redelivered: i32, body: &str) -> (String, AMQPValue, String) {
    let key = format!("deliver.{queue}");
    (key, AMQPValue::LongInt(redelivered), body.to_owned())
}

#[tokio::test]
async fn a_copy_has_the_body_and_headers_that_name_message_and_client() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    trace(&server, &mut peer).await;
    let headers = [("a", long(1))];
    let publish = Publish::to_queue("nowhere", b"body")
        .with_headers(&headers)
        .with(|properties| properties.with_priority(7));
    peer.publish_as(1, &publish).await;
    let copy = peer.get_no_ack(1, "trace").await.expect("a copy");
    let view = PropertiesView::parse(&copy.properties).expect("properties");
    assert_eq!((view.delivery_mode(), view.priority()), (None, None));
    let connection = server.views.connections().remove(0);
    let properties = [
        ("delivery_mode", AMQPValue::LongInt(2)),
        ("priority", AMQPValue::LongInt(7)),
        ("headers", AMQPValue::FieldTable(table(&headers))),
    ];
    let expected = table(&[
        ("channel", AMQPValue::LongInt(1)),
        ("connection", text(&connection.info.name())),
        ("exchange_name", text("")),
        ("node", text(&server.views.node().name)),
        ("properties", AMQPValue::FieldTable(table(&properties))),
        ("routed_queues", keys(&["nowhere"])),
        ("routing_keys", keys(&["nowhere"])),
        ("user", text("guest")),
        ("vhost", text("/")),
    ]);
    assert_eq!((copy.headers(), copy.text()), (expected, "body".to_owned()));
}

#[tokio::test]
async fn publishes_deliveries_and_gets_are_copied_in_order() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "q").await;
    peer.consume(1, "q", "t").await;
    trace(&server, &mut peer).await;
    for body in ["1", "2"] {
        peer.publish(1, "q", body.as_bytes()).await;
        peer.content().await;
    }
    assert_eq!(
        traced(&mut peer).await,
        [
            published("", &["q"], "1"),
            delivered("q", 0, "1"),
            published("", &["q"], "2"),
            delivered("q", 0, "2"),
        ]
    );
    peer.requeue_up_to(1, 2).await;
    for _ in 0..2 {
        peer.content().await;
    }
    assert_eq!(
        traced(&mut peer).await,
        [delivered("q", 1, "1"), delivered("q", 1, "2")]
    );
    peer.declare(1, "got").await;
    peer.publish(1, "got", b"3").await;
    assert!(peer.get_no_ack(1, "got").await.is_some());
    assert!(peer.get_no_ack(1, "got").await.is_none());
    assert_eq!(
        traced(&mut peer).await,
        [published("", &["got"], "3"), delivered("got", 0, "3")]
    );
}

#[tokio::test]
async fn the_queues_of_a_message_are_named_whether_there_are_none_or_several() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    trace(&server, &mut peer).await;
    for queue in ["b", "a"] {
        peer.declare(1, queue).await;
        peer.bind(1, queue, "amq.fanout", "").await;
    }
    peer.publish_to(1, "amq.fanout", "k", &[], "several").await;
    peer.publish_to(1, "amq.topic", "k", &[], "none").await;
    let returned = Publish::to("amq.topic", "k", b"returned").mandatory();
    peer.publish_as(1, &returned).await;
    assert_eq!(peer.content().await.text(), "returned");
    let copies = [("CC", keys(&["b"])), ("BCC", keys(&["nowhere"]))];
    peer.publish_to(1, "", "a", &copies, "copies").await;
    assert_eq!(
        traced(&mut peer).await,
        [
            published("amq.fanout", &["a", "b"], "several"),
            published("amq.topic", &[], "none"),
            published("amq.topic", &[], "returned"),
            published("", &["a", "b", "nowhere"], "copies"),
        ]
    );
}

#[tokio::test]
async fn open_channels_notice_when_tracing_is_turned_on_and_off() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "trace").await;
    peer.bind(1, "trace", EXCHANGE, "#").await;
    peer.declare(1, "q").await;
    peer.consume(1, "q", "t").await;
    for (traces, body) in [(false, "1"), (true, "2"), (false, "3"), (true, "4")] {
        set_traced(&server, traces);
        peer.publish(1, "q", body.as_bytes()).await;
        peer.content().await;
        let expected = match traces {
            true => vec![published("", &["q"], body), delivered("q", 0, body)],
            false => Vec::new(),
        };
        assert_eq!(traced(&mut peer).await, expected, "{body}");
    }
}

#[tokio::test]
async fn what_comes_from_the_firehose_is_not_copied_again() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    trace(&server, &mut peer).await;
    peer.consume_no_ack(1, "trace", "t").await;
    for body in ["1", "2"] {
        peer.publish(1, "nowhere", body.as_bytes()).await;
        assert_eq!(peer.content().await.text(), body);
    }
    peer.expect_nothing(1).await;
}

#[tokio::test]
async fn other_virtual_hosts_are_not_traced() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    trace(&server, &mut peer).await;
    let (broker, users) = (&server.broker, server.broker.users());
    broker.add_vhost("v", Default::default()).await.unwrap();
    let everything = [".*", ".*", ".*"];
    users
        .set_permissions("guest", "v", everything)
        .await
        .unwrap();
    let mut other = Peer::log_in(server.address, Client::default(), "guest", "guest").await;
    other.method().await;
    other.open_vhost("v").await;
    other.open(1).await;
    other.declare(1, "trace").await;
    other.bind(1, "trace", EXCHANGE, "#").await;
    other.publish(1, "nowhere", b"1").await;
    assert_eq!(traced(&mut other).await, []);
    assert_eq!(traced(&mut peer).await, []);
}

#[tokio::test]
async fn queues_and_streams_show_the_headers_that_their_deliveries_have() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.qos(1, 10).await;
    for (queue, kind) in [("quorum", "quorum"), ("stream", "stream")] {
        let arguments = [("x-queue-type", text(kind))];
        peer.declare_durable(1, queue, &arguments).await;
    }
    peer.consume(1, "quorum", "quorum").await;
    peer.publish(1, "quorum", b"1").await;
    let first = peer.content().await.delivery_tag();
    trace(&server, &mut peer).await;
    peer.requeue(1, first).await;
    let again = peer.content().await;
    let offset = [("x-stream-offset", text("first"))];
    peer.publish(1, "stream", b"2").await;
    peer.consume_with(1, "stream", "stream", &offset).await;
    let from_stream = peer.content().await;
    for delivery in [again, from_stream] {
        let copy = loop {
            let copy = peer.get_no_ack(1, "trace").await.expect("a copy");
            if copy.headers().contains_key("redelivered") {
                break copy;
            }
        };
        let headers = copy.headers();
        let Some(AMQPValue::FieldTable(properties)) = headers.inner().get("properties") else {
            panic!("{headers:?}");
        };
        assert!(!delivery.headers().inner().is_empty());
        assert_eq!(
            properties.inner().get("headers"),
            Some(&AMQPValue::FieldTable(delivery.headers()))
        );
    }
}

#[tokio::test]
async fn a_copy_that_its_queue_rejects_is_dropped_and_the_message_is_confirmed() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let full = [
        ("x-max-length", long(0)),
        ("x-overflow", text("reject-publish")),
    ];
    peer.declare_durable(1, "trace", &full).await;
    peer.bind(1, "trace", EXCHANGE, "#").await;
    set_traced(&server, true);
    peer.declare(1, "q").await;
    peer.confirm_select(1).await;
    peer.publish(1, "q", b"1").await;
    let (_, method) = peer.method().await;
    assert!(matches!(
        method,
        AMQPClass::Basic(basic::AMQPMethod::Ack(_))
    ));
    assert_eq!((server.ready("q"), server.ready("trace")), (1, 0));
}

/// As with any queue that a message goes to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_of_the_firehose_holds_a_publisher_back_if_it_is_declared_so() {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    let full = [
        ("x-max-length", long(1)),
        ("x-overflow", text("block-publish")),
    ];
    peer.declare_durable(1, "trace", &full).await;
    peer.bind(1, "trace", EXCHANGE, "#").await;
    peer.declare(1, "q").await;
    set_traced(&server, true);
    for body in [b"1", b"2", b"3"] {
        peer.publish(1, "q", body).await;
    }
    eventually_eq("the first is traced", 1, || server.ready("trace")).await;
    let mut other = Peer::new(&server).await;
    assert!(server.ready("q") <= 2);
    for _ in 0..3 {
        eventually("there is a copy", || server.ready("trace") > 0).await;
        assert!(other.get_no_ack(1, "trace").await.is_some());
    }
    eventually_eq("all are published", 3, || server.ready("q")).await;
}

/// A consumer that needs no acks is sent whatever its socket takes: only the copies can tell it that the disk is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_wait_while_the_disk_is_behind_their_copies() {
    const BODY: usize = 1024 * 1024;
    /// If deliveries went on, the next one would come sooner.
    const SILENCE: Duration = Duration::from_millis(500);
    let store = Arc::new(FaultyStore::new(Vec::new()));
    let server = TestServer::start_on(store.clone()).await;
    let mut peer = Peer::new(&server).await;
    let fits = Limits::default().pending_bytes_max / BODY;
    let body = vec![7; BODY];
    peer.declare_as(1, declare("q")).await;
    peer.confirm_select(1).await;
    for _ in 0..2 * fits {
        peer.publish(1, "q", &body).await;
        peer.method().await;
    }
    trace(&server, &mut peer).await;
    let committer = server.broker.committer();
    eventually_eq("it is on disk", 0, || committer.pending_bytes()).await;
    store.stall(true);
    let mut consumer = Peer::new(&server).await;
    consumer.consume_no_ack(1, "q", "t").await;
    let mut seen = 0;
    loop {
        match timeout(SILENCE, consumer.content()).await {
            Ok(_) => seen += 1,
            Err(_) if !committer.has_room() => break,
            Err(_) => {}
        }
    }
    assert!((fits..fits + 8).contains(&seen), "{seen} of {fits}");
    store.stall(false);
    for _ in seen..2 * fits {
        assert_eq!(consumer.content().await.body.len(), BODY);
    }
    eventually_eq("all are traced", 2 * fits as u64, || server.ready("trace")).await;
}
