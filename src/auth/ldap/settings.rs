//! How users and permissions are looked up in a directory.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::query::{Query, TagQueries};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapSettings {
    /// Host names, in the order in which they are tried.
    pub servers: Vec<String>,
    pub port: u16,
    pub encryption: Encryption,
    /// Authorities that may certify the servers, in a PEM file; `None` takes the system's.
    pub ca: Option<PathBuf>,
    /// Limits a login or check as a whole.
    pub timeout: Duration,
    /// How long a connection may be idle before it is closed.
    pub idle_timeout: Duration,
    /// Maximum number of connections to the servers.
    pub pool_size: usize,
    /// The user's entry, with `${username}`.
    pub user_dn_pattern: String,
    /// The name to bind with, if it is not the entry's.
    pub user_bind_pattern: Option<String>,
    /// How the entry is found by a search; `None` if the pattern says where it is.
    pub dn_lookup: Option<DnLookup>,
    /// Who asks the queries.
    pub other_bind: Bind,
    /// Where nested groups are looked for; `None` takes the base of the search for users.
    pub group_lookup_base: Option<String>,
    pub vhost_access: Query,
    pub resource_access: Query,
    pub topic_access: Query,
    pub tags: TagQueries,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    None,
    /// TLS from the first byte.
    Tls,
    StartTls,
}

/// A search for the entry of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnLookup {
    pub attribute: String,
    pub base: String,
    /// Who searches. The user itself can only after it has logged in.
    pub bind: Bind,
}

/// As whom a connection acts.
#[derive(Clone, PartialEq, Eq)]
pub enum Bind {
    /// The user who logs in or is checked.
    AsUser,
    Anonymous,
    Dn {
        dn: String,
        password: String,
    },
}

impl fmt::Debug for Bind {
    /// Omits the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bind::AsUser => f.write_str("AsUser"),
            Bind::Anonymous => f.write_str("Anonymous"),
            Bind::Dn { dn, .. } => write!(f, "Dn({dn})"),
        }
    }
}
