//! The other broker of a shovel: its certificate, and its alarms.

use leveret::views::{Protocol, ShovelState};
use serde_json::json;

use super::dynamic::{publish, set, state, status, to};
use crate::net::certificates::Certificates;
use crate::net::front_doors::Node;
use crate::support::{TestServer, eventually, eventually_eq};

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_the_destination_is_checked_unless_the_uri_says_otherwise() {
    let destination = Node::start("").await;
    let port = destination.address(Protocol::Amqp).port();
    let right = destination.certificates.path("ca.pem");
    let stranger = Certificates::new();
    let wrong = stranger.path("ca.pem");
    let server = TestServer::start().await;
    let uri = |query: String| format!("amqps://guest:guest@localhost:{port}/%2f?{query}");
    let named = "server_name_indication=other.example";
    for (query, reason) in [
        (format!("cacertfile={}", right.display()), None),
        (
            format!("cacertfile={}", wrong.display()),
            Some("invalid peer certificate"),
        ),
        (
            format!("cacertfile={}&{named}", right.display()),
            Some("other.example"),
        ),
        (format!("verify=verify_none&{named}"), None),
    ] {
        publish(&server, 0..5).await;
        set(&server, "s", to(&uri(query), json!({}))).await;
        match reason {
            None => {
                eventually("all are confirmed", || server.numbers("from") == (0, 0, 1)).await;
                eventually_eq("it runs", "running", || state(&server, "s")).await;
            }
            Some(part) => {
                let tells = || match status(&server, "s").map(|status| status.state) {
                    Some(ShovelState::Terminated { reason }) => reason.contains(part),
                    Some(ShovelState::Starting | ShovelState::Running(_)) | None => false,
                };
                eventually(part, tells).await;
                assert_eq!(server.ready("from") % 5, 0);
            }
        }
    }
}

#[tokio::test]
async fn a_destination_with_an_alarm_holds_the_shovel_back_and_it_says_so() {
    let server = TestServer::start().await;
    let destination = TestServer::start().await;
    let uri = format!("amqp://{}", destination.address);
    let value = to(&uri, json!({"src-prefetch-count": 10}));
    set(&server, "s", value).await;
    publish(&server, 0..5).await;
    eventually("five are moved", || destination.ready("to") == 5).await;
    destination.alarms.set_memory(true);
    publish(&server, 5..100).await;
    eventually_eq("it waits", "blocked", || state(&server, "s")).await;
    assert!(server.ready("from") >= 85, "{}", server.ready("from"));
    destination.alarms.set_memory(false);
    eventually("all are moved", || destination.ready("to") == 100).await;
    eventually_eq("it runs", "running", || state(&server, "s")).await;
    eventually("all are acked", || server.numbers("from") == (0, 0, 1)).await;
}
