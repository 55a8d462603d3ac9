//! Sending messages over HTTP.

use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret::cmq::error::CmqError;
use leveret::wire::protocol::basic;
use leveret::wire::{AMQPClass, AMQPValue};

use super::{Q, Refusal, client, start_with_queue};
use crate::support::{PATIENCE, Peer, TestServer, text};

#[tokio::test]
async fn sent_messages_are_consumed_over_amqp() {
    let (server, mut client) = start_with_queue().await;
    let bodies = ["plain", "你好 a+b&c=d/%", "@starts like a file", "\"\\\n"];
    for (n, body) in bodies.iter().enumerate() {
        client.get = n % 2 == 1;
        let sent = client.ok("SendMessage", &[Q, ("msgBody", body)]).await;
        sent["msgId"].as_str().unwrap().parse::<u64>().unwrap();
    }
    client.get = false;
    let batch: Vec<_> = (1..=16)
        .map(|n| (format!("msgBody.{n}"), format!("b{n}")))
        .collect();
    let mut parameters: Vec<_> = batch
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    parameters.push(Q);
    let sent = client.ok("BatchSendMessage", &parameters).await;
    assert_eq!(sent["msgList"].as_array().unwrap().len(), 16);
    let mut peer = Peer::new(&server).await;
    for expected in bodies
        .iter()
        .copied()
        .chain(batch.iter().map(|(_, v)| v.as_str()))
    {
        let got = peer.get_no_ack(1, "q").await.expect("a message");
        assert_eq!(String::from_utf8(got.body).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_batch_with_an_invalid_item_is_refused_whole() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[Q, ("maxMsgSize", "1024")]).await;
    let long = "x".repeat(1025);
    let fits = "x".repeat(1024);
    client.ok("SendMessage", &[Q, ("msgBody", &fits)]).await;
    let one = |body| [Q, ("msgBody", body)];
    assert_eq!(
        client.refused("SendMessage", &one("")).await,
        CmqError::EmptyBody
    );
    assert_eq!(
        client.refused("SendMessage", &one(&long)).await,
        CmqError::MessageTooLarge
    );
    assert_eq!(
        client.refused("SendMessage", &[Q]).await,
        CmqError::Missing("msgBody".into())
    );
    for (body, refusal) in [
        ("", CmqError::EmptyEntry("msgBody.1".into())),
        (&*long, CmqError::EntryTooLarge("msgBody.1".into())),
    ] {
        let batch = [
            Q,
            ("msgBody.0", "a"),
            ("msgBody.1", body),
            ("msgBody.2", "c"),
        ];
        assert_eq!(client.refused("BatchSendMessage", &batch).await, refusal);
    }
    let gap = [Q, ("msgBody.0", "a"), ("msgBody.2", "c")];
    assert_eq!(
        client.refused("BatchSendMessage", &gap).await,
        CmqError::NotConsecutive("msgBody".into())
    );
    assert_eq!(
        client.refused("BatchSendMessage", &[Q]).await,
        CmqError::Missing("msgBody.n".into())
    );
    let names: Vec<_> = (1..=17).map(|n| format!("msgBody.{n}")).collect();
    let mut seventeen: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    seventeen.push(Q);
    assert_eq!(
        client.refused("BatchSendMessage", &seventeen).await,
        CmqError::BatchSize("msgBody".into())
    );
    assert_eq!(
        server.numbers("q"),
        (1, 0, 0),
        "a refused batch sends nothing"
    );
    let none = [("queueName", "none"), ("msgBody", "x")];
    assert_eq!(
        client.refused("SendMessage", &none).await,
        CmqError::NoSuchQueue
    );
}

#[tokio::test]
async fn batches_and_delayed_messages_have_limits() {
    let server = TestServer::start_with_cmq(|config| config.delayed_max = 1).await;
    let mut client = client(&server).await;
    client
        .ok("CreateQueue", &[Q, ("maxMsgSize", "1048576")])
        .await;
    let half = "x".repeat(512 * 1024);
    let full = [Q, ("msgBody.1", &*half), ("msgBody.2", &*half)];
    client.ok("BatchSendMessage", &full).await;
    let over = [
        Q,
        ("msgBody.1", &*half),
        ("msgBody.2", &*half),
        ("msgBody.3", "x"),
    ];
    assert_eq!(
        client.refused("BatchSendMessage", &over).await,
        CmqError::BatchTooLarge
    );
    let delayed = [Q, ("msgBody", "x"), ("delaySeconds", "60")];
    client.ok("SendMessage", &delayed).await;
    assert_eq!(
        client.refused("SendMessage", &delayed).await,
        CmqError::TooManyUnacked
    );
}

#[tokio::test]
async fn the_largest_message_and_batch_fit_into_a_request() {
    const MIB: usize = 1024 * 1024;
    let server = TestServer::start_with_cmq(|config| config.batch_max = 1000).await;
    let mut client = client(&server).await;
    client
        .ok("CreateQueue", &[Q, ("maxMsgSize", "1048576")])
        .await;
    // A form encodes each byte with three.
    let whole = "\u{7f}".repeat(MIB);
    let third = "你".repeat(MIB / 3);
    client.ok("SendMessage", &[Q, ("msgBody", &whole)]).await;
    client.ok("SendMessage", &[Q, ("msgBody", &third)]).await;
    let longer = format!("{whole}x");
    assert_eq!(
        client
            .refused("SendMessage", &[Q, ("msgBody", &longer)])
            .await,
        CmqError::MessageTooLarge
    );
    let names: Vec<_> = (1..=1000).map(|n| format!("msgBody.{n}")).collect();
    let batch = |bytes: usize, last: &str| -> Vec<(String, String)> {
        let mut items: Vec<_> = names
            .iter()
            .map(|name| (name.clone(), "\u{7f}".repeat(bytes)))
            .collect();
        items.push(("queueName".to_owned(), "q".to_owned()));
        items[0].1.push_str(last);
        items
    };
    for (items, refused) in [
        (batch(MIB / 1000, &"x".repeat(MIB % 1000)), None),
        (
            batch(MIB / 1000, &"x".repeat(MIB % 1000 + 1)),
            Some(CmqError::BatchTooLarge),
        ),
    ] {
        let items: Vec<_> = items
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let answer = client.call("BatchSendMessage", &items).await;
        match refused {
            None => assert_eq!(answer["code"], 0, "{answer}"),
            Some(refused) => assert_eq!(Refusal::of(&answer), refused),
        }
    }
    // A client that writes all of a much larger request before it reads also gets a response.
    let far = "x".repeat(16 * MIB);
    assert_eq!(
        client.refused("SendMessage", &[Q, ("msgBody", &far)]).await,
        CmqError::Unreadable("request")
    );
    client.ok("SendMessage", &[Q, ("msgBody", "x")]).await;
    assert_eq!(server.ready("q"), 1003);
}

#[tokio::test]
async fn requests_beyond_the_rate_limit_are_refused() {
    let server = TestServer::start_with_cmq(|config| config.requests_max = 10).await;
    let mut client = client(&server).await;
    let (r, body) = (("queueName", "r"), ("msgBody", "x"));
    for queue in [Q, r] {
        client.ok("CreateQueue", &[queue]).await;
    }
    let begun = Instant::now();
    let mut refused = 0;
    // Pipelined, so that more than ten requests come in one second even on a busy machine.
    while refused == 0 && begun.elapsed() < PATIENCE {
        for _ in 0..30 {
            let form = client.form("SendMessage", &[Q, body]);
            client.send(&form).await;
        }
        for _ in 0..30 {
            let answer = client.answer().await;
            if answer["code"] != 0 {
                assert_eq!(Refusal::of(&answer), CmqError::Throttled);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    client.ok("SendMessage", &[r, body]).await;
    client.ok("ReceiveMessage", &[Q]).await;
}

#[tokio::test]
async fn sends_are_refused_while_an_alarm_is_on() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[Q]).await;
    server.alarms.set_memory(true);
    let refused = client.refused("SendMessage", &[Q, ("msgBody", "x")]).await;
    assert_eq!(refused, CmqError::SendFailed);
    server.alarms.set_memory(false);
    client.ok("SendMessage", &[Q, ("msgBody", "x")]).await;
}

#[tokio::test]
async fn a_full_queue_refuses_a_batch_whole() {
    let server = TestServer::start_with_cmq(|config| config.heap_max = 2_000_000).await;
    let mut client = client(&server).await;
    let mut peer = Peer::new(&server).await;
    let overflow = AMQPValue::LongString("reject-publish".into());
    let full = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", overflow),
    ];
    peer.declare_durable(1, "q", &full).await;
    client.ok("SendMessage", &[Q, ("msgBody", "x")]).await;
    let two = [Q, ("msgBody.1", "a"), ("msgBody.2", "b")];
    assert_eq!(
        client.refused("BatchSendMessage", &two).await,
        CmqError::QueueFull
    );
    assert_eq!(server.numbers("q"), (1, 0, 0), "no part of the batch");
    // Arguments that were declared over AMQP hold until their own attribute is set.
    client
        .ok("SetQueueAttributes", &[Q, ("pollingWaitSeconds", "1")])
        .await;
    let arguments = server
        .broker
        .vhost("/")
        .unwrap()
        .queue("q")
        .unwrap()
        .arguments();
    assert_eq!(
        (arguments.max_length, arguments.retention_ms),
        (Some(2), None)
    );
    assert_eq!(arguments.visibility_timeout_ms, None);
    let more = [Q, ("maxMsgHeapNum", "1000000")];
    client.ok("SetQueueAttributes", &more).await;
    client.ok("BatchSendMessage", &two).await;
}

#[tokio::test]
async fn only_bodies_may_be_other_bytes_than_text() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "q")]).await;
    let bytes: Vec<u8> = (0..=255).collect();
    for (action, name) in [
        ("SendMessage", "msgBody"),
        ("BatchSendMessage", "msgBody.1"),
    ] {
        let form = client.form_of_bytes(action, &[("queueName", b"q"), (name, &bytes)]);
        client.send(&form).await;
        assert_eq!(client.answer().await["code"], 0, "{action}");
    }
    for _ in 0..2 {
        let received = client.ok("ReceiveMessage", &[("queueName", "q")]).await;
        let body = BASE64_STANDARD.decode(received["msgBodyBase64"].as_str().unwrap());
        assert_eq!(body.unwrap(), bytes);
    }
    let form = client.form_of_bytes("SendMessage", &[("queueName", b"q\xff"), ("msgBody", b"m")]);
    client.send(&form).await;
    assert_eq!(
        Refusal::of(&client.answer().await),
        CmqError::WrongType("queueName".into())
    );
}

