//! Certificates for tests: an authority, and what it issues, as files in a temporary directory.

use std::path::PathBuf;
use std::sync::Arc;

use leveret::net::{ClientCertificates, TlsSettings, TlsVersion};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An authority, and a certificate of the broker that it has issued.
pub(crate) struct Certificates {
    dir: TempDir,
    pub(crate) authority: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    /// The certificate, followed by intermediate ones.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Certificates {
    pub(crate) fn new() -> Certificates {
        let authority = authority("Test Authority", BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap());
        let certificates = Certificates {
            dir: TempDir::new().unwrap(),
            authority: authority.unwrap(),
        };
        std::fs::write(certificates.path("ca.pem"), certificates.authority.pem()).unwrap();
        certificates.renew("Broker 1");
        certificates
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a new certificate of the broker with its key.
    pub(crate) fn renew(&self, common_name: &str) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = name(common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
    }

    pub(crate) fn settings(&self) -> TlsSettings {
        TlsSettings {
            certificate: self.path("cert.pem"),
            key: self.path("key.pem"),
            authorities: Some(self.path("ca.pem")),
            clients: ClientCertificates::Ignored,
            depth: 1,
            versions: vec![TlsVersion::V1_2, TlsVersion::V1_3],
        }
    }

    /// A certificate for a client, with changes to its parameters.
    pub(crate) fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = client(change).signed_by(&key, &self.authority).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: key.into(),
        }
    }

    /// A client that trusts the authority, and shows its certificate when it is asked for one.
    pub(crate) fn connector(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<Identity>,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some(Identity { chain, key }) => config.with_client_auth_cert(chain, key).unwrap(),
            None => config.with_no_client_auth(),
        };
        Arc::new(config).into()
    }
}

/// Parameters of a client's certificate.
pub(crate) fn client(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params
}

/// Parameters of an authority.
pub(crate) fn authority(common_name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common_name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn name(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(rcgen::DnType::CommonName, common_name);
    name
}

/// Connects and shakes hands.
pub(crate) async fn connect(
    connector: &TlsConnector,
    address: std::net::SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    tls_over(connector, TcpStream::connect(address).await?).await
}

/// Shakes hands over an open socket.
pub(crate) async fn tls_over(
    connector: &TlsConnector,
    socket: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, socket).await
}

/// An address whose connections go on to a TLS listener, so that peers that speak plain TCP reach it.
pub(crate) async fn tunnel(
    connector: TlsConnector,
    to: std::net::SocketAddr,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let connector = connector.clone();
            tokio::spawn(async move {
                if let Ok(mut secure) = connect(&connector, to).await {
                    drop(tokio::io::copy_bidirectional(&mut plain, &mut secure).await);
                }
            });
        }
    });
    address
}
