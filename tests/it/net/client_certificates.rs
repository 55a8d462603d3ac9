//! Certificates of clients: who has to show one, and which are valid.

use std::sync::Arc;

use leveret::net::{ClientCertificates, Tls, TlsSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, KeyPair};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::certificates::{Certificates, Identity, authority, client, connect};
use super::door::{Door, Limits};

/// Whether a client with this certificate may speak to the broker, by both versions of TLS.
async fn is_accepted(
    certificates: &Certificates,
    settings: &TlsSettings,
    identity: impl Fn() -> Option<Identity>,
) -> bool {
    let tls = Arc::new(Tls::load(settings.clone()).unwrap());
    let door = Door::open(
        &tls,
        Limits::default(),
        |mut transport, _, _permit| async move {
            transport.write_all(b"hello").await.unwrap();
            transport.shutdown().await.unwrap();
        },
    );
    let mut accepted = Vec::new();
    for version in [&TLS12, &TLS13] {
        let connector = certificates.connector(&[version], identity());
        let mut greeting = [0; 5];
        // With TLS 1.3 the client's handshake is over before the broker has seen the certificate.
        let greeted = match connect(&connector, door.address).await {
            Ok(mut peer) => peer.read_exact(&mut greeting).await.is_ok(),
            Err(_) => false,
        };
        accepted.push(greeted);
    }
    assert_eq!(accepted.first(), accepted.last(), "TLS 1.2 and TLS 1.3");
    accepted == [true, true]
}

#[tokio::test]
async fn clients_show_valid_certificates_where_they_have_to() {
    let certificates = Certificates::new();
    let others = Certificates::new();
    let own = || Some(certificates.issue(|_| ()));
    let foreign = || Some(others.issue(|_| ()));
    let outdated = || {
        let year = rcgen::date_time_ymd(2020, 1, 1);
        Some(certificates.issue(|params| params.not_after = year))
    };
    let none = || None;
    for (clients, expected) in [
        (ClientCertificates::Ignored, [true, true, true, true]),
        (ClientCertificates::Checked, [true, true, false, false]),
        (ClientCertificates::Required, [false, true, false, false]),
    ] {
        let settings = TlsSettings {
            clients,
            ..certificates.settings()
        };
        let found = [
            is_accepted(&certificates, &settings, none).await,
            is_accepted(&certificates, &settings, own).await,
            is_accepted(&certificates, &settings, foreign).await,
            is_accepted(&certificates, &settings, outdated).await,
        ];
        assert_eq!(found, expected, "{clients:?}");
    }
}

#[tokio::test]
async fn a_chain_may_not_be_longer_than_configured() {
    let certificates = Certificates::new();
    let intermediate = |name: &str, by: &CertifiedIssuer<'static, KeyPair>| {
        let params: CertificateParams = authority(name, BasicConstraints::Unconstrained);
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), by).unwrap()
    };
    let first = intermediate("First", &certificates.authority);
    let second = intermediate("Second", &first);
    let identity = || {
        let key = KeyPair::generate().unwrap();
        let leaf = client(|_| ()).signed_by(&key, &second).unwrap();
        // The authority's own certificate does not count, wherever the chain ends.
        let chain = [
            leaf.der(),
            second.der(),
            first.der(),
            certificates.authority.der(),
        ];
        Some(Identity {
            chain: chain.map(Clone::clone).into(),
            key: key.into(),
        })
    };
    for (depth, expected) in [(0, false), (1, false), (2, true), (3, true)] {
        let settings = TlsSettings {
            clients: ClientCertificates::Required,
            depth,
            ..certificates.settings()
        };
        assert_eq!(
            is_accepted(&certificates, &settings, identity).await,
            expected,
            "depth {depth}"
        );
    }
}
