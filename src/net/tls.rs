//! TLS of the broker: the certificate and key in use, and new ones when their files change. Connections keep what
//! they began with.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::{ClientConfig, ServerConfig};
use tokio::time::{MissedTickBehavior, interval};

use super::handshake_turns::Turns;
use super::tls_settings::{Loaded, TlsError, TlsSettings};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Certificate, key and rules of all TLS listeners.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    loaded: RwLock<Loaded>,
    pub(super) turns: Turns,
}

impl Tls {
    /// Reads the files.
    pub fn load(settings: TlsSettings) -> Result<Tls, TlsError> {
        let loaded = RwLock::new(settings.load()?);
        Ok(Tls {
            settings,
            loaded,
            turns: Turns::default(),
        })
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    /// The configuration for a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.loaded.read().accepting)
    }

    /// The configuration for a new connection to another node; `None` if TLS is not mutual.
    pub(super) fn dialing(&self) -> Option<Arc<ClientConfig>> {
        self.loaded.read().dialing.clone()
    }

    /// Reads the files again, for connections from now on. If they are not valid, the old certificate and key stay.
    pub fn reload(&self) {
        let certificate = self.settings.certificate.display();
        match self.settings.load() {
            Ok(loaded) => {
                *self.loaded.write() = loaded;
                tracing::info!(%certificate, "new TLS certificate and key are in use");
            }
            Err(error) => {
                tracing::error!(%certificate, "the TLS certificate and key in use stay, since new ones are not valid: {error}");
            }
        }
    }

    /// As [`Tls::reload`], on a thread that may wait for the disk.
    pub async fn reload_in_background(self: Arc<Self>) {
        if let Err(error) = tokio::task::spawn_blocking(move || self.reload()).await {
            tracing::error!(%error, "reading the TLS certificate and key panicked");
        }
    }

    /// Reloads whenever the files have changed, for ever. Waits until a change is over: certificate and key are two
    /// files, and one may be newer than the other for a moment.
    pub async fn watch(self: Arc<Self>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut loaded = self.look().await;
        let mut before = loaded.clone();
        loop {
            looks.tick().await;
            let now = self.look().await;
            if now == before && now != loaded {
                loaded.clone_from(&now);
                Arc::clone(&self).reload_in_background().await;
            }
            before = now;
        }
    }

    async fn look(self: &Arc<Self>) -> Vec<Option<FileState>> {
        let tls = Arc::clone(self);
        let look = move || {
            tls.settings
                .files()
                .map(|path| FileState::of(path).ok())
                .collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}

/// What changes when a file is written or replaced, also behind symbolic links.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileState {
    inode: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl FileState {
    fn of(path: &Path) -> io::Result<FileState> {
        let metadata = std::fs::metadata(path)?;
        Ok(FileState {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}
