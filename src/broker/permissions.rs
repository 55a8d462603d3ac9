//! Permissions: configure, write and read patterns per user and virtual host, and topic permissions per exchange. Pure
//! tables and decisions; [`super::users::Users`] owns and persists them.

use std::collections::BTreeMap;
use std::fmt;

use fancy_regex::Regex;

use crate::auth::External;
pub use crate::auth::{Permission, ResourceKind};
use crate::model::Name;

/// Maximum length of a permission pattern.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// The name of the default exchange in permission patterns.
pub const DEFAULT_EXCHANGE: &str = "amq.default";

/// A refusal with everything that its text needs. The front door puts its own code before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefused {
    #[error("{} access to {} '{name}' in vhost '{vhost}' refused for user '{user}'", permission.as_str(), kind.as_str())]
    Resource {
        permission: Permission,
        kind: ResourceKind,
        name: Name,
        vhost: Name,
        user: Name,
    },
    #[error("access to vhost '{vhost}' refused for user '{user}'")]
    Vhost { vhost: Name, user: Name },
    /// The backend that decides could not be asked.
    #[error("{refused}, backend {} returned an error: {why}", backend.module())]
    Failed {
        refused: Box<AccessRefused>,
        backend: External,
        why: Name,
    },
    /// The routing key is outside the user's topic permission.
    #[error("{} access to topic '{topic}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'", permission.as_str())]
    Topic {
        /// Write when publishing, read when binding.
        permission: Permission,
        /// The routing key.
        topic: Name,
        exchange: Name,
        vhost: Name,
        user: Name,
    },
}

/// A pattern that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidPattern {
    pub pattern: String,
    pub reason: String,
}

/// A permission pattern. It matches anywhere in the name, as in RabbitMQ; the empty pattern matches the empty name only.
#[derive(Clone)]
pub struct Pattern {
    text: Name,
    regex: Regex,
}

impl Pattern {
    pub fn new(text: &str) -> Result<Pattern, InvalidPattern> {
        Ok(Pattern {
            text: text.into(),
            regex: compile(text)?,
        })
    }

    /// The pattern as it was given.
    pub fn text(&self) -> &Name {
        &self.text
    }

