//! Links and pumps between two brokers: what passes unchanged, and what survives a network that breaks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use leveret::model::amqp_uri::AmqpUri;
use leveret::shovel::link::{self, Client, Consume, Link, LinkError};
use leveret::shovel::progress::Progress;
use leveret::shovel::pump::{AckMode, Delivery, End, Forward, Publication, Pump, PumpError};
use leveret::wire::{AMQPValue, FieldTable, FrameKind, put_publish};
use tokio::time::timeout;

use super::proxy::Proxy;
use crate::support::{PATIENCE, Peer, TestServer, eventually};

const PREFETCH: u16 = 500;

/// Publishes everything in one queue.
struct ToQueue(&'static str);

impl Forward for ToQueue {
    fn publication<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        properties: Bytes,
    ) -> Result<Publication<'a>, LinkError> {
        Ok(Publication {
            exchange: "",
            routing_key: self.0,
            mandatory: true,
            properties,
            mark: delivery.tag,
        })
    }
}

async fn open(address: SocketAddr) -> Result<Link, LinkError> {
    let uri = AmqpUri::parse(&format!("amqp://{address}?heartbeat=5")).unwrap();
    let client = Client {
        connection_name: "test",
        local: None,
    };
    link::open(&uri, &client).await
}

/// A pump from queue `from` to queue `to`.
async fn pump(
    source: SocketAddr,
    destination: SocketAddr,
    ack_mode: AckMode,
    remaining: Option<u64>,
    progress: &Arc<Progress>,
) -> Result<Pump<ToQueue>, LinkError> {
    let mut destination = open(destination).await?;
    if ack_mode == AckMode::OnConfirm {
        destination.select_confirms().await?;
    }
    let mut source = open(source).await?;
    source.limit_unacked(PREFETCH).await?;
    let consume = Consume {
        queue: "from",
        consumer_tag: "",
        no_ack: ack_mode == AckMode::NoAck,
        arguments: &FieldTable::default(),
    };
    source.consume(&consume).await?;
    Ok(Pump::new(
        source,
        destination,
        ack_mode,
        remaining,
        ToQueue("to"),
        Arc::clone(progress),
    ))
}

/// Runs a pump to its own end.
async fn run(pump: &mut Pump<ToQueue>) -> Result<End, PumpError> {
    let ended = timeout(PATIENCE, pump.run(std::future::pending())).await;
    ended.expect("the pump ends in time")
}

/// A broker with a durable queue, and a client of it.
async fn broker(queue: &str) -> (TestServer, Peer) {
    let server = TestServer::start().await;
    let mut peer = Peer::new(&server).await;
    peer.declare_durable(1, queue, &[]).await;
    (server, peer)
}

async fn publish_numbers(peer: &mut Peer, count: u64) {
    for number in 0..count {
        peer.publish(1, "from", number.to_string().as_bytes()).await;
    }
}

/// All messages of queue `to` by number: how often each is there.
async fn arrived(peer: &mut Peer) -> BTreeMap<u64, u64> {
    let mut arrived = BTreeMap::new();
    while let Some(content) = peer.get_no_ack(1, "to").await {
        *arrived.entry(content.text().parse().unwrap()).or_default() += 1;
    }
    arrived
}

async fn pumps_all(ack_mode: AckMode) {
    const COUNT: u64 = 2_000;
    let (source, mut publisher) = broker("from").await;
    let (destination, mut consumer) = broker("to").await;
    publish_numbers(&mut publisher, COUNT + 10).await;
    eventually("all are in the queue", || {
        source.ready("from") == COUNT + 10
    })
    .await;
    let progress = Arc::default();
    let remaining = (ack_mode != AckMode::NoAck).then_some(COUNT);
    let mut pump = pump(
        source.address,
        destination.address,
        ack_mode,
        remaining,
        &progress,
    )
    .await
    .unwrap();
    let moved = COUNT + 10 * u64::from(ack_mode == AckMode::NoAck);
    let stop = async {
        let confirmed = || progress.numbers().confirmed == moved;
        eventually("all are moved", confirmed).await;
        // A complete pump ends by itself.
        if remaining.is_some() {
            std::future::pending::<()>().await;
        }
    };
    let end = pump.run(stop).await.unwrap();
    let expected = match remaining {
        Some(_) => End::Complete,
        None => End::Stopped,
    };
    assert_eq!((end, pump.remaining()), (expected, remaining.map(|_| 0)));
    pump.close(PATIENCE).await;
    let left = COUNT + 10 - moved;
    eventually("the rest is back", || {
        source.numbers("from") == (left, 0, 0)
    })
    .await;
    let arrived = arrived(&mut consumer).await;
    assert!(arrived.keys().copied().eq(0..moved), "{}", arrived.len());
    assert!(arrived.values().all(|times| *times == 1));
    assert_eq!(progress.numbers().forwarded, moved);
}

#[tokio::test]
async fn on_confirm_moves_exactly_as_many_as_it_was_told_to() {
    pumps_all(AckMode::OnConfirm).await;
}

