//! Links through mutual TLS.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use super::*;
use crate::net::{ClientCertificates, Tls, TlsSettings, TlsVersion};

/// An authority, and the certificates that it has issued to nodes.
struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { dir, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// TLS of a node whose certificate is for this host.
    fn tls(&self, host: &str, clients: ClientCertificates) -> Arc<Tls> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let (file, key_file) = (self.path("cert.pem"), self.path("key.pem"));
        std::fs::write(&file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        let settings = TlsSettings {
            certificate: file,
            key: key_file,
            authorities: Some(self.path("ca.pem")),
            clients,
            depth: 1,
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
        };
        Arc::new(Tls::load(settings).unwrap())
    }

    fn trust(&self, host: &str) -> Trust {
        let tls = self.tls(host, ClientCertificates::Required);
        Trust::new(None, Some(tls)).unwrap()
    }
}

fn through(trust: Trust, id: u64) -> Node {
    let node = Node::start(Given { trust, ..given(id) });
    Node {
        host: "localhost".to_owned(),
        ..node
    }
}

#[tokio::test]
async fn certificates_of_one_authority_prove_both_sides() {
    let authority = Authority::new();
    let a = through(authority.trust("localhost"), 1);
    let b = through(authority.trust("localhost"), 2);
    let body: Bytes = (0..4 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    for lane in [Lane::Raft, Lane::Control] {
        let answer = a.call(&b, lane, ECHO, body.clone()).await;
        assert!(answer.unwrap() == body);
    }
    let mut stream = a.links.open(&b.peer(), 7, "header".into()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(&back[..7], b"\x07header");
    assert!(back[7..] == body);
}

#[tokio::test]
async fn certificates_of_another_authority_and_for_another_host_prove_nothing() {
    let (authority, other) = (Authority::new(), Authority::new());
    let a = through(authority.trust("localhost"), 1);
    let impostors = [
        other.trust("localhost"),
        authority.trust("elsewhere.example"),
        by_secret(SECRET),
    ];
    for (id, trust) in (2..).zip(impostors) {
        let b = through(trust, id);
        let failed = a.call(&b, Lane::Raft, ECHO, Bytes::new()).await;
        assert!(
            matches!(failed, Err(LinkError::Unreachable { .. })),
            "{failed:?}"
        );
        assert!(b.echo.callers.lock().is_empty());
    }
    let strangers = [other.trust("localhost"), by_secret(SECRET)];
    for (id, trust) in (5..).zip(strangers) {
        let b = through(trust, id);
        let failed = b.call(&a, Lane::Raft, ECHO, Bytes::new()).await;
        assert!(failed.is_err());
        assert!(a.echo.callers.lock().is_empty());
    }
}

#[tokio::test]
async fn a_secret_and_certificates_are_needed_together_where_both_are_set() {
    let authority = Authority::new();
    let both = |secret: &[u8]| {
        let tls = authority.tls("localhost", ClientCertificates::Required);
        Trust::new(Some(Secret::new(secret).unwrap()), Some(tls)).unwrap()
    };
    let a = through(both(SECRET), 1);
    let b = through(both(b"another secret of a node"), 2);
    let c = through(both(SECRET), 3);
    let failed = a.call(&b, Lane::Raft, ECHO, Bytes::new()).await;
    assert!(
        matches!(failed, Err(LinkError::Refused { .. })),
        "{failed:?}"
    );
    let answer = a.call(&c, Lane::Raft, ECHO, Bytes::new()).await;
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn tls_of_one_side_is_not_enough() {
    let authority = Authority::new();
    let tls = authority.tls("localhost", ClientCertificates::Checked);
    let one_sided = Trust::new(Some(Secret::new(SECRET).unwrap()), Some(tls));
    assert_eq!(one_sided.unwrap_err(), super::super::NoTrust::OneSided);
}
