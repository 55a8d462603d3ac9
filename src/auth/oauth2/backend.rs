//! Logins with tokens: the keys that are known now, and when they are read again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tracing::{info, warn};

use super::key_source::{KeyReader, KeySource, SourceError, read_document, read_file};
use super::keys::{KeySet, parse_pem};
use super::settings::ResourceServer;
use super::token::{Token, TokenError};
use crate::auth::login::{Credentials, Login, Refused};
use crate::clock::monotonic;
use crate::seldom::Seldom;

/// The configuration of the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2Settings {
    pub server: ResourceServer,
    pub keys: KeySource,
    /// Public keys in PEM files, by id.
    pub signing_keys: Vec<(String, PathBuf)>,
    /// Authorities, in a PEM file, that the key set's server may be certified by besides the system's.
    pub ca: Option<PathBuf>,
    /// Minimum time between two readings of the keys. A token with an unknown key asks for one.
    pub keys_interval: Duration,
}

/// Checks tokens.
pub struct OAuth2 {
    server: ResourceServer,
    /// Those of the configuration. The source's keys with the same ids replace them.
    configured_keys: KeySet,
    keys: RwLock<Arc<KeySet>>,
    reader: KeyReader,
    keys_interval: Duration,
    /// When the keys were last asked for. Held while they are, so that others wait for the same answer.
    last_reading: tokio::sync::Mutex<Option<Instant>>,
}

/// Why the backend cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OAuth2Error {
    #[error("no resource server id is configured for OAuth 2")]
    NoResourceServer,
    #[error("OAuth 2 signing keys: {0}")]
    Source(#[from] SourceError),
    #[error("OAuth 2 certificate authorities: {0}")]
    Authorities(reqwest::Error),
}

/// Says why a token is refused, since the refusal of a later backend in the chain hides it. Not of passwords, which are no
/// tokens and meant for another backend.
fn log_refusal(error: &TokenError) {
    static REFUSED: Seldom = Seldom::new(5, Duration::from_secs(10));
    if *error != TokenError::Malformed
        && let Some(unsaid) = REFUSED.passes(monotonic())
    {
        warn!(%unsaid, "an OAuth 2 token is refused: {error}");
    }
}

impl OAuth2 {
    /// Reads the keys that are in files. A server with keys is asked when the first token comes.
    pub fn new(settings: OAuth2Settings) -> Result<OAuth2, OAuth2Error> {
        if settings.server.id.is_empty() {
            return Err(OAuth2Error::NoResourceServer);
        }
        let mut configured_keys = KeySet::new();
        for (id, path) in settings.signing_keys {
            let key = parse_pem(&read_document(&path)?).map_err(|error| SourceError::Keys {
                place: path.display().to_string(),
                error,
            })?;
            configured_keys.insert(Some(id), key);
        }
        let mut keys = configured_keys.clone();
        if let KeySource::File(path) = &settings.keys {
            keys.extend(read_file(path)?);
        }
        let ca = settings.ca.as_deref().map(read_document).transpose()?;
        let reader = KeyReader::new(settings.keys, ca.as_deref());
        Ok(OAuth2 {
            server: settings.server,
            configured_keys,
            keys: RwLock::new(Arc::new(keys)),
            reader: reader.map_err(OAuth2Error::Authorities)?,
            keys_interval: settings.keys_interval,
            last_reading: tokio::sync::Mutex::new(None),
        })
    }

    /// Checks the token that is the password of a login, at `now` in seconds since 1970. The name of the login does not
    /// count.
    pub async fn log_in(self: &Arc<Self>, login: Login<'_>, now: u64) -> Result<Token, Refused> {
        let checked = match login.credentials {
            Credentials::Password(token) => self.check(token, now).await,
            Credentials::Certificate => Err(TokenError::Malformed),
        };
        checked.map_err(|error| {
            log_refusal(&error);
            let why = format!("Authentication using an OAuth 2/JWT token failed: {error}");
            Refused::Denied(why.into())
        })
    }

    /// Checks a token at `now` in seconds since 1970. Reads the keys again if its key is unknown.
    pub(super) async fn check(
        self: &Arc<Self>,
        token: &[u8],
        now: u64,
    ) -> Result<Token, TokenError> {
        let keys = self.keys();
        match Token::check(token, &keys, &self.server, now) {
            Err(TokenError::KeyNotFound(_)) => {
                // A task of its own: a client that hangs up does not stop what others wait for.
                let this = Arc::clone(self);
                let reading = tokio::spawn(async move { this.read_keys(&keys).await });
                if reading.await.is_err() {
                    warn!("reading the keys that sign OAuth 2 tokens ended early");
                }
                Token::check(token, &self.keys(), &self.server, now)
            }
            checked => checked,
        }
    }

    /// Checks a token that replaces `current` on its connection. It must be the same user's.
    pub async fn refresh(
        self: &Arc<Self>,
        current: &Token,
        token: &[u8],
        now: u64,
    ) -> Result<Token, TokenError> {
        let token = self.check(token, now).await?;
        match token.user == current.user {
            true => Ok(token),
            false => Err(TokenError::OtherUser),
        }
    }

    fn keys(&self) -> Arc<KeySet> {
        Arc::clone(&self.keys.read())
    }

    /// Reads the keys, unless they are no longer `known`, or were read a short time ago.
    async fn read_keys(&self, known: &Arc<KeySet>) {
        let mut last_reading = self.last_reading.lock().await;
        let is_soon = last_reading.is_some_and(|last| last.elapsed() < self.keys_interval);
        if is_soon || !Arc::ptr_eq(known, &self.keys()) {
            return;
        }
        *last_reading = Some(monotonic());
        match self.reader.read().await {
            Ok(read) => {
                info!(keys = read.len(), "read the keys that sign OAuth 2 tokens");
                let mut keys = self.configured_keys.clone();
                keys.extend(read);
                *self.keys.write() = Arc::new(keys);
            }
            Err(SourceError::None) => {}
            Err(error) => warn!("cannot read the keys that sign OAuth 2 tokens: {error}"),
        }
    }
}