#[tokio::test]
async fn on_publish_moves_exactly_as_many_as_it_was_told_to() {
    pumps_all(AckMode::OnPublish).await;
}

#[tokio::test]
async fn no_ack_moves_everything() {
    pumps_all(AckMode::NoAck).await;
}

/// A table with every type, a name twice, a name that is not UTF-8, and names that are not sorted.
fn odd_table() -> Bytes {
    let mut fields = BytesMut::new();
    let mut field = |name: &[u8], value: &[u8]| {
        fields.put_u8(u8::try_from(name.len()).unwrap());
        fields.put_slice(name);
        fields.put_slice(value);
    };
    field(b"z", b"t\x01");
    field(b"a", b"b\xff");
    field(b"a", b"B\xff");
    field(b"\xff\xfe", b"s\xff\xfe");
    field(b"u", b"u\xff\xfe");
    field(b"I", b"I\xff\xff\xff\xfe");
    field(b"i", b"i\xff\xff\xff\xfe");
    field(b"l", b"l\xff\xff\xff\xff\xff\xff\xff\xfe");
    field(b"f", b"f\x7f\xc0\x00\x01");
    field(b"d", b"d\x7f\xf8\x00\x00\x00\x00\x00\x01");
    field(b"D", b"D\x02\x00\x00\x01\x00");
    field(b"S", b"S\x00\x00\x00\x02\xc3\x28");
    field(b"x", b"x\x00\x00\x00\x03\x00\x01\x02");
    field(b"A", b"A\x00\x00\x00\x03VVV");
    field(b"T", b"T\x00\x00\x00\x00\x00\x00\x00\x01");
    field(b"F", b"F\x00\x00\x00\x07\x01kt\x00\x01eV");
    let mut table = BytesMut::new();
    table.put_u32(u32::try_from(fields.len()).unwrap());
    table.put_slice(&fields);
    table.freeze()
}

/// Encoded properties: all that RabbitMQ lets a client set without a rule of its own.
fn all_properties() -> Bytes {
    let mut raw = BytesMut::new();
    // All but expiration (bit 8) and user-id (bit 4).
    raw.put_u16(0b1111_1110_1110_1100);
    for text in ["type/a", "encoding"] {
        put_text(&mut raw, text.as_bytes());
    }
    raw.put_slice(&odd_table());
    raw.put_u8(2);
    raw.put_u8(7);
    put_text(&mut raw, b"correlation \xff");
    put_text(&mut raw, b"reply");
    put_text(&mut raw, b"message");
    raw.put_u64(1_700_000_000);
    put_text(&mut raw, b"kind");
    put_text(&mut raw, b"app");
    put_text(&mut raw, b"cluster");
    raw.freeze()
}

fn put_text(raw: &mut BytesMut, text: &[u8]) {
    raw.put_u8(u8::try_from(text.len()).unwrap());
    raw.put_slice(text);
}

#[tokio::test]
async fn properties_and_large_bodies_pass_octet_by_octet() {
    let (source, mut publisher) = broker("from").await;
    let destination = TestServer::start_with(|settings| settings.frame_max = 4096).await;
    let mut client = leveret_client(4096);
    client.channel_max = 2047;
    let mut consumer = Peer::connect(destination.address, client).await;
    consumer.open(1).await;
    consumer.declare_durable(1, "to", &[]).await;
    let properties = all_properties();
    let body: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    for body in [&body[..], b"", b"small"] {
        let mut publish = BytesMut::new();
        put_publish(&mut publish, 1, "", "from", false);
        publisher.raw(&publish).await;
        let mut header = BytesMut::new();
        header.put_u16(60);
        header.put_u16(0);
        header.put_u64(body.len() as u64);
        header.put_slice(&properties);
        publisher.frame(FrameKind::Header, 1, &header).await;
        for part in body.chunks(100_000) {
            publisher.frame(FrameKind::Body, 1, part).await;
        }
    }
    let progress = Arc::default();
    let mut pump = pump(
        source.address,
        destination.address,
        AckMode::OnConfirm,
        Some(3),
        &progress,
    )
    .await
    .unwrap();
    assert_eq!(run(&mut pump).await.unwrap(), End::Complete);
    for body in [&body[..], b"", b"small"] {
        let content = consumer.get_no_ack(1, "to").await.unwrap();
        assert_eq!(content.properties, properties);
        assert!(content.body == body, "{} octets", content.body.len());
    }
}

fn leveret_client(frame_max: u32) -> crate::support::Client {
    crate::support::Client {
        frame_max,
        ..crate::support::Client::default()
    }
}

