//! Users, permissions, topic permissions and limits over the API.

use leveret::wire::AMQPClass;
use leveret::wire::protocol::queue;
use serde_json::json;

use super::Client;
use super::check::{NONE, check};
use crate::support::{Peer, TestServer, declare};

#[tokio::test(flavor = "multi_thread")]
async fn users_are_set_with_passwords_hashes_and_tags() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let hash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"; // of "test12"
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/users/u",
                json!({"password": "p", "tags": "monitoring, x"}),
                201,
                "",
            ),
            (
                "PUT",
                "/api/users/u",
                json!({"password": "q", "tags": ["management"]}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/users/imported",
                json!({"password_hash": hash, "tags": "administrator"}),
                201,
                "",
            ),
            (
                "PUT",
                "/api/users/a%2Fb%20%C3%A4",
                json!({"tags": ""}),
                201,
                "",
            ),
            (
                "PUT",
                "/api/users/old",
                json!({"password": "p", "administrator": "true"}),
                201,
                "",
            ),
            (
                "PUT",
                "/api/users/old",
                json!({"password": "p", "administrator": false}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"password": "x"}),
                400,
                "tags_not_present",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"password": "x", "password_hash": "y", "tags": ""}),
                400,
                "both_password_and_password_hash_are_provided",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"password_hash": "!!", "tags": ""}),
                400,
                "hash",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"password_hash": hash, "hashing_algorithm": "nonsense", "tags": ""}),
                400,
                "unknown hashing algorithm 'nonsense'",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"password": 5, "tags": ""}),
                400,
                "expected a string",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"password": "x", "tags": 5}),
                400,
                "tags",
            ),
            (
                "PUT",
                "/api/users/w",
                json!({"administrator": "yes"}),
                400,
                "not_boolean",
            ),
            ("PUT", "/api/users/w", json!([]), 400, "not_json"),
            (
                "PUT",
                &format!("/api/users/{}", "n".repeat(256)),
                json!({"tags": ""}),
                400,
                "255 bytes",
            ),
            (
                "PUT",
                &format!("/api/users/{}", "n".repeat(255)),
                json!({"tags": ""}),
                201,
                "",
            ),
            (
                "DELETE",
                &format!("/api/users/{}", "n".repeat(255)),
                NONE,
                204,
                "",
            ),
            ("GET", "/api/users/w", NONE, 404, "Object Not Found"),
            ("DELETE", "/api/users/w", NONE, 404, "Object Not Found"),
            ("GET", "/api/users/bulk-delete", NONE, 405, ""),
        ],
    )
    .await;
    let imported = json!({
        "name": "imported", "password_hash": hash, "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"], "limits": {},
    });
    assert_eq!(guest.json("/api/users/imported").await, imported);
    let none = guest.json("/api/users/a%2Fb%20%C3%A4").await;
    assert_eq!(
        (&none["name"], &none["password_hash"]),
        (&json!("a/b ä"), &json!(""))
    );
    let users = guest.json("/api/users?columns=name&sort=name").await;
    assert_eq!(
        users,
        json!([{"name": "a/b ä"}, {"name": "guest"}, {"name": "imported"}, {"name": "old"}, {"name": "u"}])
    );
    let page = guest.json("/api/users?page=1&page_size=2").await;
    assert_eq!(
        (page["item_count"].as_u64(), page["total_count"].as_u64()),
        (Some(2), Some(5))
    );

    assert_eq!(
        Client::of(&server, "u", "p")
            .get("/api/whoami")
            .await
            .status,
        401
    );
    let me = Client::of(&server, "u", "q").json("/api/whoami").await;
    assert_eq!(me["tags"], json!(["management"]));
    let me = Client::of(&server, "imported", "test12")
        .json("/api/whoami")
        .await;
    assert_eq!(me["name"], "imported");
    // Without a password the user cannot log in any more.
    check(
        &mut guest,
        &[(
            "PUT",
            "/api/users/u",
            json!({"tags": "management"}),
            204,
            "",
        )],
    )
    .await;
    assert_eq!(
        Client::of(&server, "u", "q")
            .get("/api/whoami")
            .await
            .status,
        401
    );

    // What a user's GET says can be PUT elsewhere.
    check(
        &mut guest,
        &[(
            "PUT",
            "/api/users/u",
            json!({"password": "r", "tags": "management"}),
            204,
            "",
        )],
    )
    .await;
    let mut copied = guest.json("/api/users/u").await;
    copied["name"] = json!("copy");
    check(&mut guest, &[("PUT", "/api/users/copy", copied, 201, "")]).await;
    Client::of(&server, "copy", "r").json("/api/whoami").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_deleted_one_by_one_or_together() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    for user in ["a", "b", "c"] {
        let path = format!("/api/users/{user}");
        let body = json!({"password": user, "tags": "administrator"});
        assert_eq!(guest.put(&path, &body).await.status, 201);
    }
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/permissions/%2F/a",
                json!({"configure": "", "write": "", "read": ""}),
                201,
                "",
            ),
            (
                "POST",
                "/api/users/bulk-delete",
                json!({}),
                400,
                "[{key_missing,users}]",
            ),
            (
                "POST",
                "/api/users/bulk-delete",
                json!({"users": "a"}),
                400,
                "expected a sequence",
            ),
            (
                "POST",
                "/api/users/bulk-delete",
                json!({"users": [5]}),
                400,
                "expected a string",
            ),
            (
                "POST",
                "/api/users/bulk-delete",
                json!({"users": ["b", "missing"]}),
                204,
                "",
            ),
            ("GET", "/api/users/b", NONE, 404, ""),
        ],
    )
    .await;
    let without = guest
        .json("/api/users/without-permissions?columns=name")
        .await;
    assert_eq!(without, json!([{"name": "c"}]));
    // A second administrator deletes the user that the first changes.
    let mut second = Client::of(&server, "c", "c");
    check(&mut second, &[("DELETE", "/api/users/a", NONE, 204, "")]).await;
    check(
        &mut guest,
        &[
            ("DELETE", "/api/users/a", NONE, 404, ""),
            ("GET", "/api/permissions/%2F/a", NONE, 404, ""),
            (
                "PUT",
                "/api/permissions/%2F/a",
                json!({"configure": "", "write": "", "read": ""}),
                400,
                "vhost_or_user_not_found",
            ),
            (
                "PUT",
                "/api/user-limits/a/max-channels",
                json!({"value": 1}),
                400,
                "no_such_user",
            ),
            ("GET", "/api/users/a/permissions", NONE, 404, ""),
            ("DELETE", "/api/users/c", NONE, 204, ""),
        ],
    )
    .await;
    assert_eq!(second.get("/api/whoami").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_set_listed_and_taken_away() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let all = |pattern: &str| json!({"configure": pattern, "write": pattern, "read": pattern});
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/users/u",
                json!({"password": "p", "tags": ""}),
                201,
                "",
            ),
            ("PUT", "/api/permissions/%2F/u", all(".*"), 201, ""),
            ("PUT", "/api/permissions/%2F/u", all("^a"), 204, ""),
            (
                "PUT",
                "/api/permissions/%2F/u",
                json!({"configure": ".*"}),
                400,
                "[{key_missing,write},{key_missing,read}]",
            ),
            (
                "PUT",
                "/api/permissions/%2F/u",
                all("["),
                400,
                "invalid_regexp: '['",
            ),
            (
                "PUT",
                "/api/permissions/%2F/u",
                json!({"configure": 5, "write": "", "read": ""}),
                400,
                "expected a string",
            ),
            (
                "PUT",
                "/api/permissions/missing/u",
                all(".*"),
                400,
                "vhost_or_user_not_found",
            ),
            (
                "PUT",
                "/api/permissions/%2F/missing",
                all(".*"),
                400,
                "vhost_or_user_not_found",
            ),
            ("GET", "/api/permissions/missing/u", NONE, 404, ""),
            (
                "GET",
                "/api/vhosts/missing/permissions",
                NONE,
                404,
                "Object Not Found",
            ),
        ],
    )
    .await;
    let permission =
        json!({"user": "u", "vhost": "/", "configure": "^a", "write": "^a", "read": "^a"});
    assert_eq!(guest.json("/api/permissions/%2F/u").await, permission);
    assert_eq!(
        guest.json("/api/users/u/permissions").await,
        json!([permission])
    );
    assert_eq!(
        guest
            .json("/api/permissions")
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        guest.json("/api/vhosts/%2F/permissions").await[1],
        permission
    );
    check(
        &mut guest,
        &[
            ("DELETE", "/api/permissions/%2F/u", NONE, 204, ""),
            (
                "DELETE",
                "/api/permissions/%2F/u",
                NONE,
                404,
                "Object Not Found",
            ),
        ],
    )
    .await;
    assert_eq!(guest.json("/api/users/u/permissions").await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_permissions_are_set_listed_and_lifted() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let topic =
        |exchange: &str, write: &str| json!({"exchange": exchange, "write": write, "read": ".*"});
    let path = "/api/topic-permissions/%2F/u";
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/users/u",
                json!({"password": "p", "tags": ""}),
                201,
                "",
            ),
            ("GET", path, NONE, 404, ""),
            ("PUT", path, topic("amq.topic", "^a"), 201, ""),
            ("PUT", path, topic("", "^b"), 204, ""),
            (
                "PUT",
                path,
                json!({"write": "", "read": ""}),
                400,
                "[{key_missing,exchange}]",
            ),
            ("PUT", path, topic("amq.topic", "["), 400, "invalid_regexp"),
            ("PUT", path, topic("missing", ""), 400, "no_such_exchange"),
            (
                "PUT",
                "/api/topic-permissions/missing/u",
                topic("", ""),
                400,
                "vhost_or_user_not_found",
            ),
            (
                "DELETE",
                "/api/topic-permissions/%2F/missing",
                NONE,
                404,
                "",
            ),
        ],
    )
    .await;
    let on_topic =
        json!({"user": "u", "vhost": "/", "exchange": "amq.topic", "write": "^a", "read": ".*"});
    let all = guest.json("/api/topic-permissions").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(guest.json("/api/users/u/topic-permissions").await, all);
    assert_eq!(guest.json("/api/vhosts/%2F/topic-permissions").await, all);
    assert_eq!(
        guest.json(&format!("{path}/amq.topic")).await,
        json!([on_topic])
    );
    check(
        &mut guest,
        &[
            (
                "DELETE",
                "/api/topic-permissions/%2F/u/amq.default",
                NONE,
                204,
                "",
            ),
            (
                "DELETE",
                "/api/topic-permissions/%2F/u/missing",
                NONE,
                204,
                "",
            ),
        ],
    )
    .await;
    assert_eq!(guest.json(path).await, json!([on_topic]));
    check(
        &mut guest,
        &[
            ("DELETE", path, NONE, 204, ""),
            ("DELETE", path, NONE, 404, ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_users_and_virtual_hosts_are_set_and_lifted() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/user-limits/guest/max-connections",
                json!({"value": 5}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/user-limits/guest/max-channels",
                json!({"value": -1}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/user-limits/guest/other",
                json!({"value": 5}),
                400,
                r#"Unrecognised terms [{<<\"other\">>,5}] in user-limits"#,
            ),
            (
                "PUT",
                "/api/user-limits/guest/max-channels",
                json!({"value": "5"}),
                400,
                r#"max-channels should be a number, actually was <<\"5\">>"#,
            ),
            (
                "PUT",
                "/api/user-limits/guest/max-channels",
                json!({}),
                400,
                "[{key_missing,value}]",
            ),
            ("GET", "/api/user-limits/missing", NONE, 404, ""),
            (
                "DELETE",
                "/api/user-limits/missing/max-channels",
                NONE,
                404,
                "",
            ),
            (
                "PUT",
                "/api/vhost-limits/%2F/max-queues",
                json!({"value": 1}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/vhost-limits/%2F/max-connections",
                json!({"value": 9}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/vhost-limits/%2F/other",
                json!({"value": 1}),
                400,
                "Validation failed",
            ),
            (
                "PUT",
                "/api/vhost-limits/missing/max-queues",
                json!({"value": 1}),
                404,
                "vhost_not_found",
            ),
            (
                "DELETE",
                "/api/vhost-limits/missing/max-queues",
                NONE,
                404,
                "vhost_not_found",
            ),
            ("GET", "/api/vhost-limits/missing", NONE, 404, ""),
            (
                "DELETE",
                "/api/vhost-limits/%2F/max-connections",
                NONE,
                204,
                "",
            ),
            ("DELETE", "/api/vhost-limits/%2F/other", NONE, 204, ""),
        ],
    )
    .await;
    let limits = json!([{"user": "guest", "value": {"max-connections": 5, "max-channels": -1}}]);
    assert_eq!(guest.json("/api/user-limits").await, limits);
    assert_eq!(guest.json("/api/user-limits/guest").await, limits);
    assert_eq!(
        guest.json("/api/users/guest").await["limits"],
        limits[0]["value"]
    );
    let limits = json!([{"vhost": "/", "value": {"max-queues": 1}}]);
    assert_eq!(guest.json("/api/vhost-limits").await, limits);
    assert_eq!(guest.json("/api/vhost-limits/%2F").await, limits);
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "first").await;
    peer.send(
        1,
        AMQPClass::Queue(queue::AMQPMethod::Declare(declare("second"))),
    )
    .await;
    let (_, text) = peer.closed().await;
    assert!(
        text.contains("queue limit in vhost '/' (1) is reached"),
        "{text}"
    );
    check(
        &mut guest,
        &[
            ("DELETE", "/api/vhost-limits/%2F/max-queues", NONE, 204, ""),
            (
                "DELETE",
                "/api/user-limits/guest/max-connections",
                NONE,
                204,
                "",
            ),
            (
                "DELETE",
                "/api/user-limits/guest/max-channels",
                NONE,
                204,
                "",
            ),
        ],
    )
    .await;
    assert_eq!(guest.json("/api/vhost-limits").await, json!([]));
    assert_eq!(guest.json("/api/user-limits").await, json!([]));
}
