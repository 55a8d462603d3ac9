//! A connection to an LDAP server: binds and searches.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ldap3::adapters::EntriesOnly;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, SearchEntry, ldap_escape};
use tokio::task::JoinHandle;

use super::evaluate::{Directory, Filter, Found, Scope};

/// Most entries of one search.
const ENTRIES_MAX: usize = 1000;
/// Results of LDAP operations (RFC 4511).
const SUCCESS: u32 = 0;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_DN_SYNTAX: u32 = 34;
const INVALID_CREDENTIALS: u32 = 49;

/// Why the server gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum DirectoryError {
    #[error("{0}")]
    Connection(#[from] LdapError),
    #[error("there is no connection")]
    Closed,
    #[error("the server answers {code}: {text}")]
    Refused { code: u32, text: String },
    #[error("a search found more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error("the server sent an entry that cannot be read")]
    InvalidEntry,
}

/// Whether the server knows a name and its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Accepted,
    InvalidCredentials,
}

/// An open connection. It ends when it is dropped.
pub(super) struct Connection {
    ldap: Ldap,
    driver: JoinHandle<()>,
}

impl Connection {
    pub(super) async fn open(
        url: &str,
        settings: LdapConnSettings,
    ) -> Result<Connection, DirectoryError> {
        let (driver, ldap) = LdapConnAsync::with_settings(settings, url).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.drive().await {
                tracing::debug!("a connection to an LDAP server ended: {error}");
            }
        });
        Ok(Connection { ldap, driver })
    }

    /// Acts from now on as this entry, or as nobody if the name is empty.
    pub(super) async fn bind(&mut self, dn: &str, password: &str) -> Result<Bound, DirectoryError> {
        let result = self.ldap.simple_bind(dn, password).await?;
        match result.rc {
            SUCCESS => Ok(Bound::Accepted),
            // A name that can be none of an entry is that of no user.
            INVALID_CREDENTIALS | INVALID_DN_SYNTAX => Ok(Bound::InvalidCredentials),
            code => Err(DirectoryError::Refused {
                code,
                text: result.text,
            }),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Directory for Connection {
    type Error = DirectoryError;

    async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: Filter<'_>,
        attribute: &str,
    ) -> Result<Option<Vec<Found>>, DirectoryError> {
        let scope = match scope {
            Scope::Base => ldap3::Scope::Base,
            Scope::SingleLevel => ldap3::Scope::OneLevel,
            Scope::Subtree => ldap3::Scope::Subtree,
        };
        let filter = match filter {
            Filter::Any => "(objectClass=*)".to_owned(),
            Filter::Equal { attribute, value } => format!("({attribute}={})", ldap_escape(value)),
        };
        let mut search = self
            .ldap
            .streaming_search_with(EntriesOnly::new(), base, scope, &filter, vec![attribute])
            .await?;
        let mut found = Vec::new();
        while let Some(entry) = search.next().await? {
            if found.len() == ENTRIES_MAX {
                return Err(DirectoryError::TooManyEntries);
            }
            // The crate panics at an entry that breaks the protocol.
            let entry = catch_unwind(AssertUnwindSafe(|| SearchEntry::construct(entry)));
            let entry = entry.map_err(|_| DirectoryError::InvalidEntry)?;
            let values = entry.attrs.into_iter();
            let values = values.filter(|(own, _)| own.eq_ignore_ascii_case(attribute));
            found.push(Found {
                dn: entry.dn,
                values: values.flat_map(|(_, values)| values).collect(),
            });
        }
        let result = search.finish().await;
        match result.rc {
            SUCCESS => Ok(Some(found)),
            NO_SUCH_OBJECT => Ok(None),
            code => Err(DirectoryError::Refused {
                code,
                text: result.text,
            }),
        }
    }
}
