//! Where signing keys come from: a file, an address, or the discovery document of an issuer. Every read is bounded in time
//! and size.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};
use serde_json::Value;

use super::keys::{KeyError, KeySet, parse_jwks};

/// Most bytes of a key set or discovery document.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Time to fetch one document.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const REDIRECTS_MAX: usize = 3;

/// The place of the key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Only the configured keys.
    None,
    File(PathBuf),
    Jwks(Url),
    /// A discovery document, whose `jwks_uri` is the place.
    Discovery(Url),
}

/// Why the keys could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no source of signing keys is configured")]
    None,
    #[error("cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("cannot fetch {url}: {}", causes(error))]
    Fetch { url: Url, error: reqwest::Error },
    #[error("{0} has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge(String),
    #[error("{0} has no 'jwks_uri' that is an https address")]
    NoJwksUri(Url),
    #[error("{place}: {error}")]
    Keys { place: String, error: KeyError },
    #[error("the thread that read it ended early")]
    Lost,
}

/// Reads key sets.
pub(super) struct KeyReader {
    source: KeySource,
    client: Client,
}

impl KeyReader {
    /// A reader that trusts the system's authorities, and those of `ca` in PEM format.
    pub(super) fn new(source: KeySource, ca: Option<&[u8]>) -> Result<KeyReader, reqwest::Error> {
        let mut client = Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(Policy::custom(|attempt| {
                match attempt.previous().len() < REDIRECTS_MAX && is_safe(attempt.url()) {
                    true => attempt.follow(),
                    false => attempt.stop(),
                }
            }));
        if let Some(ca) = ca {
            client = client.tls_certs_merge(Certificate::from_pem_bundle(ca)?);
        }
        let client = client.build()?;
        Ok(KeyReader { source, client })
    }

    pub(super) async fn read(&self) -> Result<KeySet, SourceError> {
        match &self.source {
            KeySource::None => Err(SourceError::None),
            KeySource::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path));
                read.await.map_err(|_| SourceError::Lost)?
            }
            KeySource::Jwks(url) => self.fetch_keys(url).await,
            KeySource::Discovery(url) => {
                let document = self.fetch(url).await?;
                let document: Option<Value> = serde_json::from_slice(&document).ok();
                let jwks_uri = document.as_ref().and_then(|document| {
                    let uri = document.get("jwks_uri")?.as_str()?;
                    Url::parse(uri).ok().filter(is_safe)
                });
                let jwks_uri = jwks_uri.ok_or_else(|| SourceError::NoJwksUri(url.clone()))?;
                self.fetch_keys(&jwks_uri).await
            }
        }
    }

    async fn fetch_keys(&self, url: &Url) -> Result<KeySet, SourceError> {
        let json = self.fetch(url).await?;
        parse_jwks(&json).map_err(|error| SourceError::Keys {
            place: url.to_string(),
            error,
        })
    }

    async fn fetch(&self, url: &Url) -> Result<Vec<u8>, SourceError> {
        let failed = |error| SourceError::Fetch {
            url: url.clone(),
            error,
        };
        let answer = self.client.get(url.clone()).send().await;
        let mut answer = answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(failed)?;
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(SourceError::TooLarge(url.to_string()));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

/// The file is read as a whole, so its size is limited.
pub(super) fn read_file(path: &Path) -> Result<KeySet, SourceError> {
    let json = read_document(path)?;
    parse_jwks(&json).map_err(|error| SourceError::Keys {
        place: path.display().to_string(),
        error,
    })
}

pub(super) fn read_document(path: &Path) -> Result<Vec<u8>, SourceError> {
    let mut document = Vec::new();
    let limit = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut document))
        .map_err(|error| SourceError::File {
            path: path.to_owned(),
            error,
        })?;
    match document.len() {
        0..=DOCUMENT_BYTES_MAX => Ok(document),
        _ => Err(SourceError::TooLarge(path.display().to_string())),
    }
}

/// Whether keys may come from an address: over TLS, or from this machine. Otherwise anyone on the way could sign tokens.
pub fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")),
        _ => false,
    }
}

/// An error of reqwest with its causes: by itself it does not say what went wrong.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for (url, expected) in [
            ("https://idp.example.com/keys", true),
            ("http://127.0.0.1:8080/keys", true),
            ("http://localhost/keys", true),
            ("http://[::1]:1/keys", true),
            ("http://idp.example.com/keys", false),
            ("http://localhost.example.com/keys", false),
            ("ftp://localhost/keys", false),
            ("file:///keys", false),
        ] {
            assert_eq!(is_safe(&url.parse().expect(url)), expected, "{url}");
        }
    }

    #[test]
    fn a_file_of_more_than_the_limit_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.json");
        for (bytes, is_read) in [(DOCUMENT_BYTES_MAX, true), (DOCUMENT_BYTES_MAX + 1, false)] {
            std::fs::write(&path, vec![b' '; bytes]).expect("a file");
            assert_eq!(read_document(&path).is_ok(), is_read, "{bytes}");
        }
    }
}
