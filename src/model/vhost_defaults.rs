//! What new virtual hosts get, in RabbitMQ's terms: users with permissions, and limits. Plain data.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Name;

/// Matches every name.
const ANY: &str = ".*";

/// By user.
pub type DefaultUsers = BTreeMap<Name, DefaultUser>;
/// By a name that only orders them: the first that matches a virtual host holds for it.
pub type DefaultLimits = BTreeMap<Name, DefaultVhostLimits>;

/// A user that gets permissions in new virtual hosts, and that is created with the first of them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultUser {
    /// A regular expression that matches anywhere in the name.
    pub vhost_pattern: String,
    /// Without one, the user cannot log in with a password until it is given one.
    pub password: Option<Name>,
    pub tags: Vec<Name>,
    pub configure: String,
    pub write: String,
    pub read: String,
}

/// The limits of new virtual hosts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultVhostLimits {
    /// A regular expression that matches anywhere in the name.
    pub pattern: String,
    pub max_connections: Option<i64>,
    pub max_queues: Option<i64>,
}

impl DefaultUser {
    /// All its regular expressions.
    pub fn patterns(&self) -> [&str; 4] {
        [
            &self.vhost_pattern,
            &self.configure,
            &self.write,
            &self.read,
        ]
        .map(String::as_str)
    }
}

impl Default for DefaultUser {
    fn default() -> DefaultUser {
        DefaultUser {
            vhost_pattern: ANY.to_owned(),
            password: None,
            tags: Vec::new(),
            configure: ANY.to_owned(),
            write: ANY.to_owned(),
            read: ANY.to_owned(),
        }
    }
}

impl std::fmt::Debug for DefaultUser {
    // Without the password: this may be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefaultUser")
            .field("patterns", &self.patterns())
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}

impl Default for DefaultVhostLimits {
    fn default() -> DefaultVhostLimits {
        DefaultVhostLimits {
            pattern: ANY.to_owned(),
            max_connections: None,
            max_queues: None,
        }
    }
}
