//! Logins by a client's certificate (SASL EXTERNAL), and what operators see of certificates.

use leveret::views::Protocol;
use leveret::wire::AMQPClass;
use leveret::wire::protocol::connection::AMQPMethod;
use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, SanType};
use rustls::version::{TLS12, TLS13};

use super::certificates::{Identity, tunnel};
use super::front_doors::Node;
use crate::support::{Client, Peer};

const OPTIONS: &str = "--tls-verify peer --auth-mechanisms PLAIN --auth-mechanisms EXTERNAL";

/// A certificate with a name of several parts.
fn identity(node: &Node) -> Identity {
    node.certificates.issue(|params: &mut CertificateParams| {
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        name.push(DnType::OrganizationName, "A, Inc.");
        name.push(DnType::CommonName, "client");
        let text = |text: &str| Ia5String::try_from(text).unwrap();
        params.subject_alt_names = vec![
            SanType::DnsName(text("first.example")),
            SanType::Rfc822Name(text("client@example.com")),
            SanType::DnsName(text("second.example")),
            SanType::IpAddress([192, 0, 2, 7].into()),
            SanType::URI(text("spiffe://example/client")),
        ];
    })
}

/// Adds a user without a password that anyone knows, who may use the default virtual host.
async fn add_user(node: &Node, name: &str) {
    let broker = node.server.broker().unwrap();
    let users = broker.users();
    users.add(name, b"unknown", Vec::new()).await.unwrap();
    users.set_permissions(name, "/", [".*"; 3]).await.unwrap();
}

/// Logs in by EXTERNAL; returns the offered mechanisms, and the user of the open connection, if the login succeeded.
async fn log_in(node: &Node, identity: Option<Identity>) -> (String, Option<String>) {
    let connector = node.certificates.connector(&[&TLS13], identity);
    let address = tunnel(connector, node.address(Protocol::Amqp)).await;
    let (offered, mut peer) = Peer::log_in_by(address, Client::default(), "EXTERNAL", b"").await;
    match peer.method().await.1 {
        AMQPClass::Connection(AMQPMethod::Tune(_)) => {}
        AMQPClass::Connection(AMQPMethod::Close(close)) => {
            assert_eq!(close.reply_code, 403);
            assert!(
                close.reply_text.as_str().contains("mechanism EXTERNAL"),
                "{close:?}"
            );
            return (offered, None);
        }
        other => panic!("{other:?}"),
    }
    peer.open_vhost("/").await;
    let open = node.server.broker().unwrap().connections().list();
    let user = open
        .iter()
        .map(|connection| connection.info.user.to_string())
        .next();
    (offered, user)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_names_its_user() {
    for (options, user) in [
        ("", "CN=client,O=A\\, Inc."),
        ("--tls-login-from common_name", "client"),
        ("--tls-login-from subject_alternative_name", "first.example"),
        (
            "--tls-login-from subject_alternative_name --tls-login-san-index 1",
            "second.example",
        ),
        (
            "--tls-login-from subject_alternative_name --tls-login-san-type email",
            "client@example.com",
        ),
        (
            "--tls-login-from subject_alternative_name --tls-login-san-type ip",
            "192.0.2.7",
        ),
        (
            "--tls-login-from subject_alternative_name --tls-login-san-type uri",
            "spiffe://example/client",
        ),
    ] {
        let node = Node::start(&format!("{OPTIONS} {options}")).await;
        // The user must exist.
        assert_eq!(
            log_in(&node, Some(identity(&node))).await.1,
            None,
            "{options}"
        );
        add_user(&node, user).await;
        let (offered, logged_in) = log_in(&node, Some(identity(&node))).await;
        assert_eq!(
            (offered.as_str(), logged_in.as_deref()),
            ("PLAIN EXTERNAL", Some(user)),
            "{options}"
        );
        node.server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_a_name_are_refused() {
    let options = "--tls-login-from subject_alternative_name --tls-login-san-index 2";
    let node = Node::start(&format!("{OPTIONS} {options}")).await;
    add_user(&node, "client").await;
    let (offered, user) = log_in(&node, None).await;
    assert_eq!((offered.as_str(), user), ("PLAIN EXTERNAL", None));
    // There is no third name.
    assert_eq!(log_in(&node, Some(identity(&node))).await.1, None);
    // Plain TCP brings no certificates, and only the configured mechanisms are accepted.
    for mechanism in ["EXTERNAL", "AMQPLAIN"] {
        let address = node.server.amqp_addr();
        let (offered, mut peer) = Peer::log_in_by(address, Client::default(), mechanism, b"").await;
        assert_eq!(offered, "PLAIN");
        // As in RabbitMQ, without a word.
        peer.ended().await.unwrap_or_default();
    }
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_certificate() {
    let node = Node::start(&format!("{OPTIONS} --tls-login-from common_name")).await;
    for (version, protocol, key_exchange) in [
        (&TLS12, "tlsv1.2", "ecdhe_ecdsa"),
        (&TLS13, "tlsv1.3", "any"),
    ] {
        let connector = node
            .certificates
            .connector(&[version], Some(identity(&node)));
        let address = tunnel(connector, node.address(Protocol::Amqp)).await;
        let peer = Peer::connect(address, Client::default()).await;
        let connections = node.get(Protocol::Management, "/api/connections").await;
        for part in [
            "\"ssl\":true".to_owned(),
            format!("\"ssl_protocol\":\"{protocol}\""),
            format!("\"ssl_key_exchange\":\"{key_exchange}\""),
            "\"ssl_cipher\":\"aes_256_gcm\"".to_owned(),
            "\"ssl_hash\":\"aead\"".to_owned(),
            r#""peer_cert_subject":"CN=client,O=A\\, Inc.""#.to_owned(),
            "\"peer_cert_issuer\":\"CN=Test Authority\"".to_owned(),
            "\"peer_cert_validity\":\"1975-01-01T00:00:00Z - 4096-01-01T00:00:00Z\"".to_owned(),
        ] {
            assert!(connections.contains(&part), "{part}: {connections}");
        }
        drop(peer);
        let broker = node.server.broker().unwrap();
        crate::support::eventually("the connection has gone", || {
            broker.connections().is_empty()
        })
        .await;
    }
    node.server.shutdown().await;
}
