//! All users, permissions and secret keys in memory: decisions about changes, their records, and the changes themselves.
//! Locks nothing and waits for nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::user::{PutUser, User, UserError};
use crate::broker::definitions::Kind;
use crate::broker::definitions::access::{PermissionRecord, TopicPermissionRecord, UserRecord};
use crate::broker::definitions::record::{DefinitionError, Identity, Record, Records};
use crate::broker::definitions::table::Table;
use crate::broker::permissions::{Grant, InvalidPattern, PermissionTable, TopicGrant};
use crate::broker::secrets::{SECRET_BYTES_MAX, Secret};
use crate::model::Name;
use crate::store::Store;

#[derive(Debug, Default)]
pub(super) struct Access {
    pub(super) users: BTreeMap<Name, Arc<User>>,
    pub(super) permissions: PermissionTable,
    /// By id.
    pub(super) secrets: HashMap<Name, Arc<Secret>>,
    /// Grows with every change, so that cached decisions are known to be stale.
    epoch: Arc<AtomicU64>,
    /// The revision that the next user or password gets.
    next_revision: u64,
}

/// One change of users, permissions or keys.
#[derive(Debug)]
pub(super) enum Change {
    PutUser(UserRecord),
    RemoveUser(Name),
    PutPermission {
        user: Name,
        vhost: Name,
        grant: Grant,
    },
    RemovePermission {
        user: Name,
        vhost: Name,
    },
    PutTopicPermission {
        user: Name,
        vhost: Name,
        exchange: Name,
        topic: TopicGrant,
    },
    RemoveTopicPermission {
        user: Name,
        vhost: Name,
        exchange: Name,
    },
    PutSecret(Secret),
    RemoveSecret(Name),
}

/// The changes of a proposal, if it is valid.
pub(super) type Proposed = Result<Vec<Change>, UserError>;

