//! What holds for every path: logins and tags, methods, malformed requests, lists, files of the page, floods.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Client;
use crate::support::{PATIENCE, TestServer};

/// Adds a user with a tag, and with all permissions in the default virtual host if it `enters`.
async fn add_user(server: &TestServer, name: &str, tags: &[&str], enters: bool) {
    let users = server.broker.users();
    let tags = tags.iter().map(|tag| (*tag).into()).collect();
    users.add(name, b"pw", tags).await.unwrap();
    if enters {
        users
            .set_permissions(name, "/", [".*", ".*", ".*"])
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_users_of_the_api_log_in() {
    let server = TestServer::start().await;
    add_user(&server, "none", &[], true).await;
    add_user(&server, "other", &["impersonator"], true).await;
    for tag in ["administrator", "monitoring", "policymaker", "management"] {
        add_user(&server, tag, &[tag], true).await;
        let reply = Client::of(&server, tag, "pw").json("/api/whoami").await;
        assert_eq!(
            reply,
            json!({"name": tag, "tags": [tag], "is_internal_user": true})
        );
    }
    for user in ["none", "other"] {
        let reply = Client::of(&server, user, "pw").get("/api/whoami").await;
        assert_eq!(reply.refused(401, "not_authorised"), "Not management user");
    }
    for (user, password) in [("guest", "wrong"), ("nobody", "pw"), ("guest", "")] {
        let reply = Client::of(&server, user, password).get("/api/whoami").await;
        assert_eq!(reply.refused(401, "not_authorized"), "Not_Authorized");
        // A page with a login form of its own needs no dialogue of the browser.
        assert_eq!(reply.header("www-authenticate"), None);
    }
    let reply = Client::anonymous(&server).get("/api/whoami").await;
    assert_eq!(reply.refused(401, "not_authorized"), "Login failed");
    assert!(
        reply
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
    for malformed in ["Bearer abc", "Basic", "Basic ???", "Basic Z3Vlc3Q="] {
        let mut client = Client::anonymous(&server).with_header("authorization", malformed);
        assert_eq!(client.get("/api/whoami").await.status, 401, "{malformed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_or_tag_holds_for_the_next_request() {
    let server = TestServer::start().await;
    add_user(&server, "u", &["management"], true).await;
    let mut client = Client::of(&server, "u", "pw");
    client.json("/api/whoami").await;
    let users = server.broker.users();
    users.set_tags("u", vec![]).await.unwrap();
    assert_eq!(client.get("/api/whoami").await.status, 401);
    users
        .set_tags("u", vec!["monitoring".into()])
        .await
        .unwrap();
    client.json("/api/whoami").await;
    users.change_password("u", b"new").await.unwrap();
    assert_eq!(client.get("/api/whoami").await.status, 401);
    Client::of(&server, "u", "new").json("/api/whoami").await;
    users.delete("u").await.unwrap();
    assert_eq!(client.get("/api/whoami").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn users_see_the_virtual_hosts_that_they_may_open() {
    let server = TestServer::start().await;
    server
        .broker
        .add_vhost("other/ä", Default::default())
        .await
        .unwrap();
    add_user(&server, "u", &["management"], true).await;
    let mut guest = Client::guest(&server);
    let mut user = Client::of(&server, "u", "pw");
    let all = guest.json("/api/exchanges").await;
    let mine = user.json("/api/exchanges").await;
    assert_eq!(
        all.as_array().unwrap().len(),
        2 * mine.as_array().unwrap().len()
    );
    let other = "/api/exchanges/other%2F%C3%A4";
    assert_eq!(guest.json(other).await[0]["vhost"], "other/ä");
    assert_eq!(user.get(other).await.refused(404, "not_found"), "Not Found");
    let reply = user.get("/api/exchanges/missing").await;
    assert_eq!(reply.refused(404, "Object Not Found"), "Not Found");
    // A header chooses a virtual host where the path names none.
    let mut chosen = Client::guest(&server).with_header("x-vhost", "/");
    assert_eq!(chosen.json("/api/exchanges").await, mine);
    let mut all_again = Client::guest(&server).with_header("x-vhost", "");
    assert_eq!(all_again.json("/api/exchanges").await, all);
    let mut missing = Client::guest(&server).with_header("x-vhost", "missing");
    assert_eq!(missing.get("/api/exchanges").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_refused_as_json() {
    let server = TestServer::start().await;
    let mut client = Client::anonymous(&server);
    for path in ["/api", "/api/", "/api/nothing", "/api/exchanges/a/b/c/d"] {
        let reply = client.get(path).await;
        assert_eq!(
            reply.refused(404, "Object Not Found"),
            "Not Found",
            "{path}"
        );
    }
    let reply = client.send("POST", "/api/whoami", b"").await;
    reply.refused(405, "method_not_allowed");
    assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS"));
    let reply = client.send("OPTIONS", "/api/whoami", b"").await;
    assert_eq!(
        (reply.status, reply.header("allow")),
        (200, Some("GET, HEAD, OPTIONS"))
    );
    let reply = client.send("POST", "/index.html", b"").await;
    reply.refused(405, "method_not_allowed");
    // A name that is no UTF-8.
    let reply = Client::guest(&server).get("/api/exchanges/%ff").await;
    reply.refused(400, "bad_request");
    for header in ["cache-control", "x-content-type-options", "referrer-policy"] {
        assert!(reply.header(header).is_some(), "{header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_sorted_filtered_paged_and_cut_to_columns() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let names = |json: &serde_json::Value| {
        let rows = json.as_array().unwrap().iter();
        rows.map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = names(&client.json("/api/exchanges/%2F").await);
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!(all, sorted);
    sorted.reverse();
    let reversed = client
        .json("/api/exchanges?sort=name&sort_reverse=true")
        .await;
    assert_eq!(names(&reversed), sorted);
    let types = client.json("/api/exchanges?sort=type&columns=type").await;
    assert_eq!(types[0], json!({"type": "direct"}));
    let page = client
        .json("/api/exchanges?page=1&page_size=2&name=%5EAMQ.*c&use_regex=true&columns=name&pagination=true")
        .await;
    assert_eq!(
        page,
        json!({
            "total_count": all.len(), "item_count": 2, "filtered_count": 4, "page": 1, "page_size": 2,
            "page_count": 2, "items": [{"name": "amq.direct"}, {"name": "amq.match"}],
        })
    );
    let reply = client.get("/api/exchanges?page=9").await;
    assert_eq!(
        reply.refused(400, "page_out_of_range"),
        format!(
            "Page out of range, page: 9 page size: 100, len: {}",
            all.len()
        )
    );
    let reply = client.get("/api/exchanges?page=one").await;
    reply.refused(400, "bad_request");
    let one = client
        .json("/api/exchanges/%2F/amq.default?columns=name,durable")
        .await;
    assert_eq!(one, json!({"name": "", "durable": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_and_the_document_need_no_login() {
    let server = TestServer::start().await;
    let mut client = Client::anonymous(&server);
    let document = client.json("/api/openapi.json").await;
    assert!(document["paths"]["/api/exchanges/{vhost}"]["get"].is_object());
    let page = client.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"));
    let etag = page.header("etag").unwrap();
    let mut again = Client::anonymous(&server).with_header("if-none-match", etag);
    let reply = again.get("/index.html").await;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    for missing in [
        "/missing.js",
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/page/index.html",
    ] {
        client.get(missing).await.refused(404, "Object Not Found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_call_only_if_configured() {
    let server = TestServer::start().await;
    let allowed = "access-control-allow-origin";
    let mut client = Client::guest(&server).with_header("origin", "https://a.example");
    assert_eq!(client.get("/api/whoami").await.header(allowed), None);

    let server = TestServer::start_with_management(|config| {
        config.cors_origins = vec!["https://a.example".to_owned()];
    })
    .await;
    let mut client = Client::guest(&server).with_header("origin", "https://a.example");
    let reply = client.get("/api/whoami").await;
    assert_eq!(reply.header(allowed), Some("https://a.example"));
    let credentials = "access-control-allow-credentials";
    assert_eq!(reply.header(credentials), Some("true"));
    let mut preflight = Client::anonymous(&server)
        .with_header("origin", "https://a.example")
        .with_header("access-control-request-method", "PUT")
        .with_header("access-control-request-headers", "authorization");
    let reply = preflight.send("OPTIONS", "/api/queues/%2F/q", b"").await;
    assert_eq!(reply.status, 200);
    for (header, value) in [
        (allowed, "https://a.example"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-max-age", "1800"),
    ] {
        assert_eq!(reply.header(header), Some(value), "{header}");
    }
    let mut other = Client::guest(&server).with_header("origin", "https://b.example");
    assert_eq!(other.get("/api/whoami").await.header(allowed), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_requests_are_answered_together() {
    const REQUESTS: usize = 2_000;
    let server = TestServer::start_with_management(|config| {
        config.connections.authenticated = REQUESTS;
        // One address may take half of them.
        config.connections.newcomers = 2 * REQUESTS;
        config.newcomer_timeout = PATIENCE;
    })
    .await;
    let mut clients = JoinSet::new();
    for _ in 0..REQUESTS {
        let mut client = Client::guest(&server);
        clients.spawn(async move { client.get("/api/exchanges").await.status });
    }
    let statuses = timeout(PATIENCE, clients.join_all()).await.unwrap();
    assert!(statuses.iter().all(|status| *status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_makes_room_for_one_that_logs_in() {
    let server = TestServer::start_with_management(|config| {
        config.connections.authenticated = 2;
        config.connections.newcomers = 8;
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(server.management).await.unwrap();
        stream
            .write_all(b"GET /api/whoami HTTP/1.1\r\n")
            .await
            .unwrap();
        silent.push(stream);
    }
    // A newcomer is displaced when it has kept the broker waiting for a moment, and not before.
    let mut first = timeout(PATIENCE, async {
        loop {
            let mut client = Client::guest(&server);
            if let Some(reply) = client.try_get("/api/whoami").await {
                assert_eq!(reply.status, 200);
                return client;
            }
        }
    })
    .await
    .unwrap();
    let mut second = Client::guest(&server);
    second.json("/api/whoami").await;
    // The third has its answer, and no place beyond it.
    let reply = Client::guest(&server).get("/api/whoami").await;
    assert_eq!(
        (reply.status, reply.header("connection")),
        (200, Some("close"))
    );
    first.json("/api/whoami").await;
    let ended = timeout(PATIENCE, silent[0].read(&mut [0; 64]))
        .await
        .unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_are_refused_and_large_ones_take_turns() {
    let server = TestServer::start().await;
    let mut client = Client::guest(&server);
    let body = |bytes: usize| format!("{{\"x\":\"{}\"}}", "y".repeat(bytes)).into_bytes();
    let reply = client
        .send("PUT", "/api/queues/%2F/q", &body(25_000_000))
        .await;
    let reason = reply.refused(400, "bad_request");
    assert_eq!(reason, "Exceeded HTTP request body size limit");
    // A client that never ends its large body holds one place, and others go on.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.management).await.unwrap();
        let head = "PUT /api/queues/%2F/q HTTP/1.1\r\nhost: test\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
                    content-length: 1000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body(100_000)).await.unwrap();
        stalled.push(stream);
    }
    let reply = client
        .send("PUT", "/api/queues/%2F/q", &body(1_000_000))
        .await;
    assert_eq!(reply.status, 201, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_logs_in_and_logins_are_counted() {
    let server = TestServer::start().await;
    let mut client = Client::anonymous(&server);
    let reply = client
        .send("POST", "/api/login", b"username=guest&password=guest")
        .await;
    let expected = json!({
        "user": {"name": "guest", "tags": ["administrator"], "is_internal_user": true},
        "token": {"type": "basic", "value": "Z3Vlc3Q6Z3Vlc3Q="},
    });
    assert_eq!((reply.status, reply.json()), (200, expected));
    for wrong in ["username=guest&password=x", "", "{}"] {
        let reply = client.send("POST", "/api/login", wrong.as_bytes()).await;
        assert_eq!(reply.refused(401, "not_authorized"), "Not_Authorized");
    }
    let mut guest = Client::guest(&server);
    let node = guest.json("/api/nodes").await[0]["name"].clone();
    let path = format!("/api/auth/attempts/{}", node.as_str().unwrap());
    let attempts = guest.json(&path).await;
    assert_eq!(
        (
            &attempts[0]["protocol"],
            &attempts[0]["auth_attempts_failed"]
        ),
        (&json!("http"), &json!(3))
    );
    assert_eq!(guest.delete(&path).await.status, 204);
    assert_eq!(guest.json(&path).await[0]["auth_attempts_failed"], 0);
    let by_source = format!("{path}/source");
    assert_eq!(guest.json(&by_source).await, json!([]));
    server.broker.users().track_login_sources();
    let wrong = b"username=nobody&password=x";
    client.send("POST", "/api/login", wrong).await;
    let source = |user: &str, failed: u64, succeeded: u64| {
        json!({
            "remote_address": "127.0.0.1", "username": user, "protocol": "http",
            "auth_attempts": failed + succeeded, "auth_attempts_failed": failed,
            "auth_attempts_succeeded": succeeded,
        })
    };
    let sources = json!([source("guest", 0, 1), source("nobody", 1, 0)]);
    assert_eq!(guest.json(&by_source).await, sources);
    assert_eq!(guest.delete(&by_source).await.status, 204);
    assert_eq!(guest.json(&by_source).await, json!([source("guest", 0, 1)]));
}
