//! The durable limits of all virtual hosts, and the live counts that they bound.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use super::limit::{LimitReached, UserLimits, VhostLimits};
use super::usage::{ConnectionPermit, Usage};
use crate::broker::definitions::Kind;
use crate::broker::definitions::access::VhostLimitsRecord;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::definitions::record::{DefinitionError, Identity, Record, Records};
use crate::broker::definitions::table::{Serialised, Table};
use crate::model::Name;
use crate::store::{Committer, StoreFailed};

/// Limits by virtual host.
#[derive(Default)]
struct ByVhost(BTreeMap<Name, VhostLimits>);

enum Change {
    Put(Name, VhostLimits),
    Remove(Name),
}

impl Table for ByVhost {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::Put(vhost, limits) => records.put(&VhostLimitsRecord {
                vhost: vhost.clone(),
                limits: *limits,
            }),
            Change::Remove(vhost) => {
                records.remove(Kind::VhostLimits, &Identity::of_names(&[vhost]));
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(vhost, limits) => self.0.insert(vhost, limits),
            Change::Remove(vhost) => self.0.remove(&vhost),
        };
    }
}

impl ByVhost {
    /// Changes some limits of a virtual host. One without limits has no entry.
    fn propose_change(&self, vhost: &str, change: impl FnOnce(&mut VhostLimits)) -> Vec<Change> {
        let known = self.0.get(vhost);
        let mut limits = known.copied().unwrap_or_default();
        change(&mut limits);
        match known {
            Some(known) if *known == limits => Vec::new(),
            Some(_) if limits == VhostLimits::default() => vec![Change::Remove(vhost.into())],
            None if limits == VhostLimits::default() => Vec::new(),
            Some(_) | None => vec![Change::Put(vhost.into(), limits)],
        }
    }

    /// Removes the limits of a virtual host; whether there are any.
    fn propose_clear(&self, vhost: &str) -> (Vec<Change>, bool) {
        let known = self.0.get_key_value(vhost);
        let changes: Vec<_> = known
            .map(|(vhost, _)| Change::Remove(vhost.clone()))
            .into_iter()
            .collect();
        let any = !changes.is_empty();
        (changes, any)
    }
}

/// The limits of virtual hosts, and the connections that are open.
pub struct Limits {
    vhosts: Serialised<ByVhost>,
    usage: Arc<Usage>,
}

impl Limits {
    /// The limits that the committer's store holds.
    pub fn open(committer: Arc<Committer>) -> Result<Limits, DefinitionError> {
        let mut vhosts = ByVhost::default();
        for VhostLimitsRecord { vhost, limits } in VhostLimitsRecord::load(&**committer.store())? {
            vhosts.apply(Change::Put(vhost, limits));
        }
        Ok(Limits {
            vhosts: Serialised::new(vhosts, committer),
            usage: Arc::default(),
        })
    }

    /// The limits of a virtual host, as of now.
    pub fn of_vhost(&self, vhost: &str) -> VhostLimits {
        let vhosts = self.vhosts.read();
        vhosts.0.get(vhost).copied().unwrap_or_default()
    }

    /// All virtual hosts that have limits, ordered.
    pub fn list(&self) -> Vec<(Name, VhostLimits)> {
        let vhosts = self.vhosts.read();
        vhosts
            .0
            .iter()
            .map(|(vhost, limits)| (vhost.clone(), *limits))
            .collect()
    }

    /// Replaces the limits of a virtual host, which the caller knows to exist.
    pub async fn set(&self, vhost: &str, limits: VhostLimits) -> Result<(), StoreFailed> {
        let put = Change::Put(vhost.into(), limits);
        self.vhosts.change(|_| Ok((vec![put], ()))).await
    }

    /// Changes some limits of a virtual host, which the caller knows to exist.
    pub async fn change(
        &self,
        vhost: &str,
        change: impl FnOnce(&mut VhostLimits),
    ) -> Result<(), StoreFailed> {
        self.vhosts
            .change(|vhosts| Ok((vhosts.propose_change(vhost, change), ())))
            .await
    }

    /// Removes the limits of a virtual host; whether there were any.
    pub async fn clear(&self, vhost: &str) -> Result<bool, StoreFailed> {
        self.vhosts
            .change(|vhosts| Ok(vhosts.propose_clear(vhost)))
            .await
    }

    /// Proposes limits for virtual hosts that are being added.
    pub(in crate::broker) async fn propose_put(
        &self,
        limits: Vec<(Name, VhostLimits)>,
    ) -> Proposal {
        let put = |(vhost, limits)| Change::Put(vhost, limits);
        let changes = limits.into_iter().map(put).collect();
        let proposed = self.vhosts.propose(|_| Ok::<_, Infallible>((changes, ())));
        let Ok((proposal, ())) = proposed.await;
        proposal
    }

    /// Proposes to forget the limits of a virtual host that is being deleted.
    pub(in crate::broker) async fn propose_forget_vhost(&self, vhost: &str) -> Proposal {
        let proposed = self
            .vhosts
            .propose(|vhosts| Ok::<_, Infallible>(vhosts.propose_clear(vhost)));
        let Ok((proposal, _)) = proposed.await;
        proposal
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn vhost_limits_survive_a_restart() {
        let store = Arc::new(crate::store::MemoryStore::new());
        let start = || Committer::start(store.clone(), crate::store::Limits::default()).unwrap();
        let committer = start();
        let limits = Limits::open(Arc::clone(&committer)).unwrap();
        let two = VhostLimits {
            max_connections: Some(2),
            max_queues: None,
        };
        limits.set("v", two).await.unwrap();
        limits.set("w", two).await.unwrap();
        assert!(limits.clear("w").await.unwrap() && !limits.clear("w").await.unwrap());
        committer.shutdown();
        let limits = Limits::open(start()).unwrap();
        assert_eq!(limits.list(), [("v".into(), two)]);
        assert_eq!(limits.of_vhost("w"), VhostLimits::default());
        let permit = || limits.open_connection(&"u".into(), &UserLimits::default(), &"v".into());
        let _open = (permit().unwrap(), permit().unwrap());
        assert!(permit().is_err());
    }
}
