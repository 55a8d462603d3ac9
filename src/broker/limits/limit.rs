//! The limits that an operator sets, and the refusals when one is reached.

use serde::{Deserialize, Serialize};

use crate::model::Name;

/// An operator's limits for one user. Negative means no limit, as in RabbitMQ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserLimits {
    /// Maximum number of open channels over all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<i64>,
    /// Maximum number of open connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
}

/// An operator's limits for one virtual host. Negative means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VhostLimits {
    /// Maximum number of open connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Maximum number of queues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queues: Option<i64>,
}

/// A limit that has been reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    #[error(
        "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
    )]
    VhostConnections { vhost: Name, user: Name, limit: i64 },
    #[error("connection refused for user '{user}': user connection limit ({limit}) is reached")]
    UserConnections { user: Name, limit: i64 },
    #[error(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
    )]
    UserChannels { user: Name, limit: i64 },
    #[error("cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached")]
    VhostQueues {
        queue: Name,
        vhost: Name,
        limit: i64,
    },
}

/// The limit, if `count` has reached it.
pub(super) fn reached(limit: Option<i64>, count: usize) -> Option<i64> {
    limit.filter(|&limit| limit >= 0 && i64::try_from(count).unwrap_or(i64::MAX) >= limit)
}

impl VhostLimits {
    /// Refuses `queue` if `vhost`, which has `existing` queues, has reached its limit.
    pub fn check_queue(
        &self,
        vhost: &Name,
        queue: &Name,
        existing: usize,
    ) -> Result<(), LimitReached> {
        match reached(self.max_queues, existing) {
            Some(limit) => Err(LimitReached::VhostQueues {
                queue: queue.clone(),
                vhost: vhost.clone(),
                limit,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_held_against_the_vhosts_limit() {
        let limits = VhostLimits {
            max_connections: None,
            max_queues: Some(1),
        };
        assert_eq!(limits.check_queue(&"/".into(), &"q".into(), 0), Ok(()));
        let refused = limits.check_queue(&"/".into(), &"q".into(), 1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot declare queue 'q': queue limit in vhost '/' (1) is reached"
        );
        assert_eq!(
            VhostLimits::default().check_queue(&"/".into(), &"q".into(), usize::MAX),
            Ok(())
        );
    }
}
