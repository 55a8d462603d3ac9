//! Users whose permissions are in a token.

use std::time::Duration;

use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, connection, queue};
use serde_json::json;
use tokio::time::Instant;

use super::identity_provider::{ALL, Behaviour, IdentityProvider, seconds_from_now};
use crate::management::client;
use crate::support::reply_code::{ACCESS_REFUSED, CONNECTION_FORCED, NOT_ALLOWED};
use crate::support::{Client, Peer, TestServer, declare};

const LOGIN_REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

/// A broker that trusts the provider and then its own users.
async fn start(provider: &IdentityProvider) -> TestServer {
    start_with_interval(provider, "1").await
}

/// Such a broker, which asks for keys once in so many milliseconds.
async fn start_with_interval(provider: &IdentityProvider, interval: &str) -> TestServer {
    TestServer::start_with_logins(&[
        ("auth-backends", "oauth2"),
        ("auth-backends", "internal"),
        ("oauth2-resource-server-id", "rabbitmq"),
        ("oauth2-issuer", provider.issuer.as_str()),
        ("oauth2-jwks-interval", interval),
    ])
    .await
}

/// The close that answers a login, or `None` if it succeeds. The peer has sent `start-ok` then.
async fn refusal(server: &TestServer, token: &str) -> Option<(u16, String)> {
    let mut peer = Peer::log_in(server.address, Client::default(), "", token).await;
    match peer.method().await {
        (0, AMQPClass::Connection(connection::AMQPMethod::Tune(_))) => None,
        (0, AMQPClass::Connection(connection::AMQPMethod::Close(close))) => {
            Some((close.reply_code, close.reply_text.to_string()))
        }
        other => panic!("{other:?}"),
    }
}

async fn is_accepted(server: &TestServer, token: &str) -> bool {
    let refusal = refusal(server, token).await;
    match refusal {
        None => true,
        Some(close) => {
            assert_eq!(close, (ACCESS_REFUSED, LOGIN_REFUSED.to_owned()));
            false
        }
    }
}

/// A connection with channel 1.
async fn open(server: &TestServer, token: &str) -> Peer {
    let mut peer = log_in(server, token).await;
    let opened = peer.open_vhost("/").await;
    let is_open = matches!(
        opened,
        AMQPClass::Connection(connection::AMQPMethod::OpenOk(_))
    );
    assert!(is_open, "{opened:?}");
    peer.open(1).await;
    peer
}

async fn log_in(server: &TestServer, token: &str) -> Peer {
    let mut peer = Peer::log_in(server.address, Client::default(), "any name", token).await;
    let tune = peer.method().await;
    let is_tune = matches!(
        tune,
        (0, AMQPClass::Connection(connection::AMQPMethod::Tune(_)))
    );
    assert!(is_tune, "{tune:?}");
    peer
}

async fn update_secret(peer: &mut Peer, secret: &str) {
    let update = connection::UpdateSecret {
        new_secret: secret.into(),
        reason: "refresh".into(),
    };
    let update = connection::AMQPMethod::UpdateSecret(update);
    peer.send(0, AMQPClass::Connection(update)).await;
}

