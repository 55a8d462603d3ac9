//! Authentication and permissions of requests.

use leveret::cmq::error::CmqError;

use super::{Client, Q, Refusal, client, secret, start_with_queue};
use crate::support::TestServer;

#[tokio::test]
async fn both_signature_methods_and_both_http_methods_are_accepted() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    for (n, (sha256, get, path)) in [
        (false, false, "/v2/index.php"),
        (true, false, "/"),
        (false, true, "/v2/index.php"),
        (true, true, "/"),
    ]
    .into_iter()
    .enumerate()
    {
        client.sha256 = sha256;
        client.get = get;
        client.path = path.into();
        let name = format!("q{n}");
        let answer = client
            .ok(
                "CreateQueue",
                &[("queueName", &name), ("clientRequestId", "77")],
            )
            .await;
        assert!(answer["queueId"].as_str().unwrap().starts_with("queue-"));
        assert_eq!(answer["clientRequestId"], 77);
    }
    assert_eq!(client.ok("ListQueue", &[]).await["totalCount"], 4);
}

/// Clients that draw nonces from few numbers sign two equal requests of one second alike.
#[tokio::test]
async fn equal_requests_are_all_carried_out() {
    let (server, mut client) = start_with_queue().await;
    let form = client.form("SendMessage", &[Q, ("msgBody", "m")]);
    for _ in 0..3 {
        client.send(&form).await;
        assert_eq!(client.answer().await["code"], 0);
    }
    assert_eq!(server.ready("q"), 3);
}

#[tokio::test]
async fn with_a_replay_memory_a_copied_send_is_refused() {
    let server = TestServer::start_with_cmq(|config| config.replays_max = 1000).await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[Q]).await;
    let body = ("msgBody", "m");
    for (action, refusal) in [
        ("SendMessage", Some(CmqError::Authentication)),
        ("GetQueueAttributes", None),
        ("BatchReceiveMessage", None),
        ("ListQueue", None),
    ] {
        let form = client.form(action, &[Q, body, ("numOfMsg", "1")]);
        let mut answers = Vec::new();
        for _ in 0..2 {
            if action == "BatchReceiveMessage" {
                client.ok("SendMessage", &[Q, body]).await;
            }
            let mut other = client.another().await;
            other.send(&form).await;
            answers.push(other.answer().await);
        }
        assert_eq!(answers[0]["code"], 0, "{action}");
        match refusal {
            None => assert_eq!(answers[1]["code"], 0, "{action}"),
            Some(refusal) => assert_eq!(Refusal::of(&answers[1]), refusal, "{action}"),
        }
    }
}

#[tokio::test]
async fn a_time_stamp_has_to_be_near_the_clock() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    for ahead in [-290, 290] {
        client.ahead = ahead;
        client.ok("ListQueue", &[]).await;
    }
    for ahead in [-310, 310] {
        client.ahead = ahead;
        let refusal = client.refused("ListQueue", &[]).await;
        assert_eq!(refusal, CmqError::Authentication, "{ahead}");
    }
    let lenient = TestServer::start_with_cmq(|config| {
        config.clock_skew_ms = 0;
    })
    .await;
    let mut client = super::client(&lenient).await;
    client.ahead = -1_000_000_000;
    let form = client.form("ListQueue", &[]);
    for _ in 0..2 {
        client.send(&form).await;
        assert_eq!(client.answer().await["code"], 0);
    }
}

#[tokio::test]
async fn wrong_and_deleted_keys_are_refused() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    let (id, key) = secret(users, "guest", "/").await;
    let mut wrong_key = Client::connect(server.cmq, (id.clone(), "no".into())).await;
    assert_eq!(
        wrong_key.refused("ListQueue", &[]).await,
        CmqError::Authentication
    );
    let mut wrong_id = Client::connect(server.cmq, ("AKIDno".into(), key.clone())).await;
    assert_eq!(
        wrong_id.refused("ListQueue", &[]).await,
        CmqError::NoSuchSecretId
    );
    let mut right = Client::connect(server.cmq, (id.clone(), key)).await;
    right.ok("ListQueue", &[]).await;
    users.delete_secret(&id).await.unwrap();
    assert_eq!(
        right.refused("ListQueue", &[]).await,
        CmqError::NoSuchSecretId
    );
}

