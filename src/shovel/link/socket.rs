//! Sockets to brokers: TCP, TLS, or the inside of this broker.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::LinkError;
use crate::model::amqp_uri::UriTls;

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}
impl<S: AsyncRead + AsyncWrite + Send> Duplex for S {}

pub type Socket = Pin<Box<dyn Duplex>>;

/// Connects to a host, with TLS if asked.
pub(super) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&UriTls>,
) -> Result<Socket, LinkError> {
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(LinkError::Connect)?;
    stream.set_nodelay(true).map_err(LinkError::Connect)?;
    let Some(tls) = tls else {
        return Ok(Box::pin(stream));
    };
    let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| LinkError::Tls(error.to_string()))?;
    // Reads the files for every connection, so that renewed certificates are used.
    let settings = tls.clone();
    let config = tokio::task::spawn_blocking(move || client_config(&settings)).await;
    let config = config.map_err(|error| LinkError::Tls(error.to_string()))??;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await;
    Ok(Box::pin(
        stream.map_err(|error| LinkError::Tls(error.to_string()))?,
    ))
}

fn client_config(tls: &UriTls) -> Result<ClientConfig, LinkError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| LinkError::Tls(error.to_string()))?;
    let builder = match tls.verify_peer {
        true => builder.with_root_certificates(roots(tls.cacertfile.as_deref())?),
        false => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
    };
    match (&tls.certfile, &tls.keyfile) {
        (Some(certfile), keyfile) => {
            let keyfile = keyfile.as_ref().unwrap_or(certfile);
            let key = PrivateKeyDer::from_pem_file(Path::new(keyfile));
            let key = key.map_err(|error| LinkError::Tls(format!("{keyfile}: {error}")))?;
            builder
                .with_client_auth_cert(certificates(certfile)?, key)
                .map_err(|error| LinkError::Tls(error.to_string()))
        }
        (None, _) => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, LinkError> {
    let failed = |error| LinkError::Tls(format!("{file}: {error}"));
    CertificateDer::pem_file_iter(Path::new(file))
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// The authorities of a file, or those that the system trusts.
fn roots(cacertfile: Option<&str>) -> Result<RootCertStore, LinkError> {
    let mut roots = RootCertStore::empty();
    match cacertfile {
        Some(file) => {
            for certificate in certificates(file)? {
                roots
                    .add(certificate)
                    .map_err(|error| LinkError::Tls(format!("{file}: {error}")))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// Accepts any certificate, as `verify=verify_none` asks. Signatures are checked, so the peer has the key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Connects a link to the broker that runs it, without a network and without a password.
pub trait LocalDoor: Send + Sync {
    /// A socket whose other end the broker serves. The handshake on it accepts any login: it acts as `user`, or as the
    /// broker itself.
    fn connect(&self, user: Option<&str>) -> io::Result<Socket>;
}
