//! Topics, and subscriptions of queues.

use std::collections::HashMap;

use leveret::cmq::error::CmqError;
use serde_json::Value;

use super::{Client, Refusal, client};
use crate::support::{Peer, TestServer, eventually_eq};

const T: (&str, &str) = ("topicName", "t");

/// The `filterType` of a topic.
const BY_TAGS: &str = "1";
const BY_KEYS: &str = "2";

async fn start(filter: &str) -> (TestServer, Client) {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateTopic", &[T, ("filterType", filter)]).await;
    (server, client)
}

/// Creates a queue with the name of the subscription, and subscribes it.
async fn subscribe(client: &mut Client, name: &str, list: &str, items: &[&str]) -> Value {
    client.ok("CreateQueue", &[("queueName", name)]).await;
    subscribe_existing(client, name, name, list, items).await
}

async fn subscribe_existing(
    client: &mut Client,
    name: &str,
    queue: &str,
    list: &str,
    items: &[&str],
) -> Value {
    let names: Vec<String> = (1..=items.len()).map(|n| format!("{list}.{n}")).collect();
    let mut parameters = vec![
        T,
        ("subscriptionName", name),
        ("protocol", "queue"),
        ("endpoint", queue),
    ];
    parameters.extend(names.iter().map(String::as_str).zip(items.iter().copied()));
    client.ok("Subscribe", &parameters).await
}

/// Publishes a message that has to be accepted.
async fn publish(client: &mut Client, body: &str, tags: &[&str], key: &str) {
    let response = try_publish(client, body, tags, key).await;
    assert_eq!(response["code"], 0, "{body}: {response}");
    response["msgId"].as_str().unwrap().parse::<u64>().unwrap();
}

/// Publishes a message that has to be refused.
async fn publish_refused(client: &mut Client, body: &str, tags: &[&str], key: &str) -> Refusal {
    Refusal::of(&try_publish(client, body, tags, key).await)
}

async fn try_publish(client: &mut Client, body: &str, tags: &[&str], key: &str) -> Value {
    let names: Vec<String> = (0..tags.len()).map(|n| format!("msgTag.{n}")).collect();
    let mut parameters = vec![T, ("msgBody", body)];
    parameters.extend(names.iter().map(String::as_str).zip(tags.iter().copied()));
    if !key.is_empty() {
        parameters.push(("routingKey", key));
    }
    client.call("PublishMessage", &parameters).await
}

/// Receives and deletes all messages of a queue; returns their bodies.
async fn drain(client: &mut Client, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let q = ("queueName", queue);
    loop {
        let answer = client
            .call("BatchReceiveMessage", &[q, ("numOfMsg", "16")])
            .await;
        if answer["code"] == CmqError::NoMessage.code() {
            return bodies;
        }
        for message in answer["msgInfoList"].as_array().unwrap() {
            bodies.push(message["msgBody"].as_str().unwrap().to_owned());
            let handle = ("receiptHandle", message["receiptHandle"].as_str().unwrap());
            client.ok("DeleteMessage", &[q, handle]).await;
        }
    }
}

#[tokio::test]
async fn messages_are_routed_by_tags() {
    let (_server, mut client) = start(BY_TAGS).await;
    assert_eq!(
        publish_refused(&mut client, "x", &[], "").await,
        CmqError::NoSubscription
    );
    subscribe(&mut client, "red", "filterTag", &["red", "rouge"]).await;
    assert_eq!(
        publish_refused(&mut client, "x", &[], "").await,
        CmqError::NoMatch
    );
    assert_eq!(
        publish_refused(&mut client, "x", &["green"], "").await,
        CmqError::NoMatch
    );
    subscribe(&mut client, "all", "filterTag", &[]).await;
    for (body, tags) in [
        ("none", &[][..]),
        ("red", &["red"]),
        ("both", &["red", "rouge", "blue"]),
        ("other", &["Red"]),
    ] {
        publish(&mut client, body, tags, "").await;
    }
    let batch = [
        T,
        ("msgBody.1", "b1"),
        ("msgBody.2", "b2"),
        ("msgTag.1", "rouge"),
    ];
    let answer = client.ok("BatchPublishMessage", &batch).await;
    assert_eq!(answer["msgList"].as_array().unwrap().len(), 2);
    assert_eq!(drain(&mut client, "red").await, ["red", "both", "b1", "b2"]);
    assert_eq!(
        drain(&mut client, "all").await,
        ["none", "red", "both", "other", "b1", "b2"]
    );
}

