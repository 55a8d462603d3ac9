//! Messages on their way in: sent over HTTP, consumed over AMQP.

use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret::wire::AMQPValue;
use serde_json::Value;

use super::{client, codes};
use crate::support::{PATIENCE, Peer, TestServer};

#[tokio::test]
async fn what_is_sent_is_consumed_over_amqp() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client.ok("CreateQueue", &[q]).await;
    let bodies = ["plain", "你好 a+b&c=d/%", "@starts like a file", "\"\\\n"];
    for (n, body) in bodies.iter().enumerate() {
        client.get = n % 2 == 1;
        let sent = client.ok("SendMessage", &[q, ("msgBody", body)]).await;
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
    parameters.push(q);
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
async fn a_batch_with_a_bad_entry_is_refused_whole() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client.ok("CreateQueue", &[q, ("maxMsgSize", "1024")]).await;
    let long = "x".repeat(1025);
    let fits = "x".repeat(1024);
    client.ok("SendMessage", &[q, ("msgBody", &fits)]).await;
    let one = |body| [q, ("msgBody", body)];
    assert_eq!(client.refused("SendMessage", &one("")).await, (4000, 10120));
    assert_eq!(
        client.refused("SendMessage", &one(&long)).await,
        (4400, 10230)
    );
    assert_eq!(client.refused("SendMessage", &[q]).await, (4000, 10390));
    let mut named = async |entry: (&str, &str), expected: (u64, u64)| {
        let batch = [q, ("msgBody.0", "a"), entry, ("msgBody.2", "c")];
        let answer: Value = client.call("BatchSendMessage", &batch).await;
        assert_eq!(codes(&answer), expected);
        let message = answer["message"].as_str().unwrap();
        assert!(message.ends_with(": msgBody.1"), "{message}");
    };
    named(("msgBody.1", ""), (4000, 10120)).await;
    named(("msgBody.1", &long), (4400, 10230)).await;
    let gap = [q, ("msgBody.0", "a"), ("msgBody.2", "c")];
    assert_eq!(
        client.refused("BatchSendMessage", &gap).await,
        (4000, 10380)
    );
    assert_eq!(
        client.refused("BatchSendMessage", &[q]).await,
        (4000, 10390)
    );
    let names: Vec<_> = (1..=17).map(|n| format!("msgBody.{n}")).collect();
    let mut seventeen: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    seventeen.push(q);
    assert_eq!(
        client.refused("BatchSendMessage", &seventeen).await,
        (4000, 10370)
    );
    assert_eq!(
        server.numbers("q"),
        (1, 0, 0),
        "nothing of a refused batch is there"
    );
    let none = [("queueName", "none"), ("msgBody", "x")];
    assert_eq!(client.refused("SendMessage", &none).await, (4440, 10100));
}

#[tokio::test]
async fn limits_can_be_raised_and_are_kept() {
    let server = TestServer::start_with_cmq(|config| config.delayed_max = 1).await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client
        .ok("CreateQueue", &[q, ("maxMsgSize", "1048576")])
        .await;
    let half = "x".repeat(512 * 1024);
    let full = [q, ("msgBody.1", &*half), ("msgBody.2", &*half)];
    client.ok("BatchSendMessage", &full).await;
    let over = [
        q,
        ("msgBody.1", &*half),
        ("msgBody.2", &*half),
        ("msgBody.3", "x"),
    ];
    assert_eq!(
        client.refused("BatchSendMessage", &over).await,
        (4470, 10300)
    );
    let delayed = [q, ("msgBody", "x"), ("delaySeconds", "60")];
    client.ok("SendMessage", &delayed).await;
    assert_eq!(client.refused("SendMessage", &delayed).await, (6070, 10690));
}

