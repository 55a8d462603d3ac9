//! Dead letter policies: what may be bound to what.

use leveret::wire::AMQPValue;

use super::client;
use crate::support::{Peer, TestServer, eventually_eq};

fn policy(queue: &str) -> String {
    format!(r#"{{"deadLetterQueue":"{queue}","policy":0,"maxReceiveCount":2}}"#)
}

#[tokio::test]
async fn a_dead_letter_queue_has_none_itself_and_stays_while_it_is_one() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    fn name(name: &str) -> (&str, &str) {
        ("queueName", name)
    }
    client.ok("CreateQueue", &[name("dead")]).await;
    let to_dead = policy("dead");
    let to_dead = ("deadLetterPolicy", to_dead.as_str());
    client.ok("CreateQueue", &[name("source"), to_dead]).await;
    let shown = client.ok("GetQueueAttributes", &[name("source")]).await;
    let shown: serde_json::Value =
        serde_json::from_str(shown["deadLetterPolicy"].as_str().unwrap()).unwrap();
    assert_eq!(shown["deadLetterQueue"], "dead");
    assert_eq!(shown["maxReceiveCount"], 2);

    let to_none = policy("none");
    let missing = [name("x"), ("deadLetterPolicy", &*to_none)];
    assert_eq!(client.refused("CreateQueue", &missing).await, (4000, 10730));
    let to_source = policy("source");
    let nested = [name("x"), ("deadLetterPolicy", &*to_source)];
    assert_eq!(client.refused("CreateQueue", &nested).await, (4000, 10740));
    let mut peer = Peer::new(&server).await;
    let stream = AMQPValue::LongString("stream".into());
    peer.declare_durable(1, "log", &[("x-queue-type", stream)])
        .await;
    let to_stream = policy("log");
    let missing = [name("x"), ("deadLetterPolicy", &*to_stream)];
    assert_eq!(client.refused("CreateQueue", &missing).await, (4000, 10730));
    client.ok("CreateQueue", &[name("other")]).await;
    let to_other = policy("other");
    let nested = [name("dead"), ("deadLetterPolicy", &*to_other)];
    assert_eq!(
        client.refused("SetQueueAttributes", &nested).await,
        (4000, 10740)
    );
    let itself = [name("other"), ("deadLetterPolicy", &*to_other)];
    assert_eq!(
        client.refused("SetQueueAttributes", &itself).await,
        (4000, 10740)
    );

    for n in 2..=6 {
        client
            .ok("CreateQueue", &[name(&format!("source{n}")), to_dead])
            .await;
    }
    let seventh = client
        .refused("CreateQueue", &[name("source7"), to_dead])
        .await;
    assert_eq!(seventh, (4000, 10780));
    client
        .ok("SetQueueAttributes", &[name("source"), to_dead])
        .await;
    let dead = ("deadLetterQueueName", "dead");
    assert_eq!(
        client.ok("ListDeadLetterSourceQueues", &[dead]).await["totalCount"],
        6
    );
    let some = client
        .ok(
            "ListDeadLetterSourceQueues",
            &[dead, ("searchWord", "source3")],
        )
        .await;
    assert_eq!(some["queueList"][0]["queueName"], "source3");

    assert_eq!(
        client.refused("DeleteQueue", &[name("dead")]).await,
        (4000, 10750)
    );
    for n in ["", "2", "3", "4", "5", "6"] {
        client
            .ok("UnbindDeadLetterQueue", &[name(&format!("source{n}"))])
            .await;
    }
    let unbound = client
        .refused("UnbindDeadLetterQueue", &[name("source")])
        .await;
    assert_eq!(unbound, (4000, 10730));
    client.ok("DeleteQueue", &[name("dead")]).await;
}

#[tokio::test]
async fn a_full_dead_letter_queue_loses_nothing() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let mut peer = Peer::new(&server).await;
    let overflow = AMQPValue::LongString("reject-publish".into());
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", overflow),
    ];
    peer.declare_durable(1, "dead", &full).await;
    let (q, dead) = (("queueName", "q"), ("queueName", "dead"));
    client.ok("SendMessage", &[dead, ("msgBody", "x")]).await;
    let policy = r#"{"deadLetterQueue":"dead","policy":0,"maxReceiveCount":1}"#;
    let policy = ("deadLetterPolicy", policy);
    client
        .ok("CreateQueue", &[q, policy, ("visibilityTimeout", "1")])
        .await;
    client.ok("SendMessage", &[q, ("msgBody", "poison")]).await;
    client.ok("ReceiveMessage", &[q]).await;
    eventually_eq("it has gone there", ((0, 0, 0), 2), || {
        (server.numbers("q"), server.ready("dead"))
    })
    .await;
    let sent = client
        .refused("SendMessage", &[dead, ("msgBody", "x")])
        .await;
    assert_eq!(sent, (4410, 10240), "for others it is full");
}

#[tokio::test]
async fn what_is_received_too_often_goes_to_the_dead_letter_queue() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "dead")]).await;
    let (q, to_dead) = (("queueName", "q"), policy("dead"));
    let policy = ("deadLetterPolicy", to_dead.as_str());
    client
        .ok("CreateQueue", &[q, policy, ("visibilityTimeout", "1")])
        .await;
    let sent = client.ok("SendMessage", &[q, ("msgBody", "poison")]).await;
    for count in [1, 2] {
        let wait = ("pollingWaitSeconds", "20");
        let got = client.ok("ReceiveMessage", &[q, wait]).await;
        assert_eq!(got["dequeueCount"], count);
    }
    eventually_eq("it is dead", (1, (0, 0, 0)), || {
        (server.ready("dead"), server.numbers("q"))
    })
    .await;
    let dead = client.ok("ReceiveMessage", &[("queueName", "dead")]).await;
    assert_eq!(
        (&dead["msgBody"], &dead["msgId"]),
        (&"poison".into(), &sent["msgId"])
    );
    // Without a policy nothing is ever given up.
    client.ok("UnbindDeadLetterQueue", &[q]).await;
    client.ok("SendMessage", &[q, ("msgBody", "stays")]).await;
    for count in 1..=3 {
        let got = client
            .ok("ReceiveMessage", &[q, ("pollingWaitSeconds", "20")])
            .await;
        assert_eq!(got["dequeueCount"], count);
    }
}

#[tokio::test]
async fn a_message_is_dead_lettered_before_it_is_too_old() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "dead")]).await;
    let q = ("queueName", "q");
    let age = r#"{"deadLetterQueue":"dead","policy":1,"maxTimeToLive":300}"#;
    let age = ("deadLetterPolicy", age);
    let (short, long) = (
        ("msgRetentionSeconds", "300"),
        ("msgRetentionSeconds", "301"),
    );
    let refused = (4000, 10720);
    assert_eq!(
        client.refused("CreateQueue", &[q, age, short]).await,
        refused
    );
    client.ok("CreateQueue", &[q, age, long]).await;
    // Also if the policy is not named.
    assert_eq!(
        client.refused("SetQueueAttributes", &[q, short]).await,
        refused
    );
    let off = ("deadLetterPolicy", "{}");
    client.ok("SetQueueAttributes", &[q, short, off]).await;
}
