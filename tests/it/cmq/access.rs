//! Who may ask, and how that is known.

use super::{Client, client, codes, secret};
use crate::support::TestServer;

#[tokio::test]
async fn both_methods_and_both_verbs_sign() {
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

/// Clients that draw nonces from few numbers sign alike when they send alike in one second.
#[tokio::test]
async fn equal_requests_are_carried_out_each() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "q")]).await;
    let form = client.form("SendMessage", &[("queueName", "q"), ("msgBody", "m")]);
    for _ in 0..3 {
        client.send(&form).await;
        assert_eq!(client.answer().await["code"], 0);
    }
    assert_eq!(server.ready("q"), 3);
}

#[tokio::test]
async fn what_was_sent_before_is_refused_if_an_operator_says() {
    let server = TestServer::start_with_cmq(|config| config.replays_max = 1000).await;
    let mut client = client(&server).await;
    let q = ("queueName", "q");
    client.ok("CreateQueue", &[q]).await;
    let body = ("msgBody", "m");
    for (action, expected) in [
        ("SendMessage", (4100, 10030)),
        ("GetQueueAttributes", (0, 0)),
        ("BatchReceiveMessage", (0, 0)),
        ("ListQueue", (0, 0)),
    ] {
        let form = client.form(action, &[q, body, ("numOfMsg", "1")]);
        let mut answers = Vec::new();
        for _ in 0..2 {
            if action == "BatchReceiveMessage" {
                client.ok("SendMessage", &[q, body]).await;
            }
            let mut other = client.another().await;
            other.send(&form).await;
            answers.push(other.answer().await);
        }
        assert_eq!(answers[0]["code"], 0, "{action}");
        match expected {
            (0, 0) => assert_eq!(answers[1]["code"], 0, "{action}"),
            expected => assert_eq!(codes(&answers[1]), expected, "{action}"),
        }
    }
}

#[tokio::test]
async fn a_request_is_carried_out_in_its_time() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    for (ahead, code) in [(-310, 4100), (-290, 0), (290, 0), (310, 4100)] {
        client.ahead = ahead;
        let answer = client.call("ListQueue", &[]).await;
        assert_eq!(answer["code"], code, "{ahead}");
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
async fn strangers_are_refused() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    let (id, key) = secret(users, "guest", "/").await;
    let mut wrong_key = Client::connect(server.cmq, (id.clone(), "no".into())).await;
    assert_eq!(wrong_key.refused("ListQueue", &[]).await, (4100, 10030));
    let mut wrong_id = Client::connect(server.cmq, ("AKIDno".into(), key.clone())).await;
    assert_eq!(wrong_id.refused("ListQueue", &[]).await, (4100, 10270));
    let mut right = Client::connect(server.cmq, (id.clone(), key)).await;
    right.ok("ListQueue", &[]).await;
    users.delete_secret(&id).await.unwrap();
    assert_eq!(right.refused("ListQueue", &[]).await, (4100, 10270));
}

#[tokio::test]
async fn a_key_may_what_its_user_may() {
    let server = TestServer::start().await;
    let users = server.broker.users();
    users.add("u", b"p", Vec::new()).await.unwrap();
    let mut client = Client::connect(server.cmq, secret(users, "u", "/").await).await;
    assert_eq!(client.refused("ListQueue", &[]).await, (4000, 10461));
    let mut admin = super::client(&server).await;
    for queue in ["mine", "in", "out"] {
        admin.ok("CreateQueue", &[("queueName", queue)]).await;
    }
    users
        .set_permissions("u", "/", ["^mine", "^in$", "^out$"])
        .await
        .unwrap();
    let denied = (4000, 10461);
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
    assert_eq!(client.refused("ListQueue", &[]).await, (4100, 10270));
}

#[tokio::test]
async fn a_key_sees_what_its_user_may_use() {
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
async fn names_are_found_in_any_letters() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client.ok("CreateQueue", &[("queueName", "Jobs")]).await;
    client.ok("CreateQueue", &[("queueName", "Dead")]).await;
    client.ok("CreateTopic", &[("topicName", "News")]).await;
    assert_eq!(
        client
            .refused("CreateQueue", &[("queueName", "JOBS")])
            .await,
        (4460, 10210)
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
        (4490, 10470)
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
    // What is not there is looked for again when something has come.
    let missing = ("queueName", "LATER");
    for _ in 0..2 {
        assert_eq!(
            client.refused("ReceiveMessage", &[missing]).await,
            (4440, 10100)
        );
    }
    client.ok("CreateQueue", &[("queueName", "later")]).await;
    assert_eq!(
        client.refused("ReceiveMessage", &[missing]).await,
        (7000, 10200)
    );
    client.ok("DeleteQueue", &[("queueName", "Later")]).await;
    assert_eq!(
        client.refused("ReceiveMessage", &[missing]).await,
        (4440, 10100)
    );
}

/// HTTP errors would be a broken network to clients.
#[tokio::test]
async fn what_cannot_be_read_is_answered_as_everything_else() {
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
        // The answer may be there before all of the request is.
        client.try_raw(request).await;
        assert_eq!(codes(&client.answer().await), (4000, 10420));
        client.ended().await;
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_all_the_same() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    client
        .raw(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(codes(&client.answer().await), (4000, 10410));
    client
        .raw(b"GET /?Action=ListQueue HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(codes(&client.answer().await), (4000, 10390));
    client
        .raw(b"GET /?a=1&a=2 HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert_eq!(codes(&client.answer().await), (4000, 10330));
    assert_eq!(client.refused("Fly", &[]).await, (4000, 10430));
    client.ok("lISTqUEUE", &[]).await;
    client
        .raw(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n")
        .await;
    assert_eq!(codes(&client.answer().await), (4000, 10420));
}