#[tokio::test]
async fn limits_of_messages_are_reached_before_those_of_requests() {
    const MIB: usize = 1024 * 1024;
    let server = TestServer::start_with_cmq(|config| config.batch_max = 1000).await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client
        .ok("CreateQueue", &[q, ("maxMsgSize", "1048576")])
        .await;
    // Each of its bytes is three in a form.
    let whole = "\u{7f}".repeat(MIB);
    let third = "你".repeat(MIB / 3);
    client.ok("SendMessage", &[q, ("msgBody", &whole)]).await;
    client.ok("SendMessage", &[q, ("msgBody", &third)]).await;
    let longer = format!("{whole}x");
    assert_eq!(
        client
            .refused("SendMessage", &[q, ("msgBody", &longer)])
            .await,
        (4400, 10230)
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
            Some((4470, 10300)),
        ),
    ] {
        let items: Vec<_> = items
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let answer = client.call("BatchSendMessage", &items).await;
        match refused {
            None => assert_eq!(answer["code"], 0, "{answer}"),
            Some(refused) => assert_eq!(codes(&answer), refused),
        }
    }
    // What is beyond all that is answered too, to clients that first write all of it.
    let far = "x".repeat(16 * MIB);
    assert_eq!(
        client.refused("SendMessage", &[q, ("msgBody", &far)]).await,
        (4000, 10420)
    );
    client.ok("SendMessage", &[q, ("msgBody", "x")]).await;
    assert_eq!(server.ready("q"), 1003);
}

#[tokio::test]
async fn requests_have_a_quota_if_an_operator_says() {
    let server = TestServer::start_with_cmq(|config| config.requests_max = 10).await;
    let mut client = client(&server).await;
    let (q, r, body) = (("queueName", "q"), ("queueName", "r"), ("msgBody", "x"));
    for queue in [q, r] {
        client.ok("CreateQueue", &[queue]).await;
    }
    let begun = Instant::now();
    let mut refused = 0;
    // Without waiting for answers, so that more than ten come in one second also on a busy machine.
    while refused == 0 && begun.elapsed() < PATIENCE {
        for _ in 0..30 {
            let form = client.form("SendMessage", &[q, body]);
            client.send(&form).await;
        }
        for _ in 0..30 {
            let answer = client.answer().await;
            if answer["code"] != 0 {
                assert_eq!(codes(&answer), (4420, 10250));
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    client.ok("SendMessage", &[r, body]).await;
    client.ok("ReceiveMessage", &[q]).await;
}

#[tokio::test]
async fn nothing_is_taken_while_an_alarm_is_on() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client.ok("CreateQueue", &[q]).await;
    server.alarms.set_memory(true);
    let refused = client.refused("SendMessage", &[q, ("msgBody", "x")]).await;
    assert_eq!(refused, (6000, 10090));
    server.alarms.set_memory(false);
    client.ok("SendMessage", &[q, ("msgBody", "x")]).await;
}

#[tokio::test]
async fn a_full_queue_takes_nothing() {
    let server = TestServer::start_with_cmq(|config| config.heap_max = 2_000_000).await;
    let mut client = client(&server).await;
    let mut peer = Peer::new(&server).await;
    let overflow = AMQPValue::LongString("reject-publish".into());
    let full = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", overflow),
    ];
    peer.declare_durable(1, "q", &full).await;
    let q = ("queueName", "q");
    client.ok("SendMessage", &[q, ("msgBody", "x")]).await;
    let two = [q, ("msgBody.1", "a"), ("msgBody.2", "b")];
    assert_eq!(
        client.refused("BatchSendMessage", &two).await,
        (4410, 10240)
    );
    assert_eq!(server.numbers("q"), (1, 0, 0), "no part of it");
    // What was declared over AMQP stays so when something else is set.
    client
        .ok("SetQueueAttributes", &[q, ("pollingWaitSeconds", "1")])
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
    let more = [q, ("maxMsgHeapNum", "1000000")];
    client.ok("SetQueueAttributes", &more).await;
    client.ok("BatchSendMessage", &two).await;
}

#[tokio::test]
async fn bodies_may_be_any_bytes_and_nothing_else_may() {
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
    assert_eq!(codes(&client.answer().await), (4000, 10360));
}
