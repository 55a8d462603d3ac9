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

#[tokio::test]
async fn a_request_is_carried_out_once_and_in_its_time() {
    let server = TestServer::start().await;
    let mut client = client(&server).await;
    let form = client.form("CreateQueue", &[("queueName", "q")]);
    client.send(&form).await;
    assert_eq!(client.answer().await["code"], 0);
    let mut other = client.another().await;
    other.send(&form).await;
    assert_eq!(codes(&other.answer().await), (4100, 10030));
    for (ahead, code) in [(-310, 4100), (-290, 0), (290, 0), (310, 4100)] {
        client.ahead = ahead;
        let answer = client.call("ListQueue", &[]).await;
        assert_eq!(answer["code"], code, "{ahead}");
    }
    let lenient = TestServer::start_with_cmq(|config| {
        config.clock_skew_ms = 0;
        config.replays_max = 0;
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