#[tokio::test]
async fn a_network_that_breaks_loses_nothing_and_repeats_only_redelivered_messages() {
    const COUNT: u64 = 20_000;
    const CUTS: u64 = 12;
    let (source, mut publisher) = broker("from").await;
    let (destination, mut consumer) = broker("to").await;
    publish_numbers(&mut publisher, COUNT).await;
    eventually("all are in the queue", || source.ready("from") == COUNT).await;
    let to_source = Proxy::to(source.address).await;
    let to_destination = Proxy::to(destination.address).await;
    let progress: Arc<Progress> = Arc::default();
    let cutter = async {
        for cut in 0..CUTS {
            let goal = COUNT * (cut + 1) / (CUTS + 1);
            eventually("progress", || progress.numbers().confirmed >= goal).await;
            match cut % 2 {
                0 => to_source.cut(),
                _ => to_destination.cut(),
            }
        }
        std::future::pending::<()>().await;
    };
    let mover = async {
        let mut failures = 0;
        loop {
            let opened = pump(
                to_source.address,
                to_destination.address,
                AckMode::OnConfirm,
                None,
                &progress,
            )
            .await;
            let Ok(mut pump) = opened else {
                continue;
            };
            let empty = async {
                eventually("all are moved", || {
                    source.numbers("from").0 + source.numbers("from").1 == 0
                })
                .await;
            };
            match pump.run(empty).await {
                Ok(end) => {
                    assert_eq!(end, End::Stopped);
                    return failures;
                }
                Err(PumpError::Source(_) | PumpError::Destination(_)) => failures += 1,
                Err(error @ PumpError::Returned { .. }) => panic!("{error}"),
            }
            pump.close(Duration::from_secs(5)).await;
        }
    };
    let failures = tokio::select! {
        failures = mover => failures,
        () = cutter => unreachable!("it never ends"),
    };
    assert!(failures >= CUTS / 2, "{failures} failures");
    let arrived = arrived(&mut consumer).await;
    assert!(
        arrived.keys().copied().eq(0..COUNT),
        "{} arrived",
        arrived.len()
    );
    let repeated: u64 = arrived.values().map(|times| times - 1).sum();
    let numbers = progress.numbers();
    assert!(repeated <= numbers.redelivered, "{repeated} {numbers:?}");
    assert_eq!(numbers.refused, 0);
}

#[tokio::test]
async fn a_returned_message_ends_the_pump_and_stays_at_the_source() {
    let (source, mut publisher) = broker("from").await;
    let (destination, _consumer) = broker("other").await;
    publish_numbers(&mut publisher, 3).await;
    let progress = Arc::default();
    let mut pump = pump(
        source.address,
        destination.address,
        AckMode::OnConfirm,
        None,
        &progress,
    )
    .await
    .unwrap();
    let error = run(&mut pump).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "destination: message to exchange '' with routing key 'to' came back: NO_ROUTE"
    );
    pump.close(PATIENCE).await;
    eventually("all are back", || source.numbers("from") == (3, 0, 0)).await;
}

#[tokio::test]
async fn refused_messages_return_to_the_source_and_are_tried_again() {
    let (source, mut publisher) = broker("from").await;
    let (destination, mut consumer) = broker("other").await;
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(10)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    consumer.declare_durable(1, "to", &arguments).await;
    publish_numbers(&mut publisher, 25).await;
    let progress: Arc<Progress> = Arc::default();
    let mut pump = pump(
        source.address,
        destination.address,
        AckMode::OnConfirm,
        Some(25),
        &progress,
    )
    .await
    .unwrap();
    let taker = async {
        eventually("some are refused", || progress.numbers().refused >= 15).await;
        let mut taken = BTreeMap::new();
        while taken.len() < 25 {
            eventually("more come", || destination.ready("to") > 0).await;
            for (number, times) in arrived(&mut consumer).await {
                *taken.entry(number).or_insert(0) += times;
            }
        }
        taken
    };
    let (end, taken) = tokio::join!(run(&mut pump), taker);
    assert_eq!(end.unwrap(), End::Complete);
    assert!(taken.keys().copied().eq(0..25));
    assert!(taken.values().all(|times| *times == 1), "{taken:?}");
}

#[tokio::test]
async fn a_link_tells_why_it_was_refused() {
    let (server, _peer) = broker("from").await;
    let refused = |login: &str, vhost: &str| {
        let uri = format!("amqp://{login}@{}/{vhost}", server.address);
        async move {
            let uri = AmqpUri::parse(&uri).unwrap();
            let client = Client {
                connection_name: "test",
                local: None,
            };
            match link::open(&uri, &client).await {
                Ok(_) => panic!("opened"),
                Err(error) => (error.reply_code(), error.to_string()),
            }
        }
    };
    let (code, text) = refused("guest:wrong", "%2f").await;
    assert_eq!(code, 403);
    assert!(text.starts_with("ACCESS_REFUSED"), "{text}");
    let (code, text) = refused("guest:guest", "nowhere").await;
    assert_eq!(
        (code, text.as_str()),
        (530, "NOT_ALLOWED - vhost nowhere not found")
    );

    let mut link = open(server.address).await.unwrap();
    assert_eq!(link.find_queue("from").await.unwrap(), Some(0));
    assert_eq!(link.find_queue("missing").await.unwrap(), None);
    assert_eq!(link.find_queue("from").await.unwrap(), Some(0));
    let consume = Consume {
        queue: "missing",
        consumer_tag: "",
        no_ack: false,
        arguments: &FieldTable::default(),
    };
    let error = link.consume(&consume).await.unwrap_err();
    assert_eq!(error.reply_code(), 404);
}
