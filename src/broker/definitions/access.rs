//! The records of users, permissions and limits. Pure encoding.

use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::record::NamedRecord;
use crate::broker::limits::{UserLimits, VhostLimits};
use crate::broker::password::PasswordHash;
use crate::model::Name;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct UserRecord {
    pub(in crate::broker) name: Name,
    pub(in crate::broker) tags: Vec<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::broker) password: Option<PasswordHash>,
    #[serde(default)]
    pub(in crate::broker) limits: UserLimits,
}

/// The three patterns of a user in a virtual host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct PermissionRecord {
    pub(in crate::broker) user: Name,
    pub(in crate::broker) vhost: Name,
    pub(in crate::broker) configure: Name,
    pub(in crate::broker) write: Name,
    pub(in crate::broker) read: Name,
}

/// The patterns of a user on a topic exchange, with their variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct TopicPermissionRecord {
    pub(in crate::broker) user: Name,
    pub(in crate::broker) vhost: Name,
    pub(in crate::broker) exchange: Name,
    pub(in crate::broker) write: Name,
    pub(in crate::broker) read: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct VhostLimitsRecord {
    pub(in crate::broker) vhost: Name,
    pub(in crate::broker) limits: VhostLimits,
}

impl NamedRecord for UserRecord {
    const KIND: Kind = Kind::User;
    fn names(&self) -> Vec<&str> {
        vec![&self.name]
    }
}

impl NamedRecord for PermissionRecord {
    const KIND: Kind = Kind::Permission;
    fn names(&self) -> Vec<&str> {
        vec![&self.user, &self.vhost]
    }
}

impl NamedRecord for TopicPermissionRecord {
    const KIND: Kind = Kind::TopicPermission;
    fn names(&self) -> Vec<&str> {
        vec![&self.user, &self.vhost, &self.exchange]
    }
}

impl NamedRecord for VhostLimitsRecord {
    const KIND: Kind = Kind::VhostLimits;
    fn names(&self) -> Vec<&str> {
        vec![&self.vhost]
    }
}