#[tokio::test]
async fn a_key_has_the_permissions_of_its_user() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users.add("u", b"p", Vec::new()).await.unwrap();
    let mut client = Client::connect(server.cmq, secret(users, "u", "/").await).await;
    assert_eq!(client.refused("ListQueue", &[]).await, CmqError::NotAllowed);
    let mut admin = super::client(&server).await;
    for queue in ["mine", "in", "out"] {
        admin.ok("CreateQueue", &[("queueName", queue)]).await;
    }
    users
        .set_permissions("u", "/", ["^mine", "^in$", "^out$"])
        .await
        .unwrap();
    let denied = CmqError::NotAllowed;
    let q = |name| ("queueName", name);
    let body = ("msgBody", "x");
    client.ok("CreateQueue", &[q("mine2")]).await;
    assert_eq!(client.refused("CreateQueue", &[q("other")]).await, denied);
    client.ok("SendMessage", &[q("in"), body]).await;
    assert_eq!(
        client.refused("SendMessage", &[q("out"), body]).await,
        denied
    );
    client.ok("GetQueueAttributes", &[q("out")]).await;
    assert_eq!(
        client.refused("GetQueueAttributes", &[q("in")]).await,
        denied
    );
    assert_eq!(client.refused("DeleteQueue", &[q("in")]).await, denied);
    client.ok("DeleteQueue", &[q("mine")]).await;
    users.delete("u").await.unwrap();
    assert_eq!(
        client.refused("ListQueue", &[]).await,
        CmqError::NoSuchSecretId
    );
}

#[tokio::test]
async fn listings_show_only_what_the_user_has_permissions_on() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users.add("u", b"p", Vec::new()).await.unwrap();
    users
        .set_permissions("u", "/", ["^a$", "^b$", "^(c|t|t2)$"])
        .await
        .unwrap();
    let mut admin = super::client(&server).await;
    for queue in ["a", "b", "c", "d"] {
        admin.ok("CreateQueue", &[("queueName", queue)]).await;
    }
    for topic in ["t", "t2", "hidden"] {
        admin.ok("CreateTopic", &[("topicName", topic)]).await;
    }
    for queue in ["a", "d"] {
        let subscription = [
            ("topicName", "t"),
            ("subscriptionName", queue),
            ("protocol", "queue"),
            ("endpoint", queue),
        ];
        admin.ok("Subscribe", &subscription).await;
    }
    let mut client = Client::connect(server.cmq, secret(users, "u", "/").await).await;
    for (action, parameters, list, name, seen) in [
        (
            "ListQueue",
            &[][..],
            "queueList",
            "queueName",
            &["a", "b", "c"][..],
        ),
        (
            "ListQueue",
            &[("searchWord", "D")],
            "queueList",
            "queueName",
            &[],
        ),
        ("ListTopic", &[], "topicList", "topicName", &["t", "t2"]),
        (
            "ListSubscriptionByTopic",
            &[("topicName", "t")],
            "subscriptionList",
            "subscriptionName",
            &["a"],
        ),
    ] {
        let answer = client.ok(action, parameters).await;
        assert_eq!(answer["totalCount"], seen.len(), "{action}");
        let names: Vec<_> = answer[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| &item[name])
            .collect();
        assert_eq!(names, seen, "{action}");
    }
    assert_eq!(admin.ok("ListQueue", &[]).await["totalCount"], 4);
}