    /// Whether the pattern matches in `name`. A pattern that backtracks beyond its limit does not.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name).unwrap_or(false)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

fn compile(text: &str) -> Result<Regex, InvalidPattern> {
    let invalid = |reason: String| InvalidPattern {
        pattern: text.to_owned(),
        reason,
    };
    if text.len() > PATTERN_BYTES_MAX {
        return Err(invalid(format!("longer than {PATTERN_BYTES_MAX} bytes")));
    }
    let effective = if text.is_empty() { "^$" } else { text };
    Regex::new(effective).map_err(|error| invalid(error.to_string()))
}

/// The permissions of a user in one virtual host. Without a grant the user may not open the virtual host.
#[derive(Clone, Debug)]
pub struct Grant {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

impl Grant {
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Grant, InvalidPattern> {
        Ok(Grant {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    pub fn allows(&self, permission: Permission, name: &str) -> bool {
        match permission {
            Permission::Configure => self.configure.matches(name),
            Permission::Write => self.write.matches(name),
            Permission::Read => self.read.matches(name),
        }
    }
}

/// The routing keys that a user may publish and bind with on one topic exchange. In the patterns, `{username}` and
/// `{vhost}` stand for those of the connection.
#[derive(Clone, Debug)]
pub struct TopicGrant {
    write: Topic,
    read: Topic,
}

#[derive(Clone, Debug)]
struct Topic {
    /// As it was given, with its variables.
    text: Name,
    /// With the variables replaced: user and virtual host are known when the grant is made.
    expanded: Pattern,
}

impl Topic {
    fn new(text: &str, user: &str, vhost: &str) -> Result<Topic, InvalidPattern> {
        // Escaped, so that a user called `.*` gains nothing by the name.
        let expanded = text
            .replace("{username}", &fancy_regex::escape(user))
            .replace("{vhost}", &fancy_regex::escape(vhost));
        let expanded = Pattern::new(&expanded).map_err(|e| InvalidPattern {
            pattern: text.to_owned(),
            ..e
        })?;
        Ok(Topic {
            text: text.into(),
            expanded,
        })
    }
}

impl TopicGrant {
    pub fn new(
        write: &str,
        read: &str,
        user: &str,
        vhost: &str,
    ) -> Result<TopicGrant, InvalidPattern> {
        Ok(TopicGrant {
            write: Topic::new(write, user, vhost)?,
            read: Topic::new(read, user, vhost)?,
        })
    }

    /// The write pattern as it was given.
    pub fn write(&self) -> &Name {
        &self.write.text
    }

    /// The read pattern as it was given.
    pub fn read(&self) -> &Name {
        &self.read.text
    }

    fn allows(&self, permission: Permission, routing_key: &str) -> bool {
        match permission {
            Permission::Write => self.write.expanded.matches(routing_key),
            Permission::Read => self.read.expanded.matches(routing_key),
            // Topic permissions do not concern the creation of exchanges.
            Permission::Configure => true,
        }
    }
}

/// The permissions of all users, by user and virtual host.
#[derive(Debug, Default)]
pub struct PermissionTable {
    grants: BTreeMap<(Name, Name), Grant>,
    topics: BTreeMap<(Name, Name, Name), TopicGrant>,
}

impl PermissionTable {
    /// The grant of `user` in `vhost`; `None` if it may not open the virtual host.
    pub fn grant(&self, user: &str, vhost: &str) -> Option<&Grant> {
        self.grants.get(&(user.into(), vhost.into()))
    }

    /// Whether `user` has `permission` on a resource called `name` in `vhost`.
    pub fn allows(&self, user: &str, vhost: &str, permission: Permission, name: &str) -> bool {
        self.grant(user, vhost)
            .is_some_and(|grant| grant.allows(permission, name))
    }

    /// Whether `user` may use `routing_key` on `exchange`. Without a topic permission any key is allowed.
    pub fn allows_topic(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: Permission,
        routing_key: &str,
    ) -> bool {
        self.refused_topic(user, vhost, exchange, permission, [routing_key])
            .is_none()
    }

    /// The first of several routing keys that `user` may not use on `exchange`.
    pub fn refused_topic<'a>(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        permission: Permission,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let topic = self
            .topics
            .get(&(user.into(), vhost.into(), exchange.into()))?;
        routing_keys
            .into_iter()
            .find(|key| !topic.allows(permission, key))
    }

    /// Sets or replaces a grant.
    pub fn set(&mut self, user: Name, vhost: Name, grant: Grant) {
        self.grants.insert((user, vhost), grant);
    }

    /// Removes a grant; whether there was one.
    pub fn clear(&mut self, user: &str, vhost: &str) -> bool {
        self.grants.remove(&(user.into(), vhost.into())).is_some()
    }

    /// Sets or replaces a topic permission.
    pub fn set_topic(&mut self, user: Name, vhost: Name, exchange: Name, topic: TopicGrant) {
        self.topics.insert((user, vhost, exchange), topic);
    }

    /// Removes a topic permission.
    pub fn clear_topic(&mut self, user: &str, vhost: &str, exchange: &str) {
        let key = (user.into(), vhost.into(), exchange.into());
        self.topics.remove(&key);
    }

    /// Every grant as (user, virtual host, grant), ordered.
    pub fn grants(&self) -> impl Iterator<Item = (&Name, &Name, &Grant)> {
        self.grants
            .iter()
            .map(|((user, vhost), grant)| (user, vhost, grant))
    }

    /// Every topic permission as (user, virtual host, exchange, permission), ordered.
    pub fn topics(&self) -> impl Iterator<Item = (&Name, &Name, &Name, &TopicGrant)> {
        self.topics
            .iter()
            .map(|((user, vhost, exchange), topic)| (user, vhost, exchange, topic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_search_as_rabbitmq_does() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "q", false),
            ("^$", "q", false),
            (".*", "anything", true),
            (".*", "", true),
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^(a|b)-.*$", "b-1", true),
            (r"^amq\.gen.*", "amq.gen-x", true),
            (r"^amq\.gen.*", "amqxgen-x", false),
            (r"^(?!secret).*", "secret.q", false),
            (r"^(?!secret).*", "open.q", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).unwrap().matches(name),
                expected,
                "{pattern:?} in {name:?}"
            );
        }
    }

    #[test]
    fn bad_patterns_are_named() {
        for pattern in ["*", "(", "[a"] {
            assert_eq!(Pattern::new(pattern).unwrap_err().pattern, pattern);
        }
        assert!(Pattern::new(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(Pattern::new(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_grant_covers_only_its_kind_and_place() {
        let mut table = PermissionTable::default();
        table.set(
            "u".into(),
            "/".into(),
            Grant::new("^c", "^w", "^r").unwrap(),
        );
        for (permission, name, expected) in [
            (Permission::Configure, "c1", true),
            (Permission::Configure, "w1", false),
            (Permission::Write, "w1", true),
            (Permission::Read, "w1", false),
            (Permission::Read, "r1", true),
        ] {
            assert_eq!(
                table.allows("u", "/", permission, name),
                expected,
                "{permission:?} {name}"
            );
            assert!(!table.allows("u", "other", permission, name));
            assert!(!table.allows("other", "/", permission, name));
        }
        assert!(table.clear("u", "/"));
        assert!(!table.clear("u", "/"));
        assert!(!table.allows("u", "/", Permission::Read, "r1"));
    }

    #[test]
    fn topics_are_free_until_restricted() {
        let mut table = PermissionTable::default();
        let allows = |table: &PermissionTable, permission, key| {
            table.allows_topic("a.b", "/", "t", permission, key)
        };
        assert!(allows(&table, Permission::Write, "anything"));
        table.set_topic(
            "a.b".into(),
            "/".into(),
            "t".into(),
            TopicGrant::new("^{username}-{vhost}$", "", "a.b", "/").unwrap(),
        );
        for (permission, key, expected) in [
            (Permission::Write, "a.b-/", true),
            (Permission::Write, "axb-/", false),
            (Permission::Write, "", false),
            (Permission::Read, "a.b-/", false),
            (Permission::Read, "", true),
        ] {
            assert_eq!(
                allows(&table, permission, key),
                expected,
                "{permission:?} {key}"
            );
        }
        assert!(table.allows_topic("a.b", "/", "other", Permission::Write, "x"));
        table.clear_topic("a.b", "/", "t");
        assert!(allows(&table, Permission::Write, "anything"));
    }

    #[test]
    fn refusals_read_as_rabbitmqs() {
        let resource = AccessRefused::Resource {
            permission: Permission::Configure,
            kind: ResourceKind::Queue,
            name: "q".into(),
            vhost: "/".into(),
            user: "guest".into(),
        };
        assert_eq!(
            resource.to_string(),
            "configure access to queue 'q' in vhost '/' refused for user 'guest'"
        );
        let topic = AccessRefused::Topic {
            permission: Permission::Write,
            topic: "k".into(),
            exchange: "e".into(),
            vhost: "/".into(),
            user: "u".into(),
        };
        assert_eq!(
            topic.to_string(),
            "write access to topic 'k' in exchange 'e' in vhost '/' refused for user 'u'"
        );
    }
}
