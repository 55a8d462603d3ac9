//! All users and permissions, in memory and as they are stored. Locks nothing and waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{User, UserError};
use crate::broker::access_records::{
    DefinitionError, GrantRecord, Record, TopicRecord, UserRecord,
};
use crate::broker::permissions::{Grant, PermissionTable, TopicGrant};
use crate::model::Name;
use crate::store::{Committer, Op};

#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) users: BTreeMap<Name, Arc<User>>,
    pub(super) permissions: PermissionTable,
}

impl Access {
    pub(super) fn load(committer: &Committer) -> Result<Access, DefinitionError> {
        let store = &**committer.store();
        let mut access = Access::default();
        for UserRecord {
            name,
            tags,
            password,
            limits,
        } in UserRecord::load(store)?
        {
            let user = User {
                name: name.clone(),
                tags,
                limits,
                password,
                revision: 0,
            };
            access.users.insert(name, Arc::new(user));
        }
        for GrantRecord {
            user,
            vhost,
            configure,
            write,
            read,
        } in GrantRecord::load(store)?
        {
            let grant = Grant::new(&configure, &write, &read).map_err(DefinitionError::pattern)?;
            access.permissions.set(user, vhost, grant);
        }
        for TopicRecord {
            user,
            vhost,
            exchange,
            write,
            read,
        } in TopicRecord::load(store)?
        {
            let topic =
                TopicGrant::new(&write, &read, &user, &vhost).map_err(DefinitionError::pattern)?;
            access.permissions.set_topic(user, vhost, exchange, topic);
        }
        Ok(access)
    }

    pub(super) fn known(&self, name: &str) -> Result<&Arc<User>, UserError> {
        self.users
            .get(name)
            .ok_or_else(|| UserError::NoSuchUser(name.into()))
    }

    pub(super) fn put(&mut self, user: User, ops: &mut Vec<Op>) {
        let record = UserRecord {
            name: user.name.clone(),
            tags: user.tags.clone(),
            password: user.password.clone(),
            limits: user.limits,
        };
        ops.push(record.put());
        self.users.insert(user.name.clone(), Arc::new(user));
    }

    /// Removes every grant and topic permission of the users and virtual hosts picked.
    pub(super) fn clear_permissions(
        &mut self,
        concerned: impl Fn(&str, &str) -> bool,
        ops: &mut Vec<Op>,
    ) {
        let pairs: BTreeSet<(Name, Name)> = self
            .permissions
            .grants()
            .map(|(user, vhost, _)| (user, vhost))
            .chain(
                self.permissions
                    .topics()
                    .map(|(user, vhost, _, _)| (user, vhost)),
            )
            .filter(|(user, vhost)| concerned(user, vhost))
            .map(|(user, vhost)| (user.clone(), vhost.clone()))
            .collect();
        for (user, vhost) in pairs {
            if self.permissions.clear(&user, &vhost) {
                ops.push(GrantRecord::remove(&[&user, &vhost]));
            }
            for exchange in self.permissions.clear_topic(&user, &vhost, None) {
                ops.push(TopicRecord::remove(&[&user, &vhost, &exchange]));
            }
        }
    }
}
