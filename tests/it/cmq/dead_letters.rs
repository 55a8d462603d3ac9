//! Dead letter policies.

use leveret::cmq::error::CmqError;
use leveret::wire::AMQPValue;

use super::{Q, client};
use crate::support::{Peer, TestServer, eventually_eq};

fn policy(queue: &str) -> String {
    format!(r#"{{"deadLetterQueue":"{queue}","policy":0,"maxReceiveCount":2}}"#)
}

#[tokio::test]
async fn a_dead_letter_queue_has_no_policy_and_cannot_be_deleted_while_it_is_used() {
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
    assert_eq!(
        client.refused("CreateQueue", &missing).await,
        CmqError::DeadLetterNotFound
    );
    let to_source = policy("source");
    let nested = [name("x"), ("deadLetterPolicy", &*to_source)];
    assert_eq!(
        client.refused("CreateQueue", &nested).await,
        CmqError::DeadLetterNested
    );
    let mut peer = Peer::new(&server).await;
    let stream = AMQPValue::LongString("stream".into());
    peer.declare_durable(1, "log", &[("x-queue-type", stream)])
        .await;
    let to_stream = policy("log");
    let missing = [name("x"), ("deadLetterPolicy", &*to_stream)];
    assert_eq!(
        client.refused("CreateQueue", &missing).await,
        CmqError::DeadLetterNotFound
    );
    client.ok("CreateQueue", &[name("other")]).await;
    let to_other = policy("other");
    let nested = [name("dead"), ("deadLetterPolicy", &*to_other)];
    assert_eq!(
        client.refused("SetQueueAttributes", &nested).await,
        CmqError::DeadLetterNested
    );
    let itself = [name("other"), ("deadLetterPolicy", &*to_other)];
    assert_eq!(
        client.refused("SetQueueAttributes", &itself).await,
        CmqError::DeadLetterNested
    );

    for n in 2..=6 {
        client
            .ok("CreateQueue", &[name(&format!("source{n}")), to_dead])
            .await;
    }
    let seventh = client
        .refused("CreateQueue", &[name("source7"), to_dead])
        .await;
    assert_eq!(seventh, CmqError::DeadLetterBoundTooOften);
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
        CmqError::DeadLetterInUse
    );
    for n in ["", "2", "3", "4", "5", "6"] {
        client
            .ok("UnbindDeadLetterQueue", &[name(&format!("source{n}"))])
            .await;
    }
    let unbound = client
        .refused("UnbindDeadLetterQueue", &[name("source")])
        .await;
    assert_eq!(unbound, CmqError::DeadLetterNotFound);
    client.ok("DeleteQueue", &[name("dead")]).await;
}

#[tokio::test]
async fn a_full_dead_letter_queue_takes_dead_letters() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let mut peer = Peer::new(&server).await;
    let overflow = AMQPValue::LongString("reject-publish".into());
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", overflow),
    ];
    peer.declare_durable(1, "dead", &full).await;
    let dead = ("queueName", "dead");
    client.ok("SendMessage", &[dead, ("msgBody", "x")]).await;
    let policy = r#"{"deadLetterQueue":"dead","policy":0,"maxReceiveCount":1}"#;
    let policy = ("deadLetterPolicy", policy);
    client
        .ok("CreateQueue", &[Q, policy, ("visibilityTimeout", "1")])
        .await;
    client.ok("SendMessage", &[Q, ("msgBody", "poison")]).await;
    client.ok("ReceiveMessage", &[Q]).await;
    eventually_eq("the message is dead-lettered", ((0, 0, 0), 2), || {
        (server.numbers("q"), server.ready("dead"))
    })
    .await;
    let sent = client
        .refused("SendMessage", &[dead, ("msgBody", "x")])
        .await;
    assert_eq!(sent, CmqError::QueueFull, "it takes no other messages");
}

#[tokio::test]
async fn a_message_that_was_received_too_often_is_dead_lettered() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "dead")]).await;
    let to_dead = policy("dead");
    let policy = ("deadLetterPolicy", to_dead.as_str());
    client
        .ok("CreateQueue", &[Q, policy, ("visibilityTimeout", "1")])
        .await;
    let sent = client.ok("SendMessage", &[Q, ("msgBody", "poison")]).await;
    for count in [1, 2] {
        let wait = ("pollingWaitSeconds", "20");
        let got = client.ok("ReceiveMessage", &[Q, wait]).await;
        assert_eq!(got["dequeueCount"], count);
    }
    eventually_eq("the message is dead-lettered", (1, (0, 0, 0)), || {
        (server.ready("dead"), server.numbers("q"))
    })
    .await;
    let dead = client.ok("ReceiveMessage", &[("queueName", "dead")]).await;
    assert_eq!(
        (&dead["msgBody"], &dead["msgId"]),
        (&"poison".into(), &sent["msgId"])
    );
    // Without a policy a message is delivered any number of times.
    client.ok("UnbindDeadLetterQueue", &[Q]).await;
    client.ok("SendMessage", &[Q, ("msgBody", "stays")]).await;
    for count in 1..=3 {
        let got = client
            .ok("ReceiveMessage", &[Q, ("pollingWaitSeconds", "20")])
            .await;
        assert_eq!(got["dequeueCount"], count);
    }
}

#[tokio::test]
async fn max_time_to_live_has_to_be_less_than_the_retention() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "dead")]).await;
    let age = r#"{"deadLetterQueue":"dead","policy":1,"maxTimeToLive":300}"#;
    let age = ("deadLetterPolicy", age);
    let (short, long) = (
        ("msgRetentionSeconds", "300"),
        ("msgRetentionSeconds", "301"),
    );
    let refused = CmqError::DeadLetterParameters;
    assert_eq!(
        client.refused("CreateQueue", &[Q, age, short]).await,
        refused
    );
    client.ok("CreateQueue", &[Q, age, long]).await;
    // Also when the request does not name the policy.
    assert_eq!(
        client.refused("SetQueueAttributes", &[Q, short]).await,
        refused
    );
    let off = ("deadLetterPolicy", "{}");
    client.ok("SetQueueAttributes", &[Q, short, off]).await;
}
