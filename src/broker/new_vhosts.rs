//! What new virtual hosts get besides their exchanges: users with permissions, and limits, chosen by their names.

use super::limits::VhostLimits;
use super::permissions::{Grant, InvalidPattern, Pattern};
use crate::model::Name;
use crate::model::vhost_defaults::{DefaultLimits, DefaultUsers};

/// The defaults, with their patterns compiled.
#[derive(Debug, Default)]
pub(super) struct NewVhosts {
    users: Vec<(Pattern, NewUser)>,
    limits: Vec<(Pattern, VhostLimits)>,
}

/// A user that gets permissions in a virtual host. One that exists keeps its password and tags.
#[derive(Clone)]
pub(super) struct NewUser {
    pub(super) name: Name,
    pub(super) password: Option<Name>,
    pub(super) tags: Vec<Name>,
    pub(super) grant: Grant,
}

impl std::fmt::Debug for NewUser {
    // Without the password: this may be logged.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewUser({})", self.name)
    }
}

impl NewVhosts {
    pub(super) fn new(
        users: DefaultUsers,
        limits: DefaultLimits,
    ) -> Result<NewVhosts, InvalidPattern> {
        let users = users.into_iter().map(|(name, user)| {
            let new = NewUser {
                grant: Grant::new(&user.configure, &user.write, &user.read)?,
                name,
                password: user.password,
                tags: user.tags,
            };
            Ok((Pattern::new(&user.vhost_pattern)?, new))
        });
        let limits = limits.into_values().map(|default| {
            let limits = VhostLimits {
                max_connections: default.max_connections,
                max_queues: default.max_queues,
            };
            Ok((Pattern::new(&default.pattern)?, limits))
        });
        Ok(NewVhosts {
            users: users.collect::<Result<_, _>>()?,
            limits: limits.collect::<Result<_, _>>()?,
        })
    }

    /// The users that get permissions in these virtual hosts, each with the virtual host.
    pub(super) fn users(&self, vhosts: &[Name]) -> Vec<(Name, NewUser)> {
        let of_vhost = |vhost: &Name| {
            let matching = self
                .users
                .iter()
                .filter(|(pattern, _)| pattern.matches(vhost));
            let users = matching.map(|(_, user)| (vhost.clone(), user.clone()));
            users.collect::<Vec<_>>()
        };
        vhosts.iter().flat_map(of_vhost).collect()
    }

    /// The limits of these virtual hosts: of several that match, the first holds.
    pub(super) fn limits(&self, vhosts: &[Name]) -> Vec<(Name, VhostLimits)> {
        let of_vhost = |vhost: &Name| {
            let first = self
                .limits
                .iter()
                .find(|(pattern, _)| pattern.matches(vhost));
            first.map(|(_, limits)| (vhost.clone(), *limits))
        };
        vhosts.iter().filter_map(of_vhost).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_choose_users_and_the_first_limits() {
        let users = json!({
            "ops": {"tags": ["monitoring"], "configure": "^$"},
            "dev": {"vhost_pattern": "^dev-"},
        });
        let limits = json!({
            "2": {"max_queues": 9},
            "1": {"pattern": "^dev-", "max_connections": 5},
        });
        let new = NewVhosts::new(
            serde_json::from_value(users).unwrap(),
            serde_json::from_value(limits).unwrap(),
        );
        let new = new.unwrap();
        let vhosts = ["dev-a".into(), "prod".into()];
        let users = new.users(&vhosts);
        let users: Vec<_> = users
            .iter()
            .map(|(vhost, user)| (&**vhost, &*user.name))
            .collect();
        assert_eq!(users, [("dev-a", "dev"), ("dev-a", "ops"), ("prod", "ops")]);
        let limits = new.limits(&vhosts);
        let limits: Vec<_> = limits
            .iter()
            .map(|(vhost, limits)| (&**vhost, limits.max_connections, limits.max_queues))
            .collect();
        assert_eq!(limits, [("dev-a", Some(5), None), ("prod", None, Some(9))]);
    }
}