impl Table for Access {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::PutUser(record) => records.put(record),
            Change::RemoveUser(name) => records.remove(Kind::User, &Identity::of_names(&[name])),
            Change::PutPermission { user, vhost, grant } => records.put(&PermissionRecord {
                user: user.clone(),
                vhost: vhost.clone(),
                configure: grant.configure.text().clone(),
                write: grant.write.text().clone(),
                read: grant.read.text().clone(),
            }),
            Change::RemovePermission { user, vhost } => {
                records.remove(Kind::Permission, &Identity::of_names(&[user, vhost]));
            }
            Change::PutTopicPermission {
                user,
                vhost,
                exchange,
                topic,
            } => records.put(&TopicPermissionRecord {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
                write: topic.write().clone(),
                read: topic.read().clone(),
            }),
            Change::RemoveTopicPermission {
                user,
                vhost,
                exchange,
            } => {
                let identity = Identity::of_names(&[user, vhost, exchange]);
                records.remove(Kind::TopicPermission, &identity);
            }
            Change::PutSecret(secret) => records.put(secret),
            Change::RemoveSecret(id) => records.remove(Kind::SecretKey, &Identity::of_names(&[id])),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::PutUser(record) => self.put_user(record),
            Change::RemoveUser(name) => {
                self.users.remove(&name);
            }
            Change::PutPermission { user, vhost, grant } => {
                self.permissions.set(user, vhost, grant);
            }
            Change::RemovePermission { user, vhost } => {
                self.permissions.clear(&user, &vhost);
            }
            Change::PutTopicPermission {
                user,
                vhost,
                exchange,
                topic,
            } => self.permissions.set_topic(user, vhost, exchange, topic),
            Change::RemoveTopicPermission {
                user,
                vhost,
                exchange,
            } => self.permissions.clear_topic(&user, &vhost, &exchange),
            Change::PutSecret(secret) => {
                self.secrets.insert(secret.id.clone(), Arc::new(secret));
            }
            Change::RemoveSecret(id) => {
                self.secrets.remove(&id);
            }
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl Access {
    pub(super) fn load(store: &dyn Store) -> Result<Access, DefinitionError> {
        let mut access = Access::default();
        for record in UserRecord::load(store)? {
            access.apply(Change::PutUser(record));
        }
        for record in PermissionRecord::load(store)? {
            let grant = Grant::new(&record.configure, &record.write, &record.read);
            access.apply(Change::PutPermission {
                grant: grant.map_err(damaged)?,
                user: record.user,
                vhost: record.vhost,
            });
        }
        for record in TopicPermissionRecord::load(store)? {
            let topic = TopicGrant::new(&record.write, &record.read, &record.user, &record.vhost);
            access.apply(Change::PutTopicPermission {
                topic: topic.map_err(damaged)?,
                user: record.user,
                vhost: record.vhost,
                exchange: record.exchange,
            });
        }
        for secret in Secret::load(store)? {
            access.apply(Change::PutSecret(secret));
        }
        Ok(access)
    }

    pub(super) fn epoch(&self) -> &Arc<AtomicU64> {
        &self.epoch
    }

    pub(super) fn propose_add(&self, user: UserRecord) -> Proposed {
        match self.users.contains_key(&user.name) {
            true => Err(UserError::AlreadyExists(user.name)),
            false => Ok(vec![Change::PutUser(user)]),
        }
    }

    pub(super) fn propose_put(&self, users: Vec<PutUser>) -> Vec<Change> {
        let put = users.into_iter().map(|user| {
            let known = self.users.get(&user.name);
            let limits = user.limits.or_else(|| known.map(|known| known.limits));
            Change::PutUser(UserRecord {
                name: user.name,
                tags: user.tags,
                password: user.password,
                limits: limits.unwrap_or_default(),
            })
        });
        put.collect()
    }

    /// Removes a user with its permissions and keys; true if it exists.
    pub(super) fn propose_delete(&self, name: &str) -> (Vec<Change>, bool) {
        let known = self.users.get_key_value(name);
        let user = known.map(|(name, _)| Change::RemoveUser(name.clone()));
        let deleted = user.is_some();
        let mut changes: Vec<_> = user.into_iter().collect();
        changes.extend(self.remove_permissions(|user, _| user == name));
        changes.extend(self.remove_secrets(|secret| *secret.user == *name));
        (changes, deleted)
    }

    pub(super) fn propose_user(
        &self,
        name: &str,
        change: impl FnOnce(&mut UserRecord),
    ) -> Proposed {
        let user = self.known(name)?;
        let mut record = UserRecord {
            name: user.name.clone(),
            tags: user.tags.clone(),
            password: user.password.clone(),
            limits: user.limits,
        };
        change(&mut record);
        Ok(vec![Change::PutUser(record)])
    }

    pub(super) fn propose_permission(&self, user: &str, vhost: &str, grant: Grant) -> Proposed {
        Ok(vec![Change::PutPermission {
            user: self.known(user)?.name.clone(),
            vhost: vhost.into(),
            grant,
        }])
    }

    pub(super) fn propose_clear_permission(&self, user: &str, vhost: &str) -> Vec<Change> {
        let grant = self.permissions.grant(user, vhost);
        let remove = grant.map(|_| Change::RemovePermission {
            user: user.into(),
            vhost: vhost.into(),
        });
        remove.into_iter().collect()
    }

    pub(super) fn propose_topic_permission(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        topic: TopicGrant,
    ) -> Proposed {
        Ok(vec![Change::PutTopicPermission {
            user: self.known(user)?.name.clone(),
            vhost: vhost.into(),
            exchange: exchange.into(),
            topic,
        }])
    }

    /// Removes the topic permissions of `user` in `vhost`: on `exchange`, or on all.
    pub(super) fn propose_clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Vec<Change> {
        self.remove_topic_permissions(|own, own_vhost, own_exchange| {
            own == user
                && own_vhost == vhost
                && exchange.is_none_or(|exchange| exchange == own_exchange)
        })
    }

    /// Removes all permissions and keys in a virtual host.
    pub(super) fn propose_forget_vhost(&self, vhost: &str) -> Vec<Change> {
        let mut changes = self.remove_permissions(|_, own| own == vhost);
        changes.extend(self.remove_secrets(|secret| *secret.vhost == *vhost));
        changes
    }

    pub(super) fn propose_add_secret(&self, secret: Secret) -> Proposed {
        let lengths = [secret.id.len(), secret.key.len()];
        if lengths
            .iter()
            .any(|length| !(1..=SECRET_BYTES_MAX).contains(length))
        {
            return Err(UserError::SecretLength);
        }
        self.known(&secret.user)?;
        match self.secrets.contains_key(&secret.id) {
            true => Err(UserError::SecretExists(secret.id)),
            false => Ok(vec![Change::PutSecret(secret)]),
        }
    }

    pub(super) fn propose_delete_secret(&self, id: &str) -> Proposed {
        match self.secrets.contains_key(id) {
            true => Ok(vec![Change::RemoveSecret(id.into())]),
            false => Err(UserError::NoSuchSecret(id.into())),
        }
    }

    fn known(&self, name: &str) -> Result<&Arc<User>, UserError> {
        self.users
            .get(name)
            .ok_or_else(|| UserError::NoSuchUser(name.into()))
    }

    /// Every new user and password gets a new revision.
    fn put_user(&mut self, record: UserRecord) {
        let known = self.users.get(&record.name);
        let revision = match known {
            Some(known) if known.password == record.password => known.revision,
            Some(_) | None => {
                self.next_revision += 1;
                self.next_revision
            }
        };
        let user = User {
            name: record.name.clone(),
            tags: record.tags,
            limits: record.limits,
            password: record.password,
            revision,
        };
        self.users.insert(record.name, Arc::new(user));
    }

    /// Removes every permission and topic permission of the users and virtual hosts that `concerned` selects.
    fn remove_permissions(&self, concerned: impl Fn(&str, &str) -> bool) -> Vec<Change> {
        let grants = self.permissions.grants();
        let mut changes: Vec<_> = grants
            .filter(|(user, vhost, _)| concerned(user, vhost))
            .map(|(user, vhost, _)| Change::RemovePermission {
                user: user.clone(),
                vhost: vhost.clone(),
            })
            .collect();
        changes.extend(self.remove_topic_permissions(|user, vhost, _| concerned(user, vhost)));
        changes
    }

    fn remove_topic_permissions(
        &self,
        concerned: impl Fn(&str, &str, &str) -> bool,
    ) -> Vec<Change> {
        let topics = self.permissions.topics();
        topics
            .filter(|(user, vhost, exchange, _)| concerned(user, vhost, exchange))
            .map(|(user, vhost, exchange, _)| Change::RemoveTopicPermission {
                user: user.clone(),
                vhost: vhost.clone(),
                exchange: exchange.clone(),
            })
            .collect()
    }

    fn remove_secrets(&self, concerned: impl Fn(&Secret) -> bool) -> Vec<Change> {
        let ids: BTreeSet<&Name> = self
            .secrets
            .values()
            .filter(|secret| concerned(secret))
            .map(|secret| &secret.id)
            .collect();
        ids.into_iter()
            .map(|id| Change::RemoveSecret(id.clone()))
            .collect()
    }
}

fn damaged(invalid: InvalidPattern) -> DefinitionError {
    DefinitionError::Pattern(invalid.pattern)
}
