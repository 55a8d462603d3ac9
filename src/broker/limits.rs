//! Limits per user and per virtual host, and the live counts they are held against. What a refusal means to a
//! client is the front door's business.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::{Deserialize, Serialize};

use super::access_records::{DefinitionError, Record, VhostLimitsRecord};
use crate::model::Name;
use crate::store::{Committer, Op, StoreFailed};

/// What an operator has limited for one user. Negative means no limit, as in RabbitMQ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserLimits {
    /// Channels open at once, over all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<i64>,
    /// Connections open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
}

/// What an operator has limited for one virtual host. Negative means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VhostLimits {
    /// Connections open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Queues that exist at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_queues: Option<i64>,
}

/// A limit that has been reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitReached {
    /// No connection more in the virtual host.
    #[error(
        "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
    )]
    VhostConnections {
        /// The virtual host.
        vhost: Name,
        /// Who asked.
        user: Name,
        /// The limit.
        limit: i64,
    },
    /// No connection more for the user.
    #[error("connection refused for user '{user}': user connection limit ({limit}) is reached")]
    UserConnections {
        /// The user.
        user: Name,
        /// The limit.
        limit: i64,
    },
    /// No channel more for the user.
    #[error(
        "number of channels opened for user '{user}' has reached the maximum allowed user limit of ({limit})"
    )]
    UserChannels {
        /// The user.
        user: Name,
        /// The limit.
        limit: i64,
    },
    /// No queue more in the virtual host.
    #[error("cannot declare queue '{queue}': queue limit in vhost '{vhost}' ({limit}) is reached")]
    VhostQueues {
        /// The queue that was to be declared.
        queue: Name,
        /// The virtual host.
        vhost: Name,
        /// The limit.
        limit: i64,
    },
}

/// The limit if `count` things are already as many as it allows.
fn reached(limit: Option<i64>, count: usize) -> Option<i64> {
    limit.filter(|&limit| limit >= 0 && i64::try_from(count).unwrap_or(i64::MAX) >= limit)
}

#[derive(Debug, Default)]
struct Counts {
    users: HashMap<Name, UserCount>,
    vhosts: HashMap<Name, usize>,
}

#[derive(Debug, Default)]
struct UserCount {
    connections: usize,
    channels: usize,
}

/// Live counts of connections and channels.
#[derive(Debug, Default)]
struct Usage {
    counts: Mutex<Counts>,
}

impl Usage {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    /// Counts a connection, unless a limit is reached. RabbitMQ looks at the virtual host first.
    fn open_connection(
        self: &Arc<Self>,
        user: &Name,
        user_limits: &UserLimits,
        vhost: &Name,
        vhost_limits: &VhostLimits,
    ) -> Result<ConnectionPermit, LimitReached> {
        let mut counts = self.lock();
        if let Some(limit) = reached(
            vhost_limits.max_connections,
            counts.vhosts.get(vhost).copied().unwrap_or(0),
        ) {
            return Err(LimitReached::VhostConnections {
                vhost: vhost.clone(),
                user: user.clone(),
                limit,
            });
        }
        let of_user = counts.users.get(user).map_or(0, |count| count.connections);
        if let Some(limit) = reached(user_limits.max_connections, of_user) {
            return Err(LimitReached::UserConnections {
                user: user.clone(),
                limit,
            });
        }
        *counts.vhosts.entry(vhost.clone()).or_default() += 1;
        counts.users.entry(user.clone()).or_default().connections += 1;
        Ok(ConnectionPermit {
            usage: Arc::clone(self),
            user: user.clone(),
            vhost: vhost.clone(),
            channels: 0,
        })
    }
}

/// The place of one connection in the counts; it and its channels leave them when it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    usage: Arc<Usage>,
    user: Name,
    vhost: Name,
    channels: usize,
}

impl ConnectionPermit {
    /// Counts a channel, unless the user's limit is reached.
    pub fn open_channel(&mut self, limits: &UserLimits) -> Result<(), LimitReached> {
        let mut counts = self.usage.lock();
        let count = counts.users.entry(self.user.clone()).or_default();
        if let Some(limit) = reached(limits.max_channels, count.channels) {
            return Err(LimitReached::UserChannels {
                user: self.user.clone(),
                limit,
            });
        }
        count.channels += 1;
        self.channels += 1;
        Ok(())
    }

    /// Counts a channel no more.
    pub fn close_channel(&mut self) {
        if self.channels > 0 {
            self.channels -= 1;
            if let Some(count) = self.usage.lock().users.get_mut(&self.user) {
                count.channels = count.channels.saturating_sub(1);
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.usage.lock();
        if let Some(count) = counts.users.get_mut(&self.user) {
            count.connections = count.connections.saturating_sub(1);
            count.channels = count.channels.saturating_sub(self.channels);
            if count.connections == 0 {
                counts.users.remove(&self.user);
            }
        }
        if let Some(count) = counts.vhosts.get_mut(&self.vhost) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.vhosts.remove(&self.vhost);
            }
        }
    }
}

/// Limits of virtual hosts, durable through the committer, and what is open now.
pub struct Limits {
    vhosts: RwLock<BTreeMap<Name, VhostLimits>>,
    usage: Arc<Usage>,
    committer: Arc<Committer>,
}

impl Limits {
    /// The limits that the committer's store holds.
    pub fn open(committer: Arc<Committer>) -> Result<Limits, DefinitionError> {
        let records = VhostLimitsRecord::load(&**committer.store())?;
        let vhosts = records
            .into_iter()
            .map(|record| (record.vhost, record.limits))
            .collect();
        Ok(Limits {
            vhosts: RwLock::new(vhosts),
            usage: Arc::default(),
            committer,
        })
    }

