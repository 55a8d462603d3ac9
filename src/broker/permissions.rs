//! Who may do what: configure, write and read patterns per user and virtual host, and topic permissions
//! per exchange. Pure tables and decisions; [`super::users::Users`] owns and persists them.

use std::collections::BTreeMap;
use std::fmt;

use fancy_regex::Regex;

use crate::model::Name;

/// Bound on the length of a permission pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 4096;

/// The three kinds of rights over a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Create, delete or alter.
    Configure,
    /// Publish to, or bind as a destination.
    Write,
    /// Consume, get, purge, or bind as a source.
    Read,
}

impl Permission {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Configure => "configure",
            Permission::Write => "write",
            Permission::Read => "read",
        }
    }
}

/// What kind of thing a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A queue.
    Queue,
    /// An exchange; the default exchange goes by [`DEFAULT_EXCHANGE`].
    Exchange,
}

impl ResourceKind {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            ResourceKind::Queue => "queue",
            ResourceKind::Exchange => "exchange",
        }
    }
}

/// The name under which rights over the default exchange are looked up.
pub const DEFAULT_EXCHANGE: &str = "amq.default";

/// A refusal: everything its text needs. The front door puts its own code before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessRefused {
    /// No right over a queue or exchange.
    #[error("{} access to {} '{name}' in vhost '{vhost}' refused for user '{user}'", permission.as_str(), kind.as_str())]
    Resource {
        /// The right that is missing.
        permission: Permission,
        /// Queue or exchange.
        kind: ResourceKind,
        /// Its name as it was looked up.
        name: Name,
        /// Its virtual host.
        vhost: Name,
        /// Who asked.
        user: Name,
    },
    /// The routing key is outside the user's topic permission.
    #[error("{} access to topic '{topic}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'", permission.as_str())]
    Topic {
        /// Write when publishing, read when binding.
        permission: Permission,
        /// The routing key.
        topic: Name,
        /// The topic exchange.
        exchange: Name,
        /// Its virtual host.
        vhost: Name,
        /// Who asked.
        user: Name,
    },
}

/// A pattern that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidPattern {
    /// The pattern as it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A permission pattern: searched for anywhere in the name, as RabbitMQ does; the empty pattern matches only
/// the empty name.
#[derive(Clone)]
pub struct Pattern {
    text: Name,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
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

    /// Whether the pattern is found in `name`. A pattern that backtracks beyond its limit does not match.
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

/// What a user may do in one virtual host. That there is a grant at all is what lets the user in.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Names that may be created and deleted.
    pub configure: Pattern,
    /// Names that may be written to.
    pub write: Pattern,
    /// Names that may be read from.
    pub read: Pattern,
}

impl Grant {
    /// Compiles the three patterns.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Grant, InvalidPattern> {
        Ok(Grant {
            configure: Pattern::new(configure)?,
            write: Pattern::new(write)?,
            read: Pattern::new(read)?,
        })
    }

    /// Whether the grant covers `permission` on `name`.
    pub fn allows(&self, permission: Permission, name: &str) -> bool {
        match permission {
            Permission::Configure => self.configure.matches(name),
            Permission::Write => self.write.matches(name),
            Permission::Read => self.read.matches(name),
        }
    }
}

/// Routing keys that a user may publish with and bind with on one topic exchange. The patterns may name
/// `{username}` and `{vhost}`, which stand for those of the connection.
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
        // The variables' values are taken literally: a user called `.*` gains nothing by it.
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
    /// Compiles the two patterns for one user and virtual host.
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
            // Topic permissions say nothing about creating exchanges.
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
    /// The grant of `user` in `vhost`, if it may enter at all.
    pub fn grant(&self, user: &str, vhost: &str) -> Option<&Grant> {
        self.grants.get(&(user.into(), vhost.into()))
    }

    /// Whether `user` has `permission` on a resource called `name` in `vhost`.
    pub fn allows(&self, user: &str, vhost: &str, permission: Permission, name: &str) -> bool {
        self.grant(user, vhost)
            .is_some_and(|grant| grant.allows(permission, name))
    }

    /// Whether topic permissions let `user` use `routing_key` on `exchange`: they do unless one is set that does not.
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

    /// The first of several routing keys that topic permissions keep `user` from using on `exchange`.
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
