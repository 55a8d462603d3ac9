//! The backend `http`: what it asks, and what its answers allow.

use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, connection};

use super::auth_server::{ALLOW, Answer, Asked, AuthServer, DENY, declare_queue};
use crate::management::Client as ManagementClient;
use crate::support::reply_code::{ACCESS_REFUSED, NOT_ALLOWED};
use crate::support::{Client, Peer, Publish, TestServer, keys, table};

/// Logs in as ann; the next frame is the answer.
async fn log_in(server: &TestServer, password: &str) -> Peer {
    Peer::log_in(server.address, Client::default(), "ann", password).await
}

/// Ann's open connection, with channel 1.
async fn connect(server: &TestServer) -> Peer {
    let mut peer = log_in(server, "secret").await;
    let (_, tune) = peer.method().await;
    assert!(
        matches!(tune, AMQPClass::Connection(connection::AMQPMethod::Tune(_))),
        "{tune:?}"
    );
    let opened = peer.open_vhost("/").await;
    assert!(
        matches!(
            opened,
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
        ),
        "{opened:?}"
    );
    peer.open(1).await;
    peer
}

/// Knows ann by her password. What she may do is allowed.
fn ann(asked: &Asked) -> Answer {
    match asked.path.as_str() {
        "/auth/user" if asked.get("password") == "secret" => Answer::Text("allow management"),
        "/auth/user" => DENY,
        _ => ALLOW,
    }
}

