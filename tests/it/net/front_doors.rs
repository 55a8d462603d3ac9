//! A whole broker with TLS: every front door, what operators see of it, and certificates that change.

use std::net::SocketAddr;

use leveret::cli;
use leveret::server::{RunningServer, Server, StartError};
use leveret::views::Protocol;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use x509_parser::parse_x509_certificate;

use super::certificates::{Certificates, connect, tunnel};
use crate::support::{Client, PATIENCE, Peer};

const LISTENERS: &str = "--amqp-listen 127.0.0.1:0 --cmq-listen none --management-listen none --prometheus-listen none \
     --amqps-listen 127.0.0.1:0 --cmq-tls-listen 127.0.0.1:0 --management-tls-listen 127.0.0.1:0 \
     --prometheus-tls-listen 127.0.0.1:0";

/// A running broker and its certificates.
pub(crate) struct Node {
    pub(crate) server: RunningServer,
    pub(crate) certificates: Certificates,
    _dir: tempfile::TempDir,
}

async fn start(options: &str) -> Result<(RunningServer, tempfile::TempDir), StartError> {
    let dir = tempfile::tempdir().unwrap();
    let words = format!("leveret --data-dir {} {options}", dir.path().display());
    match cli::parse(words.split_whitespace().map(Into::into), |_| None).unwrap() {
        cli::Command::Serve(serve) => Ok((Server::start(serve.config).await?, dir)),
        other => panic!("{other:?}"),
    }
}

impl Node {
    /// Starts a broker with TLS on all front doors, and further options.
    pub(crate) async fn start(options: &str) -> Node {
        let certificates = Certificates::new();
        let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| certificates.path(name));
        let options = format!(
            "{LISTENERS} --tls-cert {} --tls-key {} --tls-ca {} {options}",
            cert.display(),
            key.display(),
            ca.display()
        );
        let (server, _dir) = start(&options).await.unwrap();
        Node {
            server,
            certificates,
            _dir,
        }
    }

    pub(crate) fn address(&self, protocol: Protocol) -> SocketAddr {
        self.server.tls_addrs(protocol)[0]
    }

    /// The answer to an HTTP request through TLS.
    pub(crate) async fn get(&self, protocol: Protocol, path: &str) -> String {
        let connector = self.certificates.connector(&[&TLS13], None);
        let mut stream = connect(&connector, self.address(protocol)).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        // `read_to_end` fails unless the broker says goodbye.
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("an answer")
            .expect("a clean end");
        String::from_utf8(answer).unwrap()
    }

    /// The common name of the certificate that a new connection gets.
    async fn certificate_name(&self) -> String {
        let connector = self.certificates.connector(&[&TLS12], None);
        let stream = connect(&connector, self.address(Protocol::Amqp))
            .await
            .unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        let (_, certificate) = parse_x509_certificate(&chain[0]).unwrap();
        let name = certificate
            .subject()
            .iter_common_name()
            .next()
            .unwrap()
            .as_str()
            .unwrap();
        name.to_owned()
    }

    async fn until_certificate(&self, name: &str) {
        let changed = async {
            while self.certificate_name().await != name {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, changed)
            .await
            .expect("the new certificate in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_front_door_speaks_tls() {
    let node = Node::start("").await;
    for version in [&TLS12, &TLS13] {
        let connector = node.certificates.connector(&[version], None);
        let address = tunnel(connector, node.address(Protocol::Amqp)).await;
        let mut peer = Peer::connect(address, Client::default()).await;
        peer.open(1).await;
    }
    let overview = node.get(Protocol::Management, "/api/overview").await;
    for name in ["amqp", "amqp/ssl", "cmq/ssl", "https", "https/prometheus"] {
        assert!(
            overview.contains(&format!("\"protocol\":\"{name}\"")),
            "{name}: {overview}"
        );
    }
    assert!(
        node.get(Protocol::Prometheus, "/metrics")
            .await
            .contains("rabbitmq_identity_info")
    );
    assert!(
        node.get(Protocol::Cmq, "/?Action=ListQueue")
            .await
            .contains("\"code\":")
    );
    let health = |path| format!("/api/health/checks/{path}");
    assert!(
        node.get(Protocol::Management, &health("protocol-listener/amqps"))
            .await
            .contains("\"ok\"")
    );
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_get_a_new_certificate_and_old_ones_live_on() {
    let node = Node::start("").await;
    let connector = node.certificates.connector(&[&TLS13], None);
    let address = tunnel(connector, node.address(Protocol::Amqp)).await;
    let mut peer = Peer::connect(address, Client::default()).await;
    assert_eq!(node.certificate_name().await, "Broker 1");
    // The files change.
    node.certificates.renew("Broker 2");
    node.until_certificate("Broker 2").await;
    // A reload reads them, and leaves the old ones where the new ones cannot be used.
    std::fs::write(node.certificates.path("cert.pem"), "no certificate").unwrap();
    node.server.reload_certificates().await;
    assert_eq!(node.certificate_name().await, "Broker 2");
    node.certificates.renew("Broker 3");
    node.server.reload_certificates().await;
    assert_eq!(node.certificate_name().await, "Broker 3");
    peer.open(1).await;
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_expire_soon_fail_the_check() {
    let node = Node::start("").await;
    let check = |within| format!("/api/health/checks/certificate-expiration/{within}");
    let found = node.get(Protocol::Management, &check("1/years")).await;
    assert!(
        found.starts_with("HTTP/1.1 200") && found.contains("\"status\":\"ok\""),
        "{found}"
    );
    // Those of the tests expire in the year 4096.
    let found = node.get(Protocol::Management, &check("3000/years")).await;
    assert!(found.starts_with("HTTP/1.1 503"), "{found}");
    for part in [
        "\"reason\":\"Certificates expiring\"",
        "\"protocol\":\"amqp/ssl\"",
        "\"certfile_expires_on\":[\"4096-01-01 00:00:00\"]",
    ] {
        assert!(found.contains(part), "{part}: {found}");
    }
    node.server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_names_the_option_that_is_missing() {
    let plain = "--amqp-listen 127.0.0.1:0 --cmq-listen none --management-listen none --prometheus-listen none";
    for (options, expected) in [
        ("--amqps-listen 127.0.0.1:0", "set tls-cert and tls-key"),
        ("--tls-cert /x", "tls-cert needs tls-key"),
        ("--tls-key /x", "tls-key needs tls-cert"),
        (
            "--tls-cert /x --tls-key /x --tls-verify peer",
            "tls-verify peer needs tls-ca",
        ),
        (
            "--tls-cert /x --tls-key /x --tls-fail-if-no-peer-cert true",
            "needs tls-verify peer",
        ),
        (
            "--tls-cert /nowhere/c --tls-key /x",
            "cannot read /nowhere/c",
        ),
    ] {
        let error = start(&format!("{plain} {options}"))
            .await
            .err()
            .expect(options);
        assert!(error.to_string().contains(expected), "{options}: {error}");
        assert_eq!(error.exit_code(), 78);
    }
}
