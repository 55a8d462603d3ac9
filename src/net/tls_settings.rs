//! What an operator sets of TLS, and rustls's configuration made of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::chain_depth::LimitedDepth;

/// The files of TLS, and what clients have to prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The broker's certificate, followed by intermediate certificates.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificates of the authorities that clients' certificates may come from.
    pub authorities: Option<PathBuf>,
    pub clients: ClientCertificates,
    /// Maximum number of intermediate certificates between a client's certificate and an authority's.
    pub depth: usize,
    /// Accepted versions; at least one.
    pub versions: Vec<TlsVersion>,
}

/// rustls's configurations.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) accepting: Arc<ServerConfig>,
    /// For connections to other nodes; `None` unless each side has to show a certificate.
    pub(super) dialing: Option<Arc<ClientConfig>>,
}

/// What happens to certificates of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None is asked for.
    Ignored,
    /// One that is sent has to be valid.
    Checked,
    /// Each client has to send a valid one.
    Required,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} holds no {what}", path.display())]
    Missing { path: PathBuf, what: &'static str },
    #[error("{} is damaged: {error}", path.display())]
    Damaged { path: PathBuf, error: pem::Error },
    #[error("{} holds a certificate that is none: {error}", path.display())]
    BadAuthority { path: PathBuf, error: rustls::Error },
    #[error("clients' certificates cannot be checked without the certificates of authorities")]
    NoAuthorities,
    #[error("{error}", error = .0)]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("the certificate in {} and the key do not serve: {error}", path.display())]
    Refused { path: PathBuf, error: rustls::Error },
}

impl TlsSettings {
    /// The files that the configuration is made of.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let authorities = self.authorities.as_deref();
        [self.certificate.as_path(), self.key.as_path()]
            .into_iter()
            .chain(authorities)
    }

    /// Reads the files.
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        let certificates = certificates(&self.certificate)?;
        let key = private_key(&self.key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions: Vec<&SupportedProtocolVersion> = self
            .versions
            .iter()
            .map(|version| match version {
                TlsVersion::V1_2 => &rustls::version::TLS12,
                TlsVersion::V1_3 => &rustls::version::TLS13,
            })
            .collect();
        let refused = |error| TlsError::Refused {
            path: self.certificate.clone(),
            error,
        };
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(refused)?;
        let config = match self.verifier(Arc::clone(&provider))? {
            Some(verifier) => config.with_client_cert_verifier(verifier),
            None => config.with_no_client_auth(),
        };
        let dialing = match self.clients {
            ClientCertificates::Required => {
                let config = ClientConfig::builder_with_provider(provider)
                    .with_protocol_versions(&versions)
                    .map_err(refused)?
                    .with_root_certificates(self.roots()?)
                    .with_client_auth_cert(certificates.clone(), key.clone_key())
                    .map_err(refused)?;
                Some(Arc::new(config))
            }
            ClientCertificates::Ignored | ClientCertificates::Checked => None,
        };
        let accepting = config.with_single_cert(certificates, key);
        Ok(Loaded {
            accepting: Arc::new(accepting.map_err(refused)?),
            dialing,
        })
    }

    /// The certificates of authorities.
    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let path = self.authorities.as_ref().ok_or(TlsError::NoAuthorities)?;
        let mut roots = RootCertStore::empty();
        for authority in certificates(path)? {
            roots
                .add(authority)
                .map_err(|error| TlsError::BadAuthority {
                    path: path.clone(),
                    error,
                })?;
        }
        Ok(roots)
    }

    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
        if self.clients == ClientCertificates::Ignored {
            return Ok(None);
        }
        let roots = Arc::new(self.roots()?);
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let builder = match self.clients {
            ClientCertificates::Required => builder,
            ClientCertificates::Checked | ClientCertificates::Ignored => {
                builder.allow_unauthenticated()
            }
        };
        let verifier = builder.build()?;
        Ok(Some(Arc::new(LimitedDepth::new(
            verifier, roots, &provider, self.depth,
        ))))
    }
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| damaged(path, error))?;
    match certificates.is_empty() {
        true => Err(missing(path, "certificate")),
        false => Ok(certificates),
    }
}

/// The first key of a file, in the form PKCS#8, PKCS#1 or SEC1.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => missing(path, "private key"),
        error => damaged(path, error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

fn damaged(path: &Path, error: pem::Error) -> TlsError {
    TlsError::Damaged {
        path: path.to_owned(),
        error,
    }
}

fn missing(path: &Path, what: &'static str) -> TlsError {
    TlsError::Missing {
        path: path.to_owned(),
        what,
    }
}
