//! Health checks, features and small services.

use leveret::node;
use serde_json::json;

use super::Client;
use super::check::{NONE, check};
use crate::support::{Peer, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_broker_passes_all_checks() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let (port, named) = (
        server.address.port(),
        format!("/api/healthchecks/node/{}", node::name()),
    );
    let listener = format!("/api/health/checks/port-listener/{port}");
    let ok = r#""status":"ok""#;
    check(
        &mut guest,
        &[
            ("GET", "/api/health/checks/alarms", NONE, 200, ok),
            ("GET", "/api/health/checks/local-alarms", NONE, 200, ok),
            (
                "GET",
                "/api/health/checks/metadata-store/initialized",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/metadata-store/initialized/with-data",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/certificate-expiration/1/weeks",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/certificate-expiration/x/weeks",
                NONE,
                400,
                "Invalid expiration value.",
            ),
            (
                "GET",
                "/api/health/checks/certificate-expiration/1/decades",
                NONE,
                400,
                "Time unit not recognised.",
            ),
            ("GET", &listener, NONE, 200, ok),
            (
                "GET",
                "/api/health/checks/port-listener/abc",
                NONE,
                400,
                "Invalid port",
            ),
            (
                "GET",
                "/api/health/checks/port-listener/99999",
                NONE,
                503,
                r#""missing":99999"#,
            ),
            (
                "GET",
                "/api/health/checks/protocol-listener/amqp,HTTP",
                NONE,
                200,
                r#""protocols":["amqp","http"]"#,
            ),
            (
                "GET",
                "/api/health/checks/protocol-listener/amqp091",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/protocol-listener/amqp,mqtt",
                NONE,
                503,
                r#""missing":["mqtt"]"#,
            ),
            ("GET", "/api/health/checks/virtual-hosts", NONE, 200, ok),
            (
                "GET",
                "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/%5Eq",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/quorum-queues-without-elected-leaders/vhost/%2F",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/quorum-queues-without-elected-leaders/vhost/%2F/pattern/%5Eq",
                NONE,
                200,
                ok,
            ),
            (
                "GET",
                "/api/health/checks/node-is-quorum-critical",
                NONE,
                200,
                "single node cluster",
            ),
            ("GET", "/api/aliveness-test/%2F", NONE, 200, ok),
            (
                "GET",
                "/api/aliveness-test/missing",
                NONE,
                404,
                "Object Not Found",
            ),
            ("GET", "/api/healthchecks/node", NONE, 200, ok),
            ("GET", &named, NONE, 200, ok),
            ("GET", "/api/healthchecks/node/other@node", NONE, 404, ""),
            ("GET", "/api/health/checks/nothing", NONE, 404, ""),
        ],
    )
    .await;
    let mut anonymous = Client::anonymous(&server);
    for check in [
        "is-in-service",
        "below-node-connection-limit",
        "ready-to-serve-clients",
        "reached-target-cluster-size",
    ] {
        let reply = anonymous.json(&format!("/api/health/checks/{check}")).await;
        assert_eq!(reply, json!({"status": "ok"}), "{check}");
    }
    assert_eq!(anonymous.get("/api/health/checks/alarms").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_and_a_full_node_fail_their_checks() {
    let server = TestServer::start_with(|settings| settings.connections.authenticated = 1).await;
    let mut guest = Client::guest(&server);
    server.alarms.set_disk(true);
    let node = node::name();
    let failed = |reason: &str| json!({"status": "failed", "reason": reason, "alarms": [{"resource": "disk", "node": node}]});
    let reply = guest.get("/api/health/checks/alarms").await;
    assert_eq!(
        (reply.status, reply.json()),
        (503, failed("There are alarms in effect in the cluster"))
    );
    let reply = guest.get("/api/health/checks/local-alarms").await;
    assert_eq!(
        (reply.status, reply.json()),
        (503, failed("There are alarms in effect on the node"))
    );
    server.alarms.set_disk(false);
    guest.json("/api/health/checks/alarms").await;
    let _peer = Peer::new(&server).await;
    for check in ["below-node-connection-limit", "ready-to-serve-clients"] {
        let reply = guest.get(&format!("/api/health/checks/{check}")).await;
        let full = json!({"status": "failed", "reason": "node connection limit is reached", "limit": 1, "connections": 1});
        assert_eq!((reply.status, reply.json()), (503, full), "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_are_listed_honestly() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    check(
        &mut guest,
        &[
            (
                "GET",
                "/api/feature-flags",
                NONE,
                200,
                r#""name":"quorum_queue""#,
            ),
            (
                "PUT",
                "/api/feature-flags/quorum_queue/enable",
                json!({"name": "quorum_queue"}),
                204,
                "",
            ),
            (
                "PUT",
                "/api/feature-flags/khepri_db/enable",
                json!({}),
                400,
                "unsupported",
            ),
            (
                "GET",
                "/api/feature-flags/quorum_queue/enable",
                NONE,
                405,
                "",
            ),
            (
                "GET",
                "/api/deprecated-features",
                NONE,
                200,
                r#""name":"classic_queue_mirroring","state":"denied""#,
            ),
            ("GET", "/api/deprecated-features/used", NONE, 200, "[]"),
        ],
    )
    .await;
    let mut peer = Peer::new(&server).await;
    peer.declare(1, "transient").await;
    let used = guest
        .json("/api/deprecated-features/used?columns=name")
        .await;
    assert_eq!(used, json!([{"name": "transient_nonexcl_queues"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn small_services_are_for_administrators() {
    let server = TestServer::start().await;
    let mut guest = Client::guest(&server);
    let reset = format!("/api/reset/{}", node::name());
    check(
        &mut guest,
        &[
            ("GET", "/api/config/effective", NONE, 200, "amqp-listen"),
            ("POST", "/api/rebalance/queues", NONE, 204, ""),
            ("GET", "/api/rebalance/queues", NONE, 405, ""),
            ("DELETE", "/api/reset", NONE, 204, ""),
            ("DELETE", &reset, NONE, 204, ""),
            ("DELETE", "/api/reset/other@node", NONE, 404, ""),
        ],
    )
    .await;
    let hash = guest.json("/api/auth/hash_password/test12%2F").await;
    let user = json!({"password_hash": hash["ok"], "tags": "monitoring"});
    check(&mut guest, &[("PUT", "/api/users/u", user, 201, "")]).await;
    let mut user = Client::of(&server, "u", "test12/");
    for (method, path) in [
        ("GET", "/api/config/effective"),
        ("POST", "/api/rebalance/queues"),
        ("DELETE", "/api/reset"),
        ("GET", "/api/auth/hash_password/x"),
        ("PUT", "/api/feature-flags/quorum_queue/enable"),
    ] {
        check(
            &mut user,
            &[(method, path, NONE, 401, "Not administrator user")],
        )
        .await;
    }
}
