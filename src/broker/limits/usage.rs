//! Live counts of connections and channels, which limits bound.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::limit::{LimitReached, UserLimits, VhostLimits, reached};
use crate::model::Name;

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
pub(super) struct Usage {
    counts: Mutex<Counts>,
}

impl Usage {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    /// Counts a connection unless a limit is reached. RabbitMQ checks the virtual host first.
    pub(super) fn open_connection(
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

/// Counts one connection and its channels until it is dropped.
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

    /// Stops counting a channel.
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
}
