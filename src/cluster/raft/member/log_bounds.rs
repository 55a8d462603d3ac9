//! Keeps the log within its bounds.

use std::time::Duration;

use openraft::{Instant, RaftMetrics};
use tracing::debug;

use super::super::purge::{KeptLog, LiveMember, LogBounds, purge_upto};
use super::super::types::{Group, store_index};
use super::{Core, Member};
use crate::store::{Journal, Replica, StoreError};

/// A member that was heard within this time counts as live.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

impl<R: Replica + Journal> Member<R> {
    /// Purges what the log has beyond its bounds.
    pub(super) async fn look_at_log(&self, raft: &Core<R>, metrics: &RaftMetrics<Group>) {
        let Ok(Some(upto)) = self.purge_due(metrics) else {
            return; // a store that has failed purges later
        };
        // Raft purges only what it knows to be in a snapshot. Building one costs nothing here.
        let purged = match store_index(metrics.snapshot.as_ref()) >= upto {
            true => raft.trigger().purge_log(upto - 1).await,
            false => raft.trigger().snapshot().await,
        };
        if let Err(failure) = purged {
            debug!(%failure, "the log is purged later");
        }
    }

    fn purge_due(&self, metrics: &RaftMetrics<Group>) -> Result<Option<u64>, StoreError> {
        let (_, kept) = self.store.kept_entries()?;
        let bounds = match self.options.keep_log_bytes {
            Some(keep_bytes) => LogBounds::keeping(keep_bytes),
            None => LogBounds::of_room(self.store.free_bytes().map(|free| free + kept)),
        };
        // Not for every entry.
        if kept <= bounds.keep_bytes + bounds.keep_bytes / 16 {
            return Ok(None);
        }
        let state = self.store.replica_state()?;
        let log = KeptLog {
            purged: state.purged.index,
            applied: state.applied.index,
            excess: self.store.excess_upto(bounds.keep_bytes)?,
            excess_for_live: self.store.excess_upto(bounds.keep_for_live_bytes)?,
        };
        Ok(purge_upto(log, &self.live_members(metrics)))
    }

    /// The other members that this leader hears; none if it does not lead.
    fn live_members(&self, metrics: &RaftMetrics<Group>) -> Vec<LiveMember> {
        let snapshots = self.sendings.entries();
        let heard = metrics.heartbeat.iter().flatten();
        let live = heard.filter(|(id, at)| {
            let is_heard = at.is_some_and(|at| at.elapsed() < LIVE_WITHIN);
            is_heard && **id != self.options.this.id
        });
        let members = live.map(|(id, _)| {
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?);
            LiveMember {
                matched: store_index(matched.as_ref()),
                snapshot: snapshots.get(id).copied(),
            }
        });
        members.collect()
    }
}
