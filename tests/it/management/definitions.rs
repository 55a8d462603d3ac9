//! Definitions and parameters over the API.

use serde_json::{Value, json};

use super::Client;
use super::check::{NONE, check};
use crate::support::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn parameters_of_virtual_hosts_are_set_listed_and_cleared() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let limits = "/api/parameters/vhost-limits/%2F/limits";
    let policy = "/api/parameters/operator_policy/%2F/p";
    let operator = json!({"value": {"pattern": "^a", "definition": {"max-length": 1}, "priority": 1, "apply-to": "queues"}});
    check(
        &mut guest,
        &[
            ("PUT", limits, json!({"value": {"max-queues": 4}}), 201, ""),
            ("PUT", limits, json!({"value": {"max-queues": 5}}), 204, ""),
            ("PUT", limits, json!({}), 400, "[{key_missing,value}]"),
            ("PUT", limits, json!({"value": {"x": 5}}), 400, "Unrecognised terms"),
            ("PUT", policy, operator.clone(), 201, ""),
            ("PUT", policy, operator, 204, ""),
            ("GET", limits, NONE, 200, r#"{"value":{"max-queues":5},"vhost":"/","component":"vhost-limits","name":"limits"}"#),
            ("GET", "/api/parameters", NONE, 200, "operator_policy"),
            ("GET", "/api/parameters/vhost-limits", NONE, 200, r#""max-queues":5"#),
            ("GET", "/api/parameters/none", NONE, 200, "[]"),
            ("GET", "/api/parameters/operator_policy/%2F", NONE, 200, r#""max-length":1"#),
            ("GET", "/api/parameters/operator_policy/nov", NONE, 404, ""),
            ("PUT", "/api/parameters/nonsense/%2F/p", json!({"value": {}}), 400, "component nonsense not found"),
            ("PUT", "/api/parameters/policy/%2F/p", json!({"value": {}}), 400, "policies may not be set using this method"),
            ("DELETE", "/api/parameters/nonsense/%2F/p", NONE, 404, ""),
            ("DELETE", policy, NONE, 204, ""),
            ("DELETE", policy, NONE, 404, ""),
            ("DELETE", limits, NONE, 204, ""),
            ("GET", "/api/parameters", NONE, 200, "[]"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn global_parameters_have_any_value() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let path = "/api/global-parameters/a%2Fb";
    check(
        &mut guest,
        &[
            (
                "PUT",
                path,
                json!({"name": "a/b", "value": {"x": [1]}}),
                201,
                "",
            ),
            ("PUT", path, json!({"value": null}), 204, ""),
            ("GET", path, NONE, 200, r#"{"value":null,"name":"a/b"}"#),
            ("PUT", path, json!({}), 400, "[{key_missing,value}]"),
            ("GET", "/api/global-parameters", NONE, 200, "a/b"),
            ("DELETE", path, NONE, 204, ""),
            ("DELETE", path, NONE, 404, ""),
            ("GET", path, NONE, 404, ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_set_what_bounds_others() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    check(
        &mut guest,
        &[
            (
                "PUT",
                "/api/users/pol",
                json!({"password": "p", "tags": "policymaker"}),
                201,
                "",
            ),
            (
                "PUT",
                "/api/users/mgmt",
                json!({"password": "p", "tags": "management"}),
                201,
                "",
            ),
            (
                "PUT",
                "/api/permissions/%2F/pol",
                json!({"configure": "", "write": "", "read": ""}),
                201,
                "",
            ),
        ],
    )
    .await;
    let limits = "/api/parameters/vhost-limits/%2F/limits";
    let mut pol = Client::of(&server, "pol", "p");
    check(
        &mut pol,
        &[
            ("GET", "/api/parameters", NONE, 200, "[]"),
            (
                "PUT",
                "/api/global-parameters/x",
                json!({"value": 1}),
                201,
                "",
            ),
            (
                "PUT",
                limits,
                json!({"value": {}}),
                401,
                "Not administrator user",
            ),
            (
                "GET",
                "/api/definitions",
                NONE,
                401,
                "Not administrator user",
            ),
            (
                "POST",
                "/api/definitions",
                json!({}),
                401,
                "Not administrator user",
            ),
        ],
    )
    .await;
    let mut mgmt = Client::of(&server, "mgmt", "p");
    check(
        &mut mgmt,
        &[
            ("GET", "/api/parameters", NONE, 401, ""),
            ("GET", "/api/global-parameters", NONE, 401, ""),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_go_from_one_virtual_host_into_another() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let document = json!({
        "vhosts": [{"name": "a/b"}, {"name": "w"}],
        "policies": [{"vhost": "a/b", "name": "p", "pattern": "^q", "definition": {"max-length": 5}}],
        "queues": [{"name": "q", "vhost": "a/b"}],
        "bindings": [{"vhost": "a/b", "source": "amq.direct", "destination": "q", "destination_type": "queue", "routing_key": "k"}],
    });
    check(
        &mut guest,
        &[
            ("POST", "/api/definitions", document, 204, ""),
            (
                "POST",
                "/api/definitions",
                json!([]),
                400,
                "failed_to_parse_json",
            ),
            (
                "POST",
                "/api/definitions",
                json!({"queues": [{}]}),
                400,
                "missing field `name`",
            ),
            (
                "POST",
                "/api/definitions/nov",
                json!({}),
                404,
                "vhost_not_found",
            ),
            ("GET", "/api/definitions/nov", NONE, 400, "vhost_not_found"),
        ],
    )
    .await;
    let reply = guest
        .send("GET", "/api/definitions/a%2Fb?download=x.json", b"")
        .await;
    let disposition = reply.header("content-disposition");
    assert_eq!(disposition, Some("attachment; filename=x.json"));
    let exported = reply.json();
    assert_eq!(
        exported["rabbitmq_definition_format"],
        "single_virtual_host"
    );
    assert_eq!(exported["queues"][0]["vhost"], Value::Null);
    check(
        &mut guest,
        &[
            (
                "POST",
                "/api/definitions",
                exported.clone(),
                400,
                "the export of a single virtual host",
            ),
            ("POST", "/api/definitions/w", exported.clone(), 204, ""),
        ],
    )
    .await;
    let mut again = guest.send("GET", "/api/definitions/w", b"").await.json();
    for key in ["queues", "exchanges", "bindings", "policies", "parameters"] {
        assert_eq!(again[key].take(), exported[key], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_of_a_real_rabbitmq_is_imported_wholly() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let file = "tests/fixtures/definitions/rabbitmq-4.3.6-vhost.json";
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let document: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    check(
        &mut guest,
        &[
            ("PUT", "/api/vhosts/v", json!({}), 201, ""),
            ("POST", "/api/definitions/v", document.clone(), 204, ""),
        ],
    )
    .await;
    let exported = guest.send("GET", "/api/definitions/v", b"").await.json();
    for key in ["queues", "exchanges", "bindings", "policies", "parameters"] {
        let count = |document: &Value| document[key].as_array().unwrap().len();
        assert_eq!(count(&exported), count(&document), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_tells_what_was_not_imported() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let document =
        json!({"queues": [{"name": "amq.gen-x", "vhost": "/"}, {"name": "q", "vhost": "/"}]});
    let reply = guest
        .send("POST", "/api/definitions", document.to_string().as_bytes())
        .await;
    assert_eq!(reply.status, 200);
    let json = reply.json();
    assert_eq!(json["imported"], json!([["queues", 1]]));
    assert_eq!(json["not_imported"][0]["name"], "amq.gen-x");

    let form = |redirect: &str| {
        format!(
            "--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\r\n\
             {{\"vhosts\":[{{\"name\":\"up\"}}]}}\r\n--xx\r\nContent-Disposition: form-data; name=\"redirect\"\r\n\r\n\
             {redirect}\r\n--xx--\r\n"
        )
    };
    let mut browser =
        Client::guest(&server).with_header("content-type", "multipart/form-data; boundary=xx");
    for (redirect, expected) in [("/#/definitions", 303), ("https://example.org/", 204)] {
        let reply = browser
            .send("POST", "/api/definitions", form(redirect).as_bytes())
            .await;
        assert_eq!(reply.status, expected, "{redirect}");
    }
    assert!(server.broker.vhost("up").is_some());
}
