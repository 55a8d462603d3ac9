//! What users may do in virtual hosts: permissions and topic permissions, asked and changed.

use std::sync::atomic::Ordering;

use super::{UserError, Users};
use crate::broker::access_records::{GrantRecord, Record, TopicRecord};
use crate::broker::permissions::{
    AccessRefused, Grant, Permission, PermissionTable, ResourceKind, TopicGrant,
};
use crate::model::Name;
use crate::store::Op;

impl Users {
    /// Changes with every change of a permission: decisions made before are stale then.
    pub fn permission_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether `user` has permissions in `vhost`, and so may open it.
    pub fn may_enter(&self, user: &str, vhost: &str) -> bool {
        self.access().permissions.grant(user, vhost).is_some()
    }

    /// Whether `user` has `permission` on the resource. The default exchange goes by
    /// [`crate::broker::permissions::DEFAULT_EXCHANGE`].
    pub fn allows(&self, user: &str, vhost: &str, permission: Permission, name: &str) -> bool {
        self.access()
            .permissions
            .allows(user, vhost, permission, name)
    }

    /// As [`Users::allows`], with the refusal in words.
    pub fn check(
        &self,
        user: &Name,
        vhost: &Name,
        permission: Permission,
        kind: ResourceKind,
        name: &str,
    ) -> Result<(), AccessRefused> {
        if self.allows(user, vhost, permission, name) {
            return Ok(());
        }
        Err(AccessRefused::Resource {
            permission,
            kind,
            name: name.into(),
            vhost: vhost.clone(),
            user: user.clone(),
        })
    }

    /// Whether `user` may use `routing_key` on a topic exchange: write to publish, read to bind.
    pub fn check_topic(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: &str,
        permission: Permission,
        routing_key: &str,
    ) -> Result<(), AccessRefused> {
        self.check_topics(user, vhost, exchange, permission, [routing_key])
    }

    /// As [`Users::check_topic`], for each of several keys. The refusal names the first one refused.
    pub fn check_topics<'a>(
        &self,
        user: &Name,
        vhost: &Name,
        exchange: &str,
        permission: Permission,
        routing_keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), AccessRefused> {
        let access = self.access();
        let refused =
            access
                .permissions
                .refused_topic(user, vhost, exchange, permission, routing_keys);
        match refused {
            None => Ok(()),
            Some(topic) => Err(AccessRefused::Topic {
                permission,
                topic: topic.into(),
                exchange: exchange.into(),
                vhost: vhost.clone(),
                user: user.clone(),
            }),
        }
    }

    /// Lets a user enter a virtual host, which the caller knows to exist, and do there what the patterns say.
    pub async fn set_permissions(
        &self,
        user: &str,
        vhost: &str,
        [configure, write, read]: [&str; 3],
    ) -> Result<(), UserError> {
        let grant = Grant::new(configure, write, read)?;
        self.change(|access, ops| {
            access.known(user)?;
            ops.push(
                GrantRecord {
                    user: user.into(),
                    vhost: vhost.into(),
                    configure: configure.into(),
                    write: write.into(),
                    read: read.into(),
                }
                .put(),
            );
            access.permissions.set(user.into(), vhost.into(), grant);
            Ok(())
        })
        .await
    }

    /// Takes a user's permissions in a virtual host away.
    pub async fn clear_permissions(&self, user: &str, vhost: &str) -> Result<(), UserError> {
        self.change(|access, ops| {
            if access.permissions.clear(user, vhost) {
                ops.push(GrantRecord::remove(&[user, vhost]));
            }
            Ok(())
        })
        .await
    }

    /// Restricts the routing keys that a user may use on a topic exchange.
    pub async fn set_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: &str,
        [write, read]: [&str; 2],
    ) -> Result<(), UserError> {
        let topic = TopicGrant::new(write, read, user, vhost)?;
        self.change(|access, ops| {
            access.known(user)?;
            ops.push(
                TopicRecord {
                    user: user.into(),
                    vhost: vhost.into(),
                    exchange: exchange.into(),
                    write: write.into(),
                    read: read.into(),
                }
                .put(),
            );
            access
                .permissions
                .set_topic(user.into(), vhost.into(), exchange.into(), topic);
            Ok(())
        })
        .await
    }

    /// Lifts the restrictions on one topic exchange, or on all of a virtual host.
    pub async fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<(), UserError> {
        self.change(|access, ops| {
            for exchange in access.permissions.clear_topic(user, vhost, exchange) {
                ops.push(TopicRecord::remove(&[user, vhost, &exchange]));
            }
            Ok(())
        })
        .await
    }

    /// Forgets all permissions and keys in a virtual host. The changes are for the batch that deletes the virtual host.
    pub fn forget_vhost(&self, vhost: &str) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut access = self.access_mut();
        access.clear_permissions(|_, own| own == vhost, &mut ops);
        self.secrets
            .remove(|secret| *secret.vhost == *vhost, &mut ops);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        ops
    }

    /// Reads the permission tables: every grant and topic permission, in order.
    pub fn with_permissions<T>(&self, read: impl FnOnce(&PermissionTable) -> T) -> T {
        read(&self.access().permissions)
    }
}
