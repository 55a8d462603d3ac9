//! Connections to the LDAP servers, which are few and used again.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::LdapConnSettings;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::directory::{Bound, Connection, DirectoryError};
use super::settings::{Bind, Encryption, LdapSettings};
use crate::clock::monotonic;

/// Why the pool cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LdapError {
    #[error("no LDAP server is configured")]
    NoServer,
    #[error("LDAP users are looked up by an attribute, but no base to search from is configured")]
    NoLookupBase,
    /// A bind without a password is one without a name, too.
    #[error("no password is configured for the LDAP bind as '{0}'")]
    NoPassword(String),
    #[error("cannot read the authorities of LDAP servers: {0}")]
    Authorities(#[from] rustls::pki_types::pem::Error),
    #[error("the authorities of LDAP servers: {0}")]
    Tls(#[from] rustls::Error),
}

pub(super) struct Pool {
    urls: Vec<String>,
    settings: LdapConnSettings,
    idle_timeout: Duration,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<IdleConnections>>,
}

#[derive(Default)]
struct IdleConnections {
    /// Each with the time since when it is idle, longest first.
    connections: VecDeque<(Instant, Connection)>,
    /// Whether a task will close those that are idle for too long.
    are_watched: bool,
}

/// A connection in use, bound to someone. Dropped, it is closed.
pub(super) struct Leased {
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(super) fn new(settings: &LdapSettings) -> Result<Pool, LdapError> {
        check(settings)?;
        let scheme = match settings.encryption {
            Encryption::Tls => "ldaps",
            Encryption::None | Encryption::StartTls => "ldap",
        };
        let urls = settings.servers.iter().map(|server| {
            let host = match server.contains(':') {
                true => format!("[{server}]"),
                false => server.clone(),
            };
            format!("{scheme}://{host}:{}", settings.port)
        });
        let urls: Vec<String> = urls.collect();
        let servers = u32::try_from(urls.len()).unwrap_or(u32::MAX);
        // Each server gets its part of the time, so that one that does not answer leaves some for the next.
        let patience = settings
            .timeout
            .checked_div(servers)
            .ok_or(LdapError::NoServer)?;
        let mut connections = LdapConnSettings::new()
            .set_conn_timeout(patience)
            .set_starttls(settings.encryption == Encryption::StartTls);
        if let Some(ca) = &settings.ca {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(ca)? {
                roots.add(certificate?)?;
            }
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            connections = connections.set_config(Arc::new(config));
        }
        Ok(Pool {
            urls,
            settings: connections,
            idle_timeout: settings.idle_timeout,
            permits: Arc::new(Semaphore::new(settings.pool_size)),
            idle: Arc::default(),
        })
    }

    /// A connection that is bound as `dn`; `None` if the password is wrong. Waits until there are few enough others.
    pub(super) async fn bound(
        &self,
        dn: &str,
        password: &str,
    ) -> Result<Option<Leased>, DirectoryError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| DirectoryError::Closed)?;
        while let Some(mut connection) = self.take_idle() {
            // The server may have closed it meanwhile.
            match connection.bind(dn, password).await {
                Err(DirectoryError::Connection(_)) => {}
                bound => return self.leased(bound?, connection, permit),
            }
        }
        let mut connection = self.open().await?;
        let bound = connection.bind(dn, password).await?;
        self.leased(bound, connection, permit)
    }

    /// Keeps a connection for the next use.
    pub(super) fn give_back(&self, leased: Leased) {
        self.keep(leased.connection);
    }

    fn leased(
        &self,
        bound: Bound,
        connection: Connection,
        permit: OwnedSemaphorePermit,
    ) -> Result<Option<Leased>, DirectoryError> {
        match bound {
            Bound::Accepted => Ok(Some(Leased {
                connection,
                _permit: permit,
            })),
            Bound::InvalidCredentials => {
                self.keep(connection);
                Ok(None)
            }
        }
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        idle.connections.push_back((monotonic(), connection));
        if !std::mem::replace(&mut idle.are_watched, true) {
            tokio::spawn(close_old(Arc::clone(&self.idle), self.idle_timeout));
        }
    }

    /// The connection that was used last, so that the others become too old.
    fn take_idle(&self) -> Option<Connection> {
        let newest = self.idle.lock().connections.pop_back();
        newest.map(|(_, connection)| connection)
    }

    /// Connects to the first server that answers.
    async fn open(&self) -> Result<Connection, DirectoryError> {
        let mut last = DirectoryError::Closed;
        for url in &self.urls {
            match Connection::open(url, self.settings.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    tracing::debug!("cannot connect to {url}: {error}");
                    last = error;
                }
            }
        }
        Err(last)
    }
}

fn check(settings: &LdapSettings) -> Result<(), LdapError> {
    let lookup = settings.dn_lookup.as_ref();
    if lookup.is_some_and(|lookup| lookup.base.is_empty()) {
        return Err(LdapError::NoLookupBase);
    }
    let binds = lookup.map(|lookup| &lookup.bind).into_iter();
    for bind in binds.chain([&settings.other_bind]) {
        if let Bind::Dn { dn, password } = bind
            && password.is_empty()
        {
            return Err(LdapError::NoPassword(dn.clone()));
        }
    }
    Ok(())
}

/// Closes connections that are idle for too long, until there are none.
async fn close_old(idle: Arc<Mutex<IdleConnections>>, idle_timeout: Duration) {
    loop {
        let next = {
            let mut idle = idle.lock();
            let now = monotonic();
            let is_old = |since: &Instant| now.duration_since(*since) >= idle_timeout;
            while idle
                .connections
                .front()
                .is_some_and(|(since, _)| is_old(since))
            {
                idle.connections.pop_front();
            }
            match idle.connections.front() {
                Some((since, _)) => *since + idle_timeout,
                None => {
                    idle.are_watched = false;
                    return;
                }
            }
        };
        tokio::time::sleep_until(next.into()).await;
    }
}

impl Deref for Leased {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Leased {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
