//! Permissions and topic permissions of users: checks and changes.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use super::registry::Users;
use super::user::UserError;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::permissions::{
    AccessRefused, Grant, Permission, PermissionTable, ResourceKind, TopicGrant,
};
use crate::model::Name;

impl Users {
    /// Changes with every change of a permission: earlier decisions are stale then.
    pub fn permission_epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Whether `user` has permissions in `vhost` and so may open it.
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

    /// Gives a user permissions in a virtual host, which the caller knows to exist.
    pub async fn set_permissions(
        &self,
        user: &str,
        vhost: &str,
        [configure, write, read]: [&str; 3],
    ) -> Result<(), UserError> {
        let grant = Grant::new(configure, write, read)?;
        self.change(|access| access.propose_permission(user, vhost, grant))
            .await
    }

    /// Sets permissions of users in virtual hosts, which the caller knows to exist; all in one commit.
    pub async fn put_permissions(
        &self,
        permissions: Vec<(Name, Name, Grant)>,
    ) -> Result<(), UserError> {
        self.change(|access| {
            let mut changes = Vec::new();
            for (user, vhost, grant) in permissions {
                changes.extend(access.propose_permission(&user, &vhost, grant)?);
            }
            Ok(changes)
        })
        .await
    }

    /// Removes a user's permissions in a virtual host.
    pub async fn clear_permissions(&self, user: &str, vhost: &str) -> Result<(), UserError> {
        self.change(|access| Ok(access.propose_clear_permission(user, vhost)))
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
        self.change(|access| access.propose_topic_permission(user, vhost, exchange, topic))
            .await
    }

    /// Sets topic permissions, as user, virtual host, exchange and patterns; all in one commit.
    pub async fn put_topic_permissions(
        &self,
        permissions: Vec<(Name, Name, Name, TopicGrant)>,
    ) -> Result<(), UserError> {
        self.change(|access| {
            let mut changes = Vec::new();
            for (user, vhost, exchange, topic) in permissions {
                changes.extend(access.propose_topic_permission(&user, &vhost, &exchange, topic)?);
            }
            Ok(changes)
        })
        .await
    }

    /// Removes the restrictions on one topic exchange, or on all of a virtual host.
    pub async fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Result<(), UserError> {
        self.change(|access| Ok(access.propose_clear_topic_permissions(user, vhost, exchange)))
            .await
    }

    /// Proposes to forget all permissions and keys in a virtual host that is being deleted.
    pub(in crate::broker) async fn propose_forget_vhost(&self, vhost: &str) -> Proposal {
        let proposed = self
            .access
            .propose(|access| Ok::<_, Infallible>((access.propose_forget_vhost(vhost), ())));
        let Ok((proposal, ())) = proposed.await;
        proposal
    }

    /// Reads the permission tables: every grant and topic permission, in order.
    pub fn with_permissions<T>(&self, read: impl FnOnce(&PermissionTable) -> T) -> T {
        read(&self.access().permissions)
    }
}
