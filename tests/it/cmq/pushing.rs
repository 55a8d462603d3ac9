//! Subscriptions with HTTP endpoints: pushes and their retries.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use leveret::cmq::CmqConfig;
use leveret::cmq::error::CmqError;
use leveret::wire::AMQPValue;
use tokio::sync::watch;

use super::endpoint::{Endpoint, HANGS_UP, Port, Posted, Reply};
use super::{Client, client};
use crate::support::{PATIENCE, Peer, TestServer, eventually, eventually_eq};

const T: (&str, &str) = ("topicName", "t");
/// Length of a second in the retry strategies.
const SECOND: Duration = Duration::from_millis(20);
/// The resolution of the broker's times.
const CLOCK: Duration = Duration::from_millis(1);
const BACKOFF: (&str, &str) = ("notifyStrategy", "BACKOFF_RETRY");
const DECAY: (&str, &str) = ("notifyStrategy", "EXPONENTIAL_DECAY_RETRY");
const SIMPLIFIED: (&str, &str) = ("notifyContentFormat", "SIMPLIFIED");

/// Allows endpoints on this machine, and shortens the seconds of the retry strategies.
fn push_locally(config: &mut CmqConfig) {
    config.push.allowed = vec!["127.0.0.0/8".parse().unwrap()];
    config.push.second = SECOND;
}

async fn start() -> (TestServer, Client) {
    let server = TestServer::start_with_cmq(push_locally).await;
    let mut client = client(&server).await;
    client.ok("CreateTopic", &[T]).await;
    (server, client)
}

async fn subscribe(client: &mut Client, name: &str, url: &str, more: &[(&str, &str)]) {
    let mut parameters = vec![
        T,
        ("subscriptionName", name),
        ("protocol", "http"),
        ("endpoint", url),
    ];
    parameters.extend(more);
    client.ok("Subscribe", &parameters).await;
}