async fn expect_updated(peer: &mut Peer) {
    let answer = peer.method().await;
    let is_ok = matches!(
        answer,
        (
            0,
            AMQPClass::Connection(connection::AMQPMethod::UpdateSecretOk(_))
        )
    );
    assert!(is_ok, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_the_password_and_names_the_user() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let mut peer = open(&server, &provider.token(ALL)).await;
    peer.declare(1, "q").await;
    peer.publish(1, "q", b"m").await;
    peer.expect_nothing(1).await;
    assert_eq!(server.numbers("q").0, 1);
    let connections = server.broker.connections().list();
    let users: Vec<&str> = connections.iter().map(|open| &*open.info.user).collect();
    assert_eq!(users, ["app"]);
    // The next backend knows the broker's own users.
    Peer::new(&server).await;
    let expired = provider.token_with(ALL, |claims| claims["exp"] = json!(seconds_from_now(-1)));
    let other = provider.token_with(ALL, |claims| claims["aud"] = json!("other"));
    for token in [expired.as_str(), &other, "no.token.at-all", "guests"] {
        assert!(!is_accepted(&server, token).await, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_token_fits_into_the_first_frame() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let long = |length: usize| {
        provider.token_with(ALL, |claims| claims["more"] = json!("x".repeat(length)))
    };
    let token = long(20_000);
    assert!(token.len() > 26_000);
    assert!(is_accepted(&server, &token).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_are_permissions_and_refusals_are_rabbitmqs() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    for (scope, vhost) in [
        ("", "/"),
        ("rabbitmq.read:other/*", "/"),
        ("other.read:*/*", "/"),
    ] {
        let mut peer = log_in(&server, &provider.token(scope)).await;
        let opened = peer.open_vhost(vhost).await;
        let AMQPClass::Connection(connection::AMQPMethod::Close(close)) = opened else {
            panic!("{opened:?}");
        };
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'app'";
        assert_eq!(
            (close.reply_code, close.reply_text.as_str()),
            (NOT_ALLOWED, text)
        );
    }
    let scope =
        "rabbitmq.read:%2F/* rabbitmq.configure:*/mine-* rabbitmq.write:*/* rabbitmq.write:*/*/a.*";
    let mut peer = open(&server, &provider.token(scope)).await;
    peer.declare(1, "mine-q").await;
    peer.consume(1, "mine-q", "tag").await;
    peer.publish_to(1, "amq.topic", "a.b", &[], "m").await;
    peer.expect_nothing(1).await;
    peer.publish_to(1, "amq.topic", "b.a", &[], "m").await;
    let text = "ACCESS_REFUSED - write access to topic 'b.a' in exchange 'amq.topic' in vhost '/' refused for user 'app'";
    assert_eq!(peer.closed().await, (ACCESS_REFUSED, text.to_owned()));
    peer.open(2).await;
    let declare = queue::AMQPMethod::Declare(declare("other-q"));
    peer.send(2, AMQPClass::Queue(declare)).await;
    let text =
        "ACCESS_REFUSED - configure access to queue 'other-q' in vhost '/' refused for user 'app'";
    assert_eq!(peer.closed().await, (ACCESS_REFUSED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_of_the_provider_is_fetched_once_it_is_used() {
    let mut provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let old = provider.token(ALL);
    for _ in 0..3 {
        assert!(is_accepted(&server, &old).await);
    }
    assert_eq!(provider.requests(), 1);
    provider.rotate("second");
    assert!(is_accepted(&server, &provider.token(ALL)).await);
    assert_eq!(provider.requests(), 2);
    assert!(!is_accepted(&server, &old).await, "the old key is gone");
    // What the provider sends instead of keys changes nothing.
    let kept = provider.token(ALL);
    for behaviour in [
        Behaviour::Text("<html>".to_owned()),
        Behaviour::Text("x".repeat(2 * 1024 * 1024)),
        Behaviour::Keys(json!({"keys": []})),
    ] {
        provider.behave(behaviour);
        assert!(!is_accepted(&server, &old).await);
        assert!(is_accepted(&server, &kept).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_over_tls_from_a_server_that_the_broker_trusts() {
    let provider = IdentityProvider::start().await;
    let (address, ca) = provider.serve_tls().await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca).unwrap();
    let options = |ca| {
        [
            ("auth-backends", "oauth2"),
            ("oauth2-resource-server-id", "rabbitmq"),
            ("oauth2-jwks", address.as_str()),
            ("oauth2-ca", ca),
        ]
    };
    let trusting = TestServer::start_with_logins(&options(ca_file.to_str().unwrap())).await;
    assert!(is_accepted(&trusting, &provider.token(ALL)).await);
    let other = TestServer::start_with_logins(&options("none")).await;
    assert!(!is_accepted(&other, &provider.token(ALL)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_key_ids_cause_no_flood_of_requests_to_the_provider() {
    let mut provider = IdentityProvider::start().await;
    let server = start_with_interval(&provider, "3600000").await;
    let good = provider.token(ALL);
    assert!(is_accepted(&server, &good).await);
    let asked = provider.requests();
    for id in ["a", "b", "c"] {
        provider.rotate(id);
        let unknown = provider.token(ALL);
        assert!(!is_accepted(&server, &unknown).await);
    }
    assert_eq!(provider.requests(), asked);
    assert!(is_accepted(&server, &good).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_says_nothing_holds_up_only_logins_that_need_it() {
    let mut provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let known = provider.token(ALL);
    assert!(is_accepted(&server, &known).await);
    provider.rotate("second");
    provider.behave(Behaviour::Silence);
    let unknown = provider.token(ALL);
    let asked = provider.requests();
    let waiting = async {
        let begun = Instant::now();
        assert!(!is_accepted(&server, &unknown).await);
        begun.elapsed()
    };
    let others = async {
        while provider.requests() == asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(is_accepted(&server, &known).await);
        Instant::now()
    };
    let begun = Instant::now();
    let (waited, done) = tokio::join!(waiting, others);
    assert!(done < begun + waited, "others log in meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closes_when_its_token_expires() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let token = provider.token_with(ALL, |claims| claims["exp"] = json!(seconds_from_now(2)));
    let mut peer = open(&server, &token).await;
    let text = "CONNECTION_FORCED - credential expired";
    assert_eq!(peer.closed().await, (CONNECTION_FORCED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_prolongs_the_connection() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let expiry = seconds_from_now(2);
    let token = provider.token_with(ALL, |claims| claims["exp"] = json!(expiry));
    let mut peer = open(&server, &token).await;
    update_secret(&mut peer, &provider.token(ALL)).await;
    expect_updated(&mut peer).await;
    while seconds_from_now(0) <= expiry {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    peer.declare(1, "q").await;
    // A shorter one closes it sooner.
    let token = provider.token_with(ALL, |claims| claims["exp"] = json!(seconds_from_now(2)));
    update_secret(&mut peer, &token).await;
    expect_updated(&mut peer).await;
    let text = "CONNECTION_FORCED - credential expired";
    assert_eq!(peer.closed().await, (CONNECTION_FORCED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_with_fewer_rights_takes_effect_for_consumers_and_cached_routes() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let mut peer = open(&server, &provider.token(ALL)).await;
    peer.declare(1, "q").await;
    peer.consume(1, "q", "tag").await;
    peer.publish_to(1, "amq.fanout", "key", &[], "m").await;
    peer.expect_nothing(1).await;
    update_secret(&mut peer, &provider.token("rabbitmq.configure:*/*")).await;
    let cancelled = peer.method().await;
    let is_cancel = matches!(
        &cancelled,
        (1, AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel))) if cancel.consumer_tag.as_str() == "tag"
    );
    assert!(is_cancel, "{cancelled:?}");
    expect_updated(&mut peer).await;
    peer.publish_to(1, "amq.fanout", "key", &[], "m").await;
    let text = "ACCESS_REFUSED - write access to exchange 'amq.fanout' in vhost '/' refused for user 'app'";
    assert_eq!(peer.closed().await, (ACCESS_REFUSED, text.to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_new_token_closes_the_connection() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let expiry = seconds_from_now(-1);
    let other_user = provider.token_with(ALL, |claims| claims["sub"] = json!("other"));
    let expired = provider.token_with(ALL, |claims| claims["exp"] = json!(expiry));
    let no_audience = provider.token_with(ALL, |claims| claims["aud"] = json!(null));
    let mut forged = provider.token(ALL);
    forged.truncate(forged.len() - 8);
    forged.push_str("AAAAAAAA");
    let refused = "NOT_ALLOWED - New secret was refused by one of the backends";
    let no_vhost = "NOT_ALLOWED - access to vhost '/' refused for user 'app'";
    let of_expired = format!(
        "{no_vhost}, backend rabbit_auth_backend_oauth2 returned an error: \"Provided JWT token has expired at timestamp {expiry} (validated at "
    );
    for (token, expected) in [
        (other_user.as_str(), refused),
        (&forged, refused),
        (&no_audience, "NOT_ALLOWED - Secret update failed"),
        ("nonsense", "NOT_ALLOWED - Secret update failed"),
        (&provider.token("rabbitmq.read:other/*"), no_vhost),
        (&expired, &of_expired),
    ] {
        let mut peer = open(&server, &provider.token(ALL)).await;
        update_secret(&mut peer, token).await;
        let (code, text) = peer.closed().await;
        assert_eq!(code, NOT_ALLOWED);
        assert!(text.starts_with(expected), "{text} instead of {expected}");
        assert!(token == expired || text == expected, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_management_api_takes_tokens() {
    let provider = IdentityProvider::start().await;
    let server = start(&provider).await;
    let bearer = |token: &str| {
        client::Client::anonymous(&server).with_header("authorization", &format!("Bearer {token}"))
    };
    let token = provider.token(&format!(
        "{ALL} rabbitmq.tag:administrator rabbitmq.tag:own"
    ));
    let mut basic = client::Client::of(&server, "any name", &token);
    for client in [&mut bearer(&token), &mut basic] {
        let whoami = client.json("/api/whoami").await;
        assert_eq!(whoami["name"], "app");
        assert_eq!(whoami["tags"], json!(["administrator", "own"]));
        assert_eq!(whoami["is_internal_user"], false);
        let put = client.put("/api/queues/%2F/q", &json!({})).await;
        assert!(matches!(put.status, 201 | 204), "{}", put.text());
    }
    let reply = bearer(&provider.token(ALL)).get("/api/whoami").await;
    assert_eq!(reply.refused(401, "not_authorised"), "Not management user");
    let scope = "rabbitmq.tag:management rabbitmq.read:other/*";
    assert_eq!(
        bearer(&provider.token(scope)).json("/api/vhosts").await,
        json!([])
    );
    let expired = provider.token_with(ALL, |claims| claims["exp"] = json!(seconds_from_now(-1)));
    for token in [expired.as_str(), "nonsense", ""] {
        assert_eq!(
            bearer(token).get("/api/whoami").await.status,
            401,
            "{token}"
        );
    }
}