fn parameters(asked: &Asked) -> Vec<(&str, &str)> {
    let all = asked.parameters.iter();
    all.map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_decides_about_logins_and_virtual_hosts() {
    for method in ["get", "post"] {
        let auth = AuthServer::start(ann).await;
        let server = auth
            .broker_with(&["http"], &[("auth-http-method", method)])
            .await;
        connect(&server).await;
        let asked = auth.take_asked();
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(paths, ["/auth/user", "/auth/vhost"]);
        assert_eq!(
            parameters(&asked[0]),
            [("password", "secret"), ("username", "ann")]
        );
        assert_eq!(
            parameters(&asked[1]),
            [
                ("ip", "127.0.0.1"),
                ("tags", "management"),
                ("username", "ann"),
                ("vhost", "/")
            ]
        );
        let mut refused = log_in(&server, "wrong").await;
        let text = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                    For details see the broker logfile.";
        assert_eq!(refused.closed().await, (ACCESS_REFUSED, text.to_owned()));
        auth.rule(|asked| match asked.path.as_str() {
            "/auth/vhost" => DENY,
            _ => ann(asked),
        });
        // Another broker, with nothing in its cache.
        let server = auth.broker().await;
        let mut peer = log_in(&server, "secret").await;
        peer.method().await;
        peer.send_open("/").await;
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
        assert_eq!(peer.closed().await, (NOT_ALLOWED, text.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_method_asks_for_its_permission() {
    let auth = AuthServer::start(|asked| match asked.get("name") {
        "no" => DENY,
        _ if asked.get("routing_key") == "no" => DENY,
        _ => ann(asked),
    })
    .await;
    let server = auth.broker().await;
    let mut peer = connect(&server).await;
    peer.declare(1, "q").await;
    auth.take_asked();
    peer.declare_exchange(1, "t", "topic", &[]).await;
    peer.bind(1, "q", "t", "#").await;
    peer.consume(1, "q", "c").await;
    peer.publish_to(1, "t", "a.b", &[], "one").await;
    assert_eq!(peer.content().await.text(), "one");
    let asked: Vec<String> = auth.take_asked().iter().map(brief).collect();
    assert_eq!(
        asked,
        [
            "exchange t configure",
            "queue q write",
            "exchange t read",
            "topic t read #",
            "queue q read",
            "exchange t write",
            "topic t write a.b",
        ]
    );
    peer.publish_to(1, "t", "a.b", &[], "two").await;
    assert_eq!(peer.content().await.text(), "two");
    assert!(auth.take_asked().is_empty(), "the route is cached");

    let refused = |what: &str| {
        let text = format!("ACCESS_REFUSED - {what} in vhost '/' refused for user 'ann'");
        (ACCESS_REFUSED, text)
    };
    peer.send(1, declare_queue("no")).await;
    assert_eq!(
        peer.closed().await,
        refused("configure access to queue 'no'")
    );
    peer.open(1).await;
    let consume = basic::Consume {
        queue: "no".into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: table(&[]),
    };
    peer.basic(1, basic::AMQPMethod::Consume(consume)).await;
    assert_eq!(peer.closed().await, refused("read access to queue 'no'"));
    peer.open(1).await;
    let get = basic::Get {
        queue: "no".into(),
        no_ack: false,
    };
    peer.basic(1, basic::AMQPMethod::Get(get)).await;
    assert_eq!(peer.closed().await, refused("read access to queue 'no'"));
    peer.open(1).await;
    peer.publish_to(1, "no", "k", &[], "x").await;
    assert_eq!(
        peer.closed().await,
        refused("write access to exchange 'no'")
    );
    peer.open(1).await;
    peer.publish_to(1, "t", "no", &[], "x").await;
    let of_topic = refused("write access to topic 'no' in exchange 't'");
    assert_eq!(peer.closed().await, of_topic);
    peer.open(1).await;
    let copies = keys(&["a.b", "no"]);
    let publish = Publish::to("t", "a.b", b"x").with_headers(&[("CC", copies)]);
    peer.publish_as(1, &publish).await;
    assert_eq!(peer.closed().await, of_topic);
}

fn brief(asked: &Asked) -> String {
    let words = ["resource", "name", "permission", "routing_key"].map(|name| asked.get(name));
    words.join(" ").trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_goes_through_the_chain() {
    let auth = AuthServer::start(ann).await;
    let server = auth.broker_with(&["internal", "http"], &[]).await;
    Peer::new(&server).await;
    assert!(auth.take_asked().is_empty(), "guest is one of the broker's");
    connect(&server).await.declare(1, "q").await;
    assert!(!auth.take_asked().is_empty());

    // Authenticated there, authorised here.
    let server = auth.broker_with(&["http+internal"], &[]).await;
    let mut refused = log_in(&server, "secret").await;
    assert_eq!(refused.closed().await.0, ACCESS_REFUSED);
    let users = server.broker.users();
    users.add_hashed("ann", None, vec![]).await.unwrap();
    users
        .set_permissions("ann", "/", ["^own", "", ""])
        .await
        .unwrap();
    auth.take_asked();
    let mut peer = connect(&server).await;
    peer.declare(1, "own").await;
    peer.send(1, declare_queue("other")).await;
    assert_eq!(peer.closed().await.0, ACCESS_REFUSED);
    assert!(auth.take_asked().is_empty(), "the login was cached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_cached_and_refusals_if_so_configured() {
    let auth = AuthServer::start(ann).await;
    let server = auth.broker().await;
    let mut peers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let address = server.address;
        peers.spawn(async move {
            let mut peer = Peer::log_in(address, Client::default(), "ann", "secret").await;
            peer.method().await
        });
    }
    peers.join_all().await;
    assert_eq!(auth.take_asked().len(), 1, "of twenty logins one asks");
    for (caches_refusals, requests) in [("false", 2), ("true", 1)] {
        let options = [("auth-cache-refusals", caches_refusals)];
        let server = auth.broker_with(&["http"], &options).await;
        for _ in 0..2 {
            let mut refused = log_in(&server, "wrong").await;
            assert_eq!(refused.closed().await.0, ACCESS_REFUSED);
        }
        assert_eq!(auth.take_asked().len(), requests);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_taken_away_ends_with_the_cached_one() {
    let auth = AuthServer::start(ann).await;
    let server = auth
        .broker_with(&["http"], &[("auth-cache-ttl", "200")])
        .await;
    let mut peer = connect(&server).await;
    peer.confirm_select(1).await;
    peer.declare(1, "q").await;
    auth.rule(|asked| match asked.get("permission") {
        "write" => DENY,
        _ => ann(asked),
    });
    // One after the other, until the permission is over.
    let closed = loop {
        peer.publish(1, "q", b"x").await;
        match peer.method().await {
            (1, AMQPClass::Basic(_)) => {}
            (1, closed) => break closed,
            other => panic!("{other:?}"),
        }
    };
    assert!(format!("{closed:?}").contains("write access to exchange 'amq.default'"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_the_management_api_go_through_the_chain() {
    let auth = AuthServer::start(|asked| match asked.get("vhost") {
        "closed" => DENY,
        _ => ann(asked),
    })
    .await;
    let server = auth.broker().await;
    let metadata = leveret::broker::vhost::VhostMetadata::default;
    server.broker.add_vhost("closed", metadata()).await.unwrap();
    let mut client = ManagementClient::of(&server, "ann", "secret");
    let whoami = client.get("/api/whoami").await.json();
    assert_eq!(
        whoami,
        serde_json::json!({"name": "ann", "tags": ["management"], "is_internal_user": false})
    );
    let vhosts = client.get("/api/vhosts").await.json();
    let names: Vec<_> = vhosts.as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 1, "{vhosts}");
    assert_eq!(names[0]["name"], "/");
    let put = client
        .put("/api/queues/%2F/q", &serde_json::json!({"durable": true}))
        .await;
    assert_eq!(put.status, 201, "{}", put.text());
    assert_eq!(client.get("/api/queues/closed").await.status, 404);
    let mut wrong = ManagementClient::of(&server, "ann", "wrong");
    assert_eq!(wrong.get("/api/whoami").await.status, 401);
}