#[tokio::test]
async fn messages_are_routed_by_binding_keys() {
    let (_server, mut client) = start(BY_KEYS).await;
    subscribe(&mut client, "stock", "bindingKey", &["stock.#", "*.usd.*"]).await;
    // A queue with two subscriptions still gets each message once.
    subscribe_existing(&mut client, "again", "stock", "bindingKey", &["stock.#"]).await;
    subscribe(&mut client, "all", "bindingKey", &["#"]).await;
    for key in ["stock", "stock.usd.nyse", "bond.usd.x", "bond.eur.x"] {
        publish(&mut client, key, &[], key).await;
    }
    assert_eq!(
        drain(&mut client, "stock").await,
        ["stock", "stock.usd.nyse", "bond.usd.x"]
    );
    assert_eq!(drain(&mut client, "all").await.len(), 4);
    client
        .ok("Unsubscribe", &[T, ("subscriptionName", "stock")])
        .await;
    publish(&mut client, "1", &[], "stock.x").await;
    publish(&mut client, "2", &[], "bond.usd.x").await;
    assert_eq!(drain(&mut client, "stock").await, ["1"]);
    let dots = vec!["a"; 17].join(".");
    let long = "x".repeat(65);
    for (key, refused) in [
        ("", CmqError::NoRoutingKey),
        (dots.as_str(), CmqError::TooManyDelimiters),
        (long.as_str(), CmqError::OutOfRange("routingKey".into())),
    ] {
        assert_eq!(
            publish_refused(&mut client, "x", &[], key).await,
            refused,
            "{key}"
        );
    }
}