async fn publish(client: &mut Client, body: &str) -> String {
    let answer = client.ok("PublishMessage", &[T, ("msgBody", body)]).await;
    answer["msgId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn both_formats_are_as_documented() {
    let (server, mut client) = start().await;
    let endpoint = Endpoint::start(|_| Reply::status(200)).await;
    subscribe(&mut client, "json", &endpoint.url("/json?a=b"), &[]).await;
    subscribe(&mut client, "plain", &endpoint.url("/plain"), &[SIMPLIFIED]).await;
    let tagged = [
        T,
        ("msgBody", "你好 \"x\"\n"),
        ("msgTag.1", "b"),
        ("msgTag.2", "a"),
    ];
    let answer = client.ok("PublishMessage", &tagged).await;
    let id = answer["msgId"].as_str().unwrap();
    eventually_eq("both are pushed", 2, || endpoint.posted().len()).await;
    let mut posted = endpoint.posted();
    posted.sort_by(|a, b| a.line.cmp(&b.line));
    assert_eq!(posted[0].line, "POST /json?a=b HTTP/1.1");
    assert_eq!(posted[1].line, "POST /plain HTTP/1.1");
    let mut ids = Vec::new();
    for request in &posted {
        for (name, value) in [
            ("host", endpoint.address.to_string().as_str()),
            ("content-type", "text/plain"),
            ("user-agent", "Qcloud Notification Service Agent"),
            ("x-cmq-message-id", id),
            ("x-cmq-message-tag", "b, a"),
        ] {
            assert_eq!(request.headers[name], value, "{name}");
        }
        ids.push(request.headers["x-cmq-request-id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
    assert_eq!(posted[1].body, "你好 \"x\"\n");
    let json: serde_json::Value = serde_json::from_str(&posted[0].body).unwrap();
    assert!(json["TopicOwner"].is_u64() && json["publishTime"].is_u64());
    for (name, value) in [
        ("topicName", "t"),
        ("subscriptionName", "json"),
        ("msgId", id),
        ("msgBody", "你好 \"x\"\n"),
    ] {
        assert_eq!(json[name], value, "{name}");
    }
    publish(&mut client, "untagged").await;
    eventually("all is settled", || {
        server.numbers("cmq.push.t.json") == (0, 0, 0)
            && server.numbers("cmq.push.t.plain") == (0, 0, 0)
    })
    .await;
    let last = endpoint.posted().pop().unwrap();
    assert!(!last.headers.contains_key("x-cmq-message-tag"));
}

#[tokio::test]
async fn connections_are_reused() {
    let (_server, mut client) = start().await;
    let endpoint = Endpoint::start(|_| Reply::status(201)).await;
    subscribe(&mut client, "s", &endpoint.url("/"), &[BACKOFF, SIMPLIFIED]).await;
    for n in 0..20 {
        publish(&mut client, &n.to_string()).await;
    }
    eventually_eq("all are pushed", 20, || endpoint.posted().len()).await;
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(endpoint.bodies(), expected);
    assert_eq!(endpoint.connections(), 1);
}

#[tokio::test]
async fn backoff_retries_three_times_before_the_next_message() {
    let (server, mut client) = start().await;
    let endpoint = Endpoint::start(|posted| match posted.body.as_str() {
        "good" => Reply::status(200),
        // The broker does not follow redirects.
        "elsewhere" => Reply {
            headers: "Location: /other\r\n".to_owned(),
            ..Reply::status(302)
        },
        _ => Reply::status(500),
    })
    .await;
    subscribe(&mut client, "s", &endpoint.url("/"), &[BACKOFF, SIMPLIFIED]).await;
    for body in ["bad", "elsewhere", "good"] {
        publish(&mut client, body).await;
    }
    let what = "two messages are dropped and the third is accepted";
    eventually_eq(what, (0, 0, 0), || server.numbers("cmq.push.t.s")).await;
    let expected = [["bad"; 4].as_slice(), &["elsewhere"; 4], &["good"]].concat();
    assert_eq!(endpoint.bodies(), expected);
    let posted = endpoint.posted();
    for pair in posted[..4].windows(2).chain(posted[4..8].windows(2)) {
        let wait = pair[1].at - pair[0].at;
        assert!(wait >= SECOND * 10 - CLOCK, "{wait:?}");
        assert!(wait < SECOND * 20 + PATIENCE, "{wait:?}");
    }
}

#[tokio::test]
async fn decay_retries_after_doubling_waits_and_delays_no_other_message() {
    let (server, mut client) = start().await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let endpoint = Endpoint::start(move |posted| {
        let fails = posted.body == "bad" && is_broken.load(SeqCst);
        Reply::status(if fails { 503 } else { 200 })
    })
    .await;
    subscribe(&mut client, "s", &endpoint.url("/"), &[DECAY, SIMPLIFIED]).await;
    publish(&mut client, "bad").await;
    eventually("it was tried", || !endpoint.posted().is_empty()).await;
    publish(&mut client, "good").await;
    eventually("the other message was pushed", || {
        endpoint.bodies().contains(&"good".to_owned())
    })
    .await;
    let tries = || -> Vec<_> {
        let posted = endpoint.posted().into_iter();
        posted.filter(|posted| posted.body == "bad").collect()
    };
    eventually("it was tried six times", || tries().len() >= 6).await;
    assert_decay(&tries());
    let (ready, unacked, _) = server.numbers("cmq.push.t.s");
    assert_eq!(ready + unacked, 1);
    broken.store(false, SeqCst);
    eventually_eq("the message is accepted at last", (0, 0, 0), || {
        server.numbers("cmq.push.t.s")
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_was_down_gets_everything() {
    let (server, mut client) = start().await;
    let port = Port::reserve();
    let url = format!("http://{}/", port.address());
    subscribe(&mut client, "s", &url, &[DECAY, SIMPLIFIED]).await;
    for n in 0..50 {
        publish(&mut client, &n.to_string()).await;
    }
    eventually("all messages wait", || {
        let (ready, unacked, _) = server.numbers("cmq.push.t.s");
        ready + unacked == 50
    })
    .await;
    let topic = client.ok("GetTopicAttributes", &[T]).await;
    assert_eq!(topic["msgCount"], 50);
    let endpoint = port.start(|_| Reply::status(200));
    eventually_eq("all are accepted", (0, 0, 0), || {
        server.numbers("cmq.push.t.s")
    })
    .await;
    let mut bodies: Vec<u32> = endpoint
        .bodies()
        .iter()
        .map(|body| body.parse().unwrap())
        .collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies, (0..50).collect::<Vec<_>>());
}

/// Asserts that the waits between these pushes double.
fn assert_decay(tries: &[Posted]) {
    for (doublings, pair) in tries.windows(2).enumerate() {
        let wait = pair[1].at - pair[0].at;
        let least = SECOND * (1 << doublings) - CLOCK;
        assert!(wait >= least, "{doublings}: {wait:?}");
    }
}

#[tokio::test]
async fn attempts_are_counted_across_a_restart() {
    let (server, mut client) = start().await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let (release, released) = watch::channel(false);
    let tries_of_b = AtomicUsize::new(0);
    let endpoint = Endpoint::start(move |posted| {
        let is_second = posted.line.contains("/b") && tries_of_b.fetch_add(1, SeqCst) == 1;
        Reply {
            gate: is_second.then(|| released.clone()),
            ..Reply::status(if is_broken.load(SeqCst) { 500 } else { 200 })
        }
    })
    .await;
    subscribe(
        &mut client,
        "b",
        &endpoint.url("/b"),
        &[BACKOFF, SIMPLIFIED],
    )
    .await;
    subscribe(&mut client, "d", &endpoint.url("/d"), &[DECAY, SIMPLIFIED]).await;
    publish(&mut client, "bad").await;
    let tries = |path: &str| -> Vec<Posted> {
        let line = format!("POST {path} HTTP/1.1");
        let posted = endpoint.posted().into_iter();
        posted.filter(|posted| posted.line == line).collect()
    };
    // One push has no response yet, the other message waits for its next attempt.
    eventually("both were tried", || {
        tries("/b").len() == 2 && tries("/d").len() >= 3
    })
    .await;
    server.stop_listening();
    release.send_replace(true);
    let server = server.restart().await;
    let before = tries("/d").len();
    eventually_eq("the message is dropped", (0, 0, 0), || {
        server.numbers("cmq.push.t.b")
    })
    .await;
    assert_eq!(tries("/b").len(), 4, "attempts before the restart count");
    eventually("the other message is retried", || {
        tries("/d").len() >= before + 2
    })
    .await;
    assert_decay(&tries("/d"));
    broken.store(false, SeqCst);
    eventually_eq("the message is accepted", (0, 0, 0), || {
        server.numbers("cmq.push.t.d")
    })
    .await;
}

#[tokio::test]
async fn a_push_that_a_stop_interrupts_is_repeated_and_does_not_count() {
    let (server, mut client) = start().await;
    let tries = AtomicUsize::new(0);
    // The gate never opens: the response never comes.
    let (_never, held) = watch::channel(false);
    let endpoint = Endpoint::start(move |_| Reply {
        gate: (tries.fetch_add(1, SeqCst) == 1).then(|| held.clone()),
        ..Reply::status(500)
    })
    .await;
    subscribe(&mut client, "s", &endpoint.url("/"), &[BACKOFF, SIMPLIFIED]).await;
    publish(&mut client, "bad").await;
    eventually_eq("the second attempt has begun", 2, || {
        endpoint.posted().len()
    })
    .await;
    let server = server.restart_without_grace().await;
    eventually_eq("the message is dropped", (0, 0, 0), || {
        server.numbers("cmq.push.t.s")
    })
    .await;
    assert_eq!(endpoint.posted().len(), 1 + 1 + 3);
}

#[tokio::test]
async fn a_slow_endpoint_delays_no_other() {
    let server = TestServer::start_with_cmq(|config| {
        push_locally(config);
        // Longer than the test waits.
        config.push.timeout = PATIENCE * 2;
        config.push.endpoint_connections_max = 2;
        config.push.connections_max = 4;
    })
    .await;
    let mut client = client(&server).await;
    client.ok("CreateTopic", &[T]).await;
    let slow = Endpoint::start(|_| Reply {
        after: PATIENCE * 2,
        ..Reply::status(200)
    })
    .await;
    let fast = Endpoint::start(|_| Reply::status(200)).await;
    // Subscriptions with the same endpoint share its limit of concurrent pushes.
    for name in ["slow1", "slow2", "slow3"] {
        subscribe(&mut client, name, &slow.url("/"), &[SIMPLIFIED]).await;
    }
    subscribe(&mut client, "fast", &fast.url("/"), &[SIMPLIFIED]).await;
    for n in 0..100 {
        publish(&mut client, &n.to_string()).await;
    }
    eventually_eq("the fast endpoint has all messages", (0, 0, 0), || {
        server.numbers("cmq.push.t.fast")
    })
    .await;
    assert_eq!(fast.posted().len(), 100);
    let waiting = |name| {
        let (ready, unacked, _) = server.numbers(name);
        ready + unacked
    };
    assert_eq!(waiting("cmq.push.t.slow1"), 100);
    assert!(slow.posted().len() <= 2);
}

#[tokio::test]
async fn a_missing_response_is_a_failure() {
    let server = TestServer::start_with_cmq(|config| {
        push_locally(config);
        config.push.timeout = Duration::from_millis(200);
    })
    .await;
    let mut client = client(&server).await;
    client.ok("CreateTopic", &[T]).await;
    let slow = Endpoint::start(|_| Reply {
        after: PATIENCE * 2,
        ..Reply::status(200)
    })
    .await;
    subscribe(&mut client, "s", &slow.url("/"), &[BACKOFF]).await;
    publish(&mut client, "x").await;
    eventually_eq("the message is dropped", (0, 0, 0), || {
        server.numbers("cmq.push.t.s")
    })
    .await;
    assert_eq!(slow.posted().len(), 4);
}

#[tokio::test]
async fn messages_published_over_amqp_are_pushed() {
    let (server, mut client) = start().await;
    let endpoint = Endpoint::start(|_| Reply::status(200)).await;
    subscribe(&mut client, "s", &endpoint.url("/"), &[]).await;
    let mut peer = Peer::new(&server).await;
    let tag = |name| (name, AMQPValue::Boolean(true));
    let tags = [tag("cmq-tag-x"), tag("other")];
    peer.publish_to(1, "t", "any", &tags, "over AMQP").await;
    eventually_eq("it is pushed", 1, || endpoint.posted().len()).await;
    let posted = endpoint.posted().remove(0);
    let json: serde_json::Value = serde_json::from_str(&posted.body).unwrap();
    assert_eq!(json["msgBody"], "over AMQP");
    // A message without an id has its position as id.
    assert_eq!(json["msgId"], "0-0");
    assert_eq!(posted.headers["x-cmq-message-id"], "0-0");
    assert_eq!(posted.headers["x-cmq-message-tag"], "x");
}

#[tokio::test]
async fn push_queues_are_hidden_and_go_with_their_subscription() {
    let (server, mut client) = start().await;
    let endpoint = Endpoint::start(|_| Reply::status(500)).await;
    subscribe(&mut client, "s", &endpoint.url("/"), &[DECAY]).await;
    assert_eq!(client.ok("ListQueue", &[]).await["totalCount"], 0);
    publish(&mut client, "x").await;
    eventually("it is tried", || !endpoint.posted().is_empty()).await;
    let s = ("subscriptionName", "s");
    let shown = client.ok("GetSubscriptionAttributes", &[T, s]).await;
    assert_eq!(shown["msgCount"], 1);
    assert_eq!(shown["protocol"], "http");
    assert_eq!(shown["endpoint"], endpoint.url("/"));
    assert_eq!(shown["notifyContentFormat"], "JSON");
    client.ok("Unsubscribe", &[T, s]).await;
    assert!(server.counts("cmq.push.t.s").is_none());
    subscribe(&mut client, "s", &endpoint.url("/again"), &[BACKOFF]).await;
    publish(&mut client, "y").await;
    eventually("the new subscription is pushed", || {
        let posted = endpoint.posted();
        posted.iter().any(|posted| posted.line.contains("/again"))
    })
    .await;
}

/// Subscribes a queue that holds one message.
async fn subscribe_narrow(server: &TestServer, client: &mut Client, more: &[(&str, &str)]) {
    let mut peer = Peer::new(server).await;
    let overflow = AMQPValue::LongString("reject-publish".into());
    let narrow = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", overflow),
    ];
    peer.declare_durable(1, "narrow", &narrow).await;
    let mut parameters = vec![
        T,
        ("subscriptionName", "s"),
        ("protocol", "queue"),
        ("endpoint", "narrow"),
    ];
    parameters.extend(more);
    client.ok("Subscribe", &parameters).await;
}

#[tokio::test]
async fn messages_that_a_full_queue_refuses_are_offered_again() {
    let (server, mut client) = start().await;
    subscribe_narrow(&server, &mut client, &[DECAY]).await;
    let mut expected: Vec<String> = (0..5).map(|n| n.to_string()).collect();
    for body in &expected {
        publish(&mut client, body).await;
    }
    expected.extend(["a".to_owned(), "b".to_owned()]);
    let two = [T, ("msgBody.1", "a"), ("msgBody.2", "b")];
    client.ok("BatchPublishMessage", &two).await;
    let waiting = |server: &TestServer| {
        let (ready, unacked, _) = server.numbers("cmq.push.t.s");
        ready + unacked
    };
    assert_eq!((server.ready("narrow"), waiting(&server)), (1, 6));
    let s = ("subscriptionName", "s");
    let shown = client.ok("GetSubscriptionAttributes", &[T, s]).await;
    assert_eq!(shown["msgCount"], 6);
    let server = server.restart().await;
    let mut client = super::client(&server).await;
    let narrow = ("queueName", "narrow");
    let mut bodies = Vec::new();
    while bodies.len() < expected.len() {
        let got = client
            .ok("ReceiveMessage", &[narrow, ("pollingWaitSeconds", "30")])
            .await;
        bodies.push(got["msgBody"].as_str().unwrap().to_owned());
        let handle = ("receiptHandle", got["receiptHandle"].as_str().unwrap());
        client.ok("DeleteMessage", &[narrow, handle]).await;
    }
    bodies.sort();
    assert_eq!(bodies, expected);
    assert_eq!((server.ready("narrow"), waiting(&server)), (0, 0));
    client.ok("Unsubscribe", &[T, s]).await;
    assert!(server.counts("cmq.push.t.s").is_none());
    // A queue that is bound over AMQP has no retry strategy.
    let mut peer = Peer::new(&server).await;
    peer.bind(1, "narrow", "t", "").await;
    publish(&mut client, "x").await;
    let full = client
        .refused("PublishMessage", &[T, ("msgBody", "x")])
        .await;
    assert_eq!(full, CmqError::QueueFull);
}

#[tokio::test]
async fn messages_that_a_full_queue_refuses_too_often_are_dropped() {
    let (server, mut client) = start().await;
    subscribe_narrow(&server, &mut client, &[BACKOFF]).await;
    for body in ["fits", "does not", "neither"] {
        publish(&mut client, body).await;
    }
    eventually_eq("they are dropped", (0, 0, 0), || {
        server.numbers("cmq.push.t.s")
    })
    .await;
    assert_eq!(server.ready("narrow"), 1);
    // Deleting the queue ends the subscription.
    publish(&mut client, "again").await;
    let narrow = ("queueName", "narrow");
    client.ok("DeleteQueue", &[narrow]).await;
    eventually("the waiting messages have gone with it", || {
        server.counts("cmq.push.t.s").is_none()
    })
    .await;
}

/// The endpoint may have the message, so the retry waits as the strategy says.
#[tokio::test]
async fn an_endpoint_that_hangs_up_is_tried_once_per_attempt() {
    let (_server, mut client) = start().await;
    let endpoint = Endpoint::start(|posted| {
        let is_first = posted.body == "first";
        Reply::status(if is_first { 200 } else { HANGS_UP })
    })
    .await;
    let strategy = [BACKOFF, SIMPLIFIED];
    subscribe(&mut client, "s", &endpoint.url("/"), &strategy).await;
    publish(&mut client, "first").await;
    eventually_eq("a connection is kept", 1, || endpoint.posted().len()).await;
    publish(&mut client, "second").await;
    eventually("all attempts were made", || endpoint.posted().len() >= 5).await;
    publish(&mut client, "last").await;
    eventually("the last is tried", || {
        endpoint.bodies().iter().any(|body| body == "last")
    })
    .await;
    let of_second: Vec<Posted> = endpoint
        .posted()
        .into_iter()
        .filter(|posted| posted.body == "second")
        .collect();
    assert_eq!(of_second.len(), 4, "one attempt and three more");
    for pair in of_second.windows(2) {
        assert!(pair[1].at - pair[0].at + CLOCK >= 10 * SECOND);
    }
}