#[tokio::test]
async fn what_is_sent_published_and_received_is_traced() {
    let (server, mut client) = start_with_queue().await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "trace").await;
    peer.bind(1, "trace", "amq.rabbitmq.trace", "#").await;
    server.broker.vhost("/").unwrap().set_traced(true);
    client.ok("SendMessage", &[Q, ("msgBody", "1")]).await;
    client.ok("ReceiveMessage", &[Q]).await;
    let topic = ("topicName", "t");
    client.ok("CreateTopic", &[topic]).await;
    let subscribed = [
        topic,
        ("subscriptionName", "s"),
        ("protocol", "queue"),
        ("endpoint", "q"),
        ("notifyContentFormat", "SIMPLIFIED"),
    ];
    client.ok("Subscribe", &subscribed).await;
    client
        .ok("PublishMessage", &[topic, ("msgBody", "2")])
        .await;
    for (key, body) in [("publish.", "1"), ("deliver.q", "1"), ("publish.t", "2")] {
        let copy = peer.get_no_ack(1, "trace").await.expect("a copy");
        let headers = copy.headers();
        let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = &copy.method else {
            panic!("{copy:?}");
        };
        assert_eq!(ok.routing_key.as_str(), key);
        for (name, value) in [
            ("channel", AMQPValue::LongInt(0)),
            ("connection", text("127.0.0.1")),
        ] {
            assert_eq!(headers.inner().get(name), Some(&value), "{key}");
        }
        assert_eq!(copy.text(), body);
    }
    assert!(peer.get_no_ack(1, "trace").await.is_none());
}