#[tokio::test]
async fn names_are_found_in_any_case() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "Jobs")]).await;
    client.ok("CreateQueue", &[("queueName", "Dead")]).await;
    client.ok("CreateTopic", &[("topicName", "News")]).await;
    assert_eq!(
        client
            .refused("CreateQueue", &[("queueName", "JOBS")])
            .await,
        CmqError::QueueExists
    );
    let policy = r#"{"deadLetterQueue":"DEAD","policy":0,"maxReceiveCount":1}"#;
    let set = [("queueName", "jobs"), ("deadLetterPolicy", policy)];
    client.ok("SetQueueAttributes", &set).await;
    let subscription = [
        ("topicName", "NEWS"),
        ("subscriptionName", "Sub"),
        ("protocol", "queue"),
        ("endpoint", "jOBS"),
    ];
    client.ok("Subscribe", &subscription).await;
    assert_eq!(
        client.refused("Subscribe", &subscription).await,
        CmqError::SubscriptionExists
    );
    client
        .ok("PublishMessage", &[("topicName", "nEws"), ("msgBody", "m")])
        .await;
    assert_eq!(server.ready("Jobs"), 1);
    let message = client.ok("ReceiveMessage", &[("queueName", "JOBS")]).await;
    let handle = message["receiptHandle"].as_str().unwrap();
    client
        .ok(
            "DeleteMessage",
            &[("queueName", "jobs"), ("receiptHandle", handle)],
        )
        .await;
    let shown = client
        .ok("GetQueueAttributes", &[("queueName", "JOBS")])
        .await;
    assert_eq!(shown["queueName"], "Jobs");
    let shown = client
        .ok(
            "GetSubscriptionAttributes",
            &[("topicName", "news"), ("subscriptionName", "SUB")],
        )
        .await;
    assert_eq!(shown["endpoint"], "Jobs");
    let sources = client
        .ok(
            "ListDeadLetterSourceQueues",
            &[("deadLetterQueueName", "dead")],
        )
        .await;
    assert_eq!(sources["queueList"][0]["queueName"], "Jobs");
    // A missing name is searched for again when queues were created.
    let missing = ("queueName", "LATER");
    for _ in 0..2 {
        assert_eq!(
            client.refused("ReceiveMessage", &[missing]).await,
            CmqError::NoSuchQueue
        );
    }
    client.ok("CreateQueue", &[("queueName", "later")]).await;
    assert_eq!(
        client.refused("ReceiveMessage", &[missing]).await,
        CmqError::NoMessage
    );
    client.ok("DeleteQueue", &[("queueName", "Later")]).await;
    assert_eq!(
        client.refused("ReceiveMessage", &[missing]).await,
        CmqError::NoSuchQueue
    );
}

/// Clients take HTTP errors for a broken network.
#[tokio::test]
async fn unreadable_requests_get_a_response_of_the_api() {
    let server = TestServer::start().await;
    let long_line = format!(
        "GET /?a={} HTTP/1.1\r\nHost: h\r\n\r\n",
        "x".repeat(200_000)
    );
    let headers: String = (0..200).map(|n| format!("X-{n}: x\r\n")).collect();
    let many_headers = format!("GET /?a=b HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
    for request in [
        long_line.as_bytes(),
        many_headers.as_bytes(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"no request at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting of TLS\r\n\r\n",
    ] {
        let mut client = client(&server).await;
        // The broker may respond before it has the whole request.
        client.try_raw(request).await;
        assert_eq!(
            Refusal::of(&client.answer().await),
            CmqError::Unreadable("request")
        );
        client.ended().await;
    }
}

#[tokio::test]
async fn invalid_requests_have_their_errors() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client
        .raw(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(
        Refusal::of(&client.answer().await),
        CmqError::HttpMethod("PUT".into())
    );
    client
        .raw(b"GET /?Action=ListQueue HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(
        Refusal::of(&client.answer().await),
        CmqError::Missing("SecretId".into())
    );
    client
        .raw(b"GET /?a=1&a=2 HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(
        Refusal::of(&client.answer().await),
        CmqError::NotRepeatable("a".into())
    );
    assert_eq!(
        client.refused("Fly", &[]).await,
        CmqError::NoSuchAction("Fly".into())
    );
    client.ok("lISTqUEUE", &[]).await;
    client
        .raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n")
        .await;
    assert_eq!(
        Refusal::of(&client.answer().await),
        CmqError::Unreadable("request")
    );
}
