//! Which tag may read which path.

use super::Client;
use crate::support::TestServer;

/// Paths, and whether users with the tags management, policymaker, monitoring and administrator may read them. None of
/// these users has permissions in any virtual host.
const MATRIX: [(&str, [bool; 4]); 17] = [
    ("/api/whoami", [true, true, true, true]),
    ("/api/overview", [true, true, true, true]),
    ("/api/cluster-name", [true, true, true, true]),
    ("/api/version", [true, true, true, true]),
    ("/api/extensions", [true, true, true, true]),
    ("/api/nodes", [false, false, true, true]),
    ("/api/connections", [true, true, true, true]),
    ("/api/channels", [true, true, true, true]),
    ("/api/consumers", [true, true, true, true]),
    ("/api/consumers/%2F", [false, false, true, true]),
    ("/api/exchanges", [true, true, true, true]),
    ("/api/exchanges/%2F", [false, false, true, true]),
    ("/api/queues", [true, true, true, true]),
    ("/api/queues/detailed", [true, true, true, true]),
    ("/api/queues/%2F", [false, false, true, true]),
    ("/api/bindings/%2F", [false, false, true, true]),
    ("/api/vhosts/%2F/connections", [false, false, true, true]),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_tag_reads_what_it_may() {
    let server = TestServer::start().await;
    let tags = ["management", "policymaker", "monitoring", "administrator"];
    let mut clients = Vec::new();
    for tag in tags {
        let users = server.broker.users();
        users.add(tag, b"pw", vec![tag.into()]).await.unwrap();
        clients.push(Client::of(&server, tag, "pw"));
    }
    for (path, expected) in MATRIX {
        for ((tag, client), may) in tags.iter().zip(&mut clients).zip(expected) {
            let reply = client.get(path).await;
            let refused = matches!(reply.status, 401 | 404);
            assert_eq!(
                (reply.status == 200, refused),
                (may, !may),
                "{tag} {path}: {}",
                reply.status
            );
        }
    }
    for path in ["/api/queues/%2F/q", "/api/exchanges/%2F/e"] {
        for (tag, client) in tags.iter().zip(&mut clients) {
            let reply = client.put(path, &serde_json::json!({})).await;
            assert!(matches!(reply.status, 401 | 404), "{tag} {path}");
        }
    }
}