#[tokio::test]
async fn topics_are_created_listed_changed_and_deleted() {
    let server = TestServer::start_with_cmq(|config| config.topics_max = 3).await;
    let mut client = client(&server).await;
    for (name, filter) in [("beta", "1"), ("alpha", "2"), ("gamma-1_x", "1")] {
        let made = client
            .ok(
                "CreateTopic",
                &[("topicName", name), ("filterType", filter)],
            )
            .await;
        assert!(made["topicId"].as_str().unwrap().starts_with("topic-"));
    }
    for (name, refused) in [
        ("ALPHA", CmqError::TopicExists),
        ("fourth", CmqError::TooManyTopics),
        ("1x", CmqError::TopicNameFormat),
        ("a.b", CmqError::TopicNameFormat),
    ] {
        let got = client.refused("CreateTopic", &[("topicName", name)]).await;
        assert_eq!(got, refused, "{name}");
    }
    let bad = [("topicName", "x"), ("filterType", "3")];
    assert_eq!(
        client.refused("CreateTopic", &bad).await,
        CmqError::OutOfRange("filterType".into())
    );
    let all = client.ok("ListTopic", &[]).await;
    let names: Vec<_> = all["topicList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|topic| topic["topicName"].as_str().unwrap())
        .collect();
    assert_eq!(
        (names, &all["totalCount"]),
        (vec!["alpha", "beta", "gamma-1_x"], &3.into())
    );
    let some = [("searchWord", "a"), ("offset", "1"), ("limit", "1")];
    let some = client.ok("ListTopic", &some).await;
    assert_eq!(some["topicList"][0]["topicName"], "beta");
    let beta = ("topicName", "beta");
    let size = ("maxMsgSize", "1024");
    client.ok("SetTopicAttributes", &[beta, size]).await;
    let shown = client.ok("GetTopicAttributes", &[beta]).await;
    for (name, value) in [
        ("msgCount", 0),
        ("maxMsgSize", 1024),
        ("msgRetentionSeconds", 86_400),
        ("filterType", 1),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert!(shown["createTime"].as_u64().unwrap() > 1_700_000_000);
    assert!(shown["lastModifyTime"].as_u64() >= shown["createTime"].as_u64());
    let body = "x".repeat(1025);
    let large = [beta, ("msgBody", body.as_str())];
    assert_eq!(
        client.refused("PublishMessage", &large).await,
        CmqError::MessageTooLarge
    );
    let empty = [beta, ("msgBody", "")];
    assert_eq!(
        client.refused("PublishMessage", &empty).await,
        CmqError::EmptyBody
    );
    client.ok("DeleteTopic", &[beta]).await;
    for action in ["DeleteTopic", "GetTopicAttributes", "PublishMessage"] {
        let got = client.refused(action, &[beta, ("msgBody", "x")]).await;
        assert_eq!(got, CmqError::NoSuchTopic, "{action}");
    }
    client.ok("CreateTopic", &[beta]).await;
}

#[tokio::test]
async fn subscriptions_are_created_shown_changed_and_ended() {
    let (_server, mut client) = start(BY_TAGS).await;
    let made = subscribe(&mut client, "s", "filterTag", &["a", "b"]).await;
    assert!(
        made["subscriptionId"]
            .as_str()
            .unwrap()
            .starts_with("subsc-")
    );
    let s = ("subscriptionName", "s");
    let shown = client.ok("GetSubscriptionAttributes", &[T, s]).await;
    for (name, value) in [
        ("topicOwner", "guest"),
        ("protocol", "queue"),
        ("protocal", "queue"),
        ("endpoint", "s"),
        ("notifyStrategy", "EXPONENTIAL_DECAY_RETRY"),
        ("notifyContentFormat", "SIMPLIFIED"),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    for name in ["filterTag", "filterTags"] {
        assert_eq!(shown[name], serde_json::json!(["a", "b"]));
    }
    assert_eq!(shown["bindingKey"], serde_json::json!([]));
    assert_eq!(shown["msgCount"], 0);
    let changes = [
        T,
        s,
        ("filterTag.1", "c"),
        ("notifyStrategy", "BACKOFF_RETRY"),
    ];
    client.ok("SetSubscriptionAttributes", &changes).await;
    assert_eq!(
        publish_refused(&mut client, "old", &["a"], "").await,
        CmqError::NoMatch
    );
    publish(&mut client, "new", &["c"], "").await;
    client.ok("ClearSUbscriptionFIlterTags", &[T, s]).await;
    publish(&mut client, "any", &["a"], "").await;
    let shown = client.ok("GetSubscriptionAttributes", &[T, s]).await;
    assert_eq!(shown["filterTags"], serde_json::json!([]));
    assert_eq!(shown["notifyStrategy"], "BACKOFF_RETRY");
    assert_eq!(drain(&mut client, "s").await, ["new", "any"]);
    for name in ["s2", "s3"] {
        subscribe(&mut client, name, "filterTag", &[]).await;
    }
    let listing = [T, ("searchWord", "s"), ("offset", "1"), ("limit", "1")];
    let listing = client.ok("ListSubscriptionByTopic", &listing).await;
    assert_eq!(listing["totalCount"], 3);
    let listed = &listing["subscriptionList"][0];
    assert_eq!(listed["subscriptionName"], "s2");
    assert_eq!(
        (&listed["protocol"], &listed["endpoint"]),
        (&"queue".into(), &"s2".into())
    );
    assert_eq!(
        client.refused("DeleteTopic", &[T]).await,
        CmqError::TopicInUse
    );
    for name in ["s", "s2", "s3"] {
        client
            .ok("Unsubscribe", &[T, ("subscriptionName", name)])
            .await;
    }
    assert_eq!(
        client.refused("Unsubscribe", &[T, s]).await,
        CmqError::NoSuchSubscription
    );
    client.ok("DeleteTopic", &[T]).await;
}

/// A topic, what the request changes of a valid subscription to it, and the refusal.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], CmqError);

#[tokio::test]
async fn invalid_subscriptions_are_refused() {
    let server = TestServer::start_with_cmq(|config| config.subscriptions_max = 1).await;
    let mut client = client(&server).await;
    client.ok("CreateTopic", &[T]).await;
    client
        .ok("CreateTopic", &[("topicName", "k"), ("filterType", "2")])
        .await;
    client.ok("CreateQueue", &[("queueName", "q")]).await;
    let long = "x".repeat(17);
    let many = ["filterTag", "bindingKey"]
        .map(|list| (1..=6).map(|n| format!("{list}.{n}")).collect::<Vec<_>>());
    let six = |list: usize| many[list].iter().map(|name| (name.as_str(), "x"));
    // Repeated items count once, so these differ.
    let values = ["1", "2", "3", "4", "5", "6"];
    let tags: Vec<_> = six(0)
        .zip(values)
        .map(|((name, _), value)| (name, value))
        .collect();
    let keys: Vec<_> = six(1)
        .zip(values)
        .map(|((name, _), value)| (name, value))
        .collect();
    let both: Vec<_> = tags[..3].iter().chain(&keys[..3]).copied().collect();
    let dots = vec!["a"; 17].join(".");
    let cases: &[Case<'_>] = &[
        (
            "t",
            &[("subscriptionName", "1")],
            CmqError::SubscriptionNameFormat,
        ),
        ("t", &[("protocol", "smtp")], CmqError::UndefinedProtocol),
        ("t", &[("endpoint", "none")], CmqError::NoSuchQueue),
        (
            "t",
            &[("notifyStrategy", "NEVER")],
            CmqError::UndefinedStrategy,
        ),
        (
            "t",
            &[("notifyContentFormat", "XML")],
            CmqError::UndefinedFormat,
        ),
        (
            "t",
            &[("filterTag.1", &long)],
            CmqError::OutOfRange("filterTag".into()),
        ),
        ("t", &tags, CmqError::TooManyFilterTags),
        ("k", &keys, CmqError::TooManyBindingKeys),
        ("t", &both, CmqError::TooManyFilters),
        ("k", &[], CmqError::NoBindingKey),
        ("k", &[("bindingKey.1", &dots)], CmqError::TooManyDelimiters),
        ("none", &[], CmqError::NoSuchTopic),
        (
            "t",
            &[("protocol", "http"), ("endpoint", "https://example.com")],
            CmqError::EndpointFormat,
        ),
        (
            "t",
            &[("protocol", "HTTP"), ("endpoint", "http://a b")],
            CmqError::BlankInEndpoint,
        ),
        (
            "t",
            &[("protocol", "http"), ("endpoint", "http://127.0.0.1/")],
            CmqError::IllegalEndpoint,
        ),
        (
            "t",
            &[("protocol", "http"), ("endpoint", "http://localhost/")],
            CmqError::IllegalEndpoint,
        ),
        (
            "t",
            &[
                ("protocol", "http"),
                ("endpoint", "http://169.254.169.254/"),
            ],
            CmqError::IllegalEndpoint,
        ),
    ];
    for (topic, changes, refused) in cases {
        let mut parameters: HashMap<&str, &str> = HashMap::from([
            ("topicName", *topic),
            ("subscriptionName", "s"),
            ("protocol", "queue"),
            ("endpoint", "q"),
        ]);
        parameters.extend(changes.iter().copied());
        let parameters: Vec<_> = parameters.into_iter().collect();
        let got = client.refused("Subscribe", &parameters).await;
        assert_eq!(got, *refused, "{topic} {changes:?}");
    }
    subscribe_existing(&mut client, "s", "q", "filterTag", &[]).await;
    for (name, refused) in [
        ("s", CmqError::SubscriptionExists),
        ("s2", CmqError::TooManySubscriptions),
    ] {
        let again = [
            T,
            ("subscriptionName", name),
            ("protocol", "queue"),
            ("endpoint", "q"),
        ];
        assert_eq!(client.refused("Subscribe", &again).await, refused);
    }
    let tags: Vec<String> = (1..=6).map(|n| format!("msgTag.{n}")).collect();
    let mut parameters: Vec<_> = tags.iter().map(|tag| (tag.as_str(), "x")).collect();
    parameters.extend([T, ("msgBody", "x")]);
    assert_eq!(
        client.refused("PublishMessage", &parameters).await,
        CmqError::TooManyMessageTags
    );
}

#[tokio::test]
async fn amqp_publishers_reach_cmq_subscribers() {
    let (server, mut client) = start(BY_KEYS).await;
    subscribe(&mut client, "q", "bindingKey", &["a.*"]).await;
    let mut peer = Peer::new(&server).await;
    peer.publish_to(1, "t", "a.b", &[], "over AMQP").await;
    peer.publish_to(1, "t", "b.c", &[], "to no queue").await;
    eventually_eq("both are routed", 1, || server.ready("q")).await;
    assert_eq!(drain(&mut client, "q").await, ["over AMQP"]);
    // A queue that is declared and bound over AMQP gets what the API publishes.
    peer.declare(1, "amqp").await;
    peer.bind(1, "amqp", "t", "#").await;
    publish(&mut client, "over HTTP", &[], "z").await;
    let got = peer.get_no_ack(1, "amqp").await.expect("a message");
    assert_eq!(got.body, b"over HTTP");
}

#[tokio::test]
async fn deletions_over_amqp_leave_no_topics_or_subscriptions() {
    let (server, mut client) = start(BY_TAGS).await;
    subscribe(&mut client, "q", "filterTag", &["a"]).await;
    subscribe(&mut client, "r", "filterTag", &["a"]).await;
    let vhost = server.broker.vhost("/").unwrap();
    vhost
        .delete_queue(&vhost.queue("q").unwrap(), |_| true)
        .await
        .unwrap();
    client.ok("CreateQueue", &[("queueName", "q")]).await;
    // The new queue of the same name is not subscribed.
    publish(&mut client, "x", &["a"], "").await;
    assert_eq!(drain(&mut client, "q").await, [""; 0]);
    let listing = client.ok("ListSubscriptionByTopic", &[T]).await;
    assert_eq!(listing["totalCount"], 1);
    subscribe_existing(&mut client, "q", "q", "filterTag", &[]).await;
    vhost.delete_exchange("t", false).await.unwrap();
    assert_eq!(client.ok("ListTopic", &[]).await["totalCount"], 0);
    assert_eq!(
        publish_refused(&mut client, "x", &[], "").await,
        CmqError::NoSuchTopic
    );
    client.ok("CreateTopic", &[T]).await;
    assert_eq!(
        publish_refused(&mut client, "x", &[], "").await,
        CmqError::NoSubscription
    );
    assert_eq!(
        client.ok("ListSubscriptionByTopic", &[T]).await["totalCount"],
        0
    );
}

#[tokio::test]
async fn topics_survive_a_restart() {
    let (server, mut client) = start(BY_TAGS).await;
    subscribe(&mut client, "q", "filterTag", &["a"]).await;
    subscribe(&mut client, "r", "filterTag", &["b"]).await;
    client
        .ok("Unsubscribe", &[T, ("subscriptionName", "r")])
        .await;
    client.ok("CreateTopic", &[("topicName", "gone")]).await;
    publish(&mut client, "before", &["a"], "").await;
    let vhost = server.broker.vhost("/").unwrap();
    vhost.delete_exchange("gone", false).await.unwrap();
    let shown = client.ok("GetTopicAttributes", &[T]).await;
    drop(vhost);
    let server = server.restart().await;
    let mut client = super::client(&server).await;
    assert_eq!(client.ok("ListTopic", &[]).await["totalCount"], 1);
    let again = client.ok("GetTopicAttributes", &[T]).await;
    for field in ["topicId", "createTime", "filterType"] {
        assert_eq!(again[field], shown[field], "{field}");
    }
    publish(&mut client, "after", &["a"], "").await;
    assert_eq!(
        publish_refused(&mut client, "no", &["b"], "").await,
        CmqError::NoMatch
    );
    assert_eq!(drain(&mut client, "q").await, ["before", "after"]);
    assert_eq!(
        client.ok("ListSubscriptionByTopic", &[T]).await["totalCount"],
        1
    );
}

#[tokio::test]
async fn permissions_are_those_of_amqp() {
    let (server, mut admin) = start(BY_KEYS).await;
    admin.ok("CreateQueue", &[("queueName", "q")]).await;
    let users = server.broker.users();
    users.add("u", b"p", Vec::new()).await.unwrap();
    let mut client = Client::connect(server.cmq, super::secret(users, "u", "/").await).await;
    let denied = CmqError::NotAllowed;
    let subscribe = [
        T,
        ("subscriptionName", "s"),
        ("protocol", "queue"),
        ("endpoint", "q"),
        ("bindingKey.1", "#"),
    ];
    // Patterns to configure, write and read, and what they allow.
    for (rights, may_create, may_subscribe, may_publish) in [
        (["", "", ""], false, false, false),
        (["^t2$", "", ""], true, false, false),
        (["", "^q$", ""], false, false, false),
        (["", "^q$", "^t$"], false, true, false),
        (["", "^t$", ""], false, false, true),
    ] {
        users.set_permissions("u", "/", rights).await.unwrap();
        for (action, parameters, may) in [
            ("CreateTopic", &[("topicName", "t2")][..], may_create),
            ("Subscribe", &subscribe, may_subscribe),
            (
                "PublishMessage",
                &[T, ("msgBody", "x"), ("routingKey", "k")],
                may_publish,
            ),
        ] {
            let answer = client.call(action, parameters).await;
            let is_denied = answer["code"] != 0 && Refusal::of(&answer) == denied;
            assert_eq!(!is_denied, may, "{action} with {rights:?}: {answer}");
        }
    }
}

/// Some clients choose strategy and format themselves, whatever the protocol.
#[tokio::test]
async fn a_queue_gets_the_body_alone_whatever_format_is_chosen() {
    let (server, mut client) = start(BY_TAGS).await;
    client.ok("CreateQueue", &[("queueName", "q")]).await;
    let short = [
        T,
        ("subscriptionName", "s"),
        ("protocol", "queue"),
        ("endpoint", "q"),
        ("notifyStrategy", "BACKOFF_RETRY"),
        ("notifyContentFormat", "JSON"),
    ];
    client.ok("Subscribe", &short).await;
    let named = [T, ("subscriptionName", "s")];
    let shown = client.ok("GetSubscriptionAttributes", &named).await;
    assert_eq!(shown["notifyContentFormat"], "SIMPLIFIED");
    assert_eq!(shown["notifyStrategy"], "BACKOFF_RETRY");
    let set = [
        T,
        ("subscriptionName", "s"),
        ("notifyContentFormat", "JSON"),
    ];
    client.ok("SetSubscriptionAttributes", &set).await;
    publish(&mut client, "m", &[], "").await;
    let got = client.ok("ReceiveMessage", &[("queueName", "q")]).await;
    assert_eq!(got["msgBody"], "m");
    assert_eq!(server.numbers("q"), (0, 1, 0));
}