    /// The limits of a virtual host, as of now.
    pub fn of_vhost(&self, vhost: &str) -> VhostLimits {
        self.vhosts.read().get(vhost).copied().unwrap_or_default()
    }

    /// All virtual hosts that have limits, ordered.
    pub fn list(&self) -> Vec<(Name, VhostLimits)> {
        let vhosts = self.vhosts.read();
        vhosts
            .iter()
            .map(|(vhost, limits)| (vhost.clone(), *limits))
            .collect()
    }

    /// Replaces the limits of a virtual host, which the caller knows to exist.
    pub async fn set(&self, vhost: &str, limits: VhostLimits) -> Result<(), StoreFailed> {
        let ticket = {
            let mut vhosts = self.vhosts.write();
            vhosts.insert(vhost.into(), limits);
            self.committer.append(vec![
                VhostLimitsRecord {
                    vhost: vhost.into(),
                    limits,
                }
                .put(),
            ])
        };
        self.committer.wait(ticket).await
    }

    /// Removes the limits of a virtual host; whether there were any.
    pub async fn clear(&self, vhost: &str) -> Result<bool, StoreFailed> {
        let ops = self.forget_vhost(vhost);
        if ops.is_empty() {
            return Ok(false);
        }
        let ticket = self.committer.append(ops);
        self.committer.wait(ticket).await.map(|()| true)
    }

    /// Forgets the limits of a virtual host. The changes are for the batch that deletes the virtual host.
    pub fn forget_vhost(&self, vhost: &str) -> Vec<Op> {
        let mut vhosts = self.vhosts.write();
        vhosts
            .remove(vhost)
            .map(|_| VhostLimitsRecord::remove(&[vhost]))
            .into_iter()
            .collect()
    }

    /// Counts a connection of `user`, whose limits are given, to `vhost`, unless a limit is reached.
    pub fn open_connection(
        &self,
        user: &Name,
        user_limits: &UserLimits,
        vhost: &Name,
    ) -> Result<ConnectionPermit, LimitReached> {
        self.usage
            .open_connection(user, user_limits, vhost, &self.of_vhost(vhost))
    }
}

impl VhostLimits {
    /// Whether `vhost`, which has `existing` queues, may have `queue` as well.
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

    fn limits(connections: i64, channels: i64) -> UserLimits {
        UserLimits {
            max_connections: Some(connections),
            max_channels: Some(channels),
        }
    }

    #[test]
    fn connections_are_counted_per_user_and_vhost() {
        let usage = Arc::new(Usage::default());
        let (user, vhost) = (Name::from("u"), Name::from("/"));
        let open = |user_limit, vhost_limit| {
            let vhost_limits = VhostLimits {
                max_connections: Some(vhost_limit),
                max_queues: None,
            };
            usage.open_connection(&user, &limits(user_limit, -1), &vhost, &vhost_limits)
        };
        assert!(matches!(
            open(0, -1),
            Err(LimitReached::UserConnections { limit: 0, .. })
        ));
        assert!(matches!(
            open(0, 0),
            Err(LimitReached::VhostConnections { limit: 0, .. })
        ));
        let first = open(2, 2).unwrap();
        let second = open(2, -1).unwrap();
        assert!(matches!(
            open(2, -1),
            Err(LimitReached::UserConnections { limit: 2, .. })
        ));
        assert!(matches!(
            open(-1, 2),
            Err(LimitReached::VhostConnections { limit: 2, .. })
        ));
        drop(first);
        let third = open(2, 2).unwrap();
        drop((second, third));
        assert!(
            usage.lock().users.is_empty() && usage.lock().vhosts.is_empty(),
            "nothing is left behind"
        );
    }

    #[test]
    fn channels_are_counted_over_connections() {
        let usage = Arc::new(Usage::default());
        let open = || {
            usage.open_connection(
                &"u".into(),
                &UserLimits::default(),
                &"/".into(),
                &VhostLimits::default(),
            )
        };
        let (mut a, mut b) = (open().unwrap(), open().unwrap());
        a.open_channel(&limits(-1, 2)).unwrap();
        b.open_channel(&limits(-1, 2)).unwrap();
        assert!(matches!(
            b.open_channel(&limits(-1, 2)),
            Err(LimitReached::UserChannels { limit: 2, .. })
        ));
        a.close_channel();
        a.close_channel();
        b.open_channel(&limits(-1, 2)).unwrap();
        assert!(
            a.open_channel(&limits(-1, 2)).is_err(),
            "closing twice gave nothing back twice"
        );
        drop(b);
        a.open_channel(&limits(-1, 2)).unwrap();
    }

    #[tokio::test]
    async fn vhost_limits_survive_a_restart() {
        let store = Arc::new(crate::store::MemoryStore::new());
        let open = || {
            Limits::open(Committer::start(store.clone(), crate::store::Limits::default()).unwrap())
                .unwrap()
        };
        let limits = open();
        let two = VhostLimits {
            max_connections: Some(2),
            max_queues: None,
        };
        limits.set("v", two).await.unwrap();
        limits.set("w", two).await.unwrap();
        assert!(limits.clear("w").await.unwrap() && !limits.clear("w").await.unwrap());
        limits.committer.shutdown();
        let limits = open();
        assert_eq!(limits.list(), [("v".into(), two)]);
        assert_eq!(limits.of_vhost("w"), VhostLimits::default());
        let permit = || limits.open_connection(&"u".into(), &UserLimits::default(), &"v".into());
        let _open = (permit().unwrap(), permit().unwrap());
        assert!(permit().is_err());
    }

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
