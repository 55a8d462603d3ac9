//! Which tag may use which path of administration.

use serde_json::{Value, json};

use super::Client;
use super::check::NONE;
use crate::support::TestServer;

/// The text of refusals that name the tag that a caller lacks.
const ADMINISTRATOR: &str = "Not administrator user";
const OBJECT: &str = "User not authorised to access object";

/// Requests of users without permissions in the virtual host: those that only administrators may make.
const ADMINISTRATORS: [(&str, &str); 40] = [
    ("GET", "/api/users"),
    ("GET", "/api/users/guest"),
    ("PUT", "/api/users/new"),
    ("DELETE", "/api/users/guest"),
    ("POST", "/api/users/bulk-delete"),
    ("GET", "/api/users/without-permissions"),
    ("GET", "/api/users/guest/permissions"),
    ("GET", "/api/users/guest/topic-permissions"),
    ("GET", "/api/permissions"),
    ("GET", "/api/permissions/%2F/guest"),
    ("PUT", "/api/permissions/%2F/guest"),
    ("DELETE", "/api/permissions/%2F/guest"),
    ("GET", "/api/topic-permissions"),
    ("GET", "/api/topic-permissions/%2F/guest"),
    ("PUT", "/api/topic-permissions/%2F/guest"),
    ("DELETE", "/api/topic-permissions/%2F/guest"),
    ("GET", "/api/topic-permissions/%2F/guest/e"),
    ("DELETE", "/api/topic-permissions/%2F/guest/e"),
    ("GET", "/api/user-limits"),
    ("GET", "/api/user-limits/guest"),
    ("PUT", "/api/user-limits/guest/max-channels"),
    ("DELETE", "/api/user-limits/guest/max-channels"),
    ("PUT", "/api/vhost-limits/%2F/max-queues"),
    ("DELETE", "/api/vhost-limits/%2F/max-queues"),
    ("GET", "/api/vhosts/%2F"),
    ("PUT", "/api/vhosts/new"),
    ("DELETE", "/api/vhosts/%2F"),
    ("POST", "/api/vhosts/%2F/deletion/protection"),
    ("DELETE", "/api/vhosts/%2F/deletion/protection"),
    ("POST", "/api/vhosts/%2F/start/n"),
    ("GET", "/api/vhosts/%2F/permissions"),
    ("GET", "/api/vhosts/%2F/topic-permissions"),
    ("PUT", "/api/operator-policies/%2F/p"),
    ("DELETE", "/api/operator-policies/%2F/p"),
    ("GET", "/api/config/effective"),
    ("GET", "/api/auth/hash_password/p"),
    ("POST", "/api/rebalance/queues"),
    ("DELETE", "/api/reset"),
    ("GET", "/api/leveret/secret-keys"),
    ("POST", "/api/leveret/secret-keys"),
];

/// Lists that every user of the API gets, with what the user may see.
const LISTS: [&str; 10] = [
    "/api/vhosts",
    "/api/vhost-limits",
    "/api/policies",
    "/api/operator-policies",
    "/api/feature-flags",
    "/api/deprecated-features",
    "/api/leveret/streams",
    "/api/leveret/cmq/topics",
    "/api/leveret/cmq/subscriptions",
    "/api/leveret/cmq/queues",
];

async fn user(server: &TestServer, tag: &str) -> Client {
    let users = server.broker.users();
    users.add(tag, b"pw", vec![tag.into()]).await.unwrap();
    Client::of(server, tag, "pw")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_administer() {
    let server = TestServer::start().await;
    for tag in ["management", "policymaker", "monitoring"] {
        let mut client = user(&server, tag).await;
        for (method, path) in ADMINISTRATORS {
            let reply = client.send(method, path, b"{}").await;
            assert_eq!(
                reply.refused(401, "not_authorised"),
                ADMINISTRATOR,
                "{tag} {method} {path}"
            );
        }
        for path in LISTS {
            let list = client.json(path).await;
            let sees = (tag == "monitoring" && path == "/api/vhosts") || path.ends_with("features");
            let is_empty = list == json!([]);
            assert_eq!(
                is_empty,
                !sees && path != "/api/feature-flags",
                "{tag} {path}: {list}"
            );
        }
    }
    // Nothing was changed.
    let mut guest = Client::guest(&server);
    guest.json("/api/permissions/%2F/guest").await;
    assert_eq!(guest.get("/api/vhosts/new").await.status, 404);
    assert_eq!(guest.get("/api/users/new").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn policymakers_set_policies_where_they_have_permissions() {
    let server = TestServer::start().await;
    let policy = json!({"pattern": "^a", "definition": {"max-length": 1}});
    let path = "/api/policies/%2F/p";
    for tag in ["management", "monitoring"] {
        let mut client = user(&server, tag).await;
        for (method, body) in [("PUT", &policy), ("DELETE", &Value::Null)] {
            let reply = client.send(method, path, body.to_string().as_bytes()).await;
            assert_eq!(
                reply.refused(401, "not_authorised"),
                OBJECT,
                "{tag} {method}"
            );
        }
    }
    let mut client = user(&server, "policymaker").await;
    assert_eq!(
        client.put(path, &policy).await.refused(404, "not_found"),
        "Not Found"
    );
    let users = server.broker.users();
    users
        .set_permissions("policymaker", "/", ["", "", ""])
        .await
        .unwrap();
    assert_eq!(client.put(path, &policy).await.status, 201);
    assert_eq!(client.json(path).await["name"], "p");
    assert_eq!(client.delete(path).await.status, 204);
}

/// Bodies that are no JSON, or of another type than they should be, are the client's fault.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_answers_with_a_defect() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let bodies = [
        "",
        "{",
        "[]",
        "null",
        "5",
        r#""x""#,
        r#"{"value": {}, "tags": {}, "users": 5, "to": [], "user": 1}"#,
    ];
    let odd = "/api/users/%00%0a%F0%9F%90%87%2F..%2F";
    assert_eq!(guest.put(odd, &json!({"tags": ""})).await.status, 201);
    let paths = ADMINISTRATORS
        .iter()
        .filter(|(method, _)| matches!(*method, "PUT" | "POST"));
    for (method, path) in paths {
        for body in bodies {
            let reply = guest.send(method, path, body.as_bytes()).await;
            assert!(
                reply.status < 500,
                "{method} {path} {body}: {}",
                reply.text()
            );
        }
    }
    assert_eq!(
        guest
            .send("DELETE", odd, NONE.to_string().as_bytes())
            .await
            .status,
        204
    );
}
