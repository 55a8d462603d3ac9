//! Keeps the log within its bounds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use openraft::{Instant, RaftMetrics};
use tracing::debug;

use super::super::purge::{KeptLog, LiveMember, LogBounds, purge_upto};
use super::super::runtime;
use super::super::types::{Group, store_index};
use super::{Core, Member};
use crate::store::{Journal, Replica, StoreError};

/// A member that was heard within this time counts as live.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

impl<R: Replica + Journal> Member<R> {
    /// Purges what the log has beyond its bounds, in a task of its own: a disk that has stalled must not hold up the
    /// judging.
    pub(super) fn look_at_log(self: &Arc<Member<R>>, raft: &Core<R>, metrics: &RaftMetrics<Group>) {
        if self.looks_at_log.swap(true, Ordering::AcqRel) {
            return;
        }
        let (member, raft) = (Arc::clone(self), raft.clone());
        let live = self.live_members(metrics);
        let known = store_index(metrics.snapshot.as_ref());
        let look = async move {
            let (store, keep_bytes) = (member.store.clone(), member.options.keep_log_bytes);
            let due = runtime::blocking(move || purge_due(&*store, keep_bytes, &live)).await;
            // A store that has failed purges later.
            if let Ok(Ok(Some(upto))) = due {
                purge(&raft, known, upto).await;
            }
            member.looks_at_log.store(false, Ordering::Release);
        };
        drop(Group::spawn(look));
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

/// Purges up to this entry. Raft does so only with what it knows to be in a snapshot. Building one costs nothing here.
async fn purge<R: Replica>(raft: &Core<R>, known: u64, upto: u64) {
    let purged = match known >= upto {
        true => raft.trigger().purge_log(upto - 1).await,
        false => raft.trigger().snapshot().await,
    };
    if let Err(failure) = purged {
        debug!(%failure, "the log is purged later");
    }
}

fn purge_due<R: Replica + Journal>(
    store: &R,
    keep_bytes: Option<u64>,
    live: &[LiveMember],
) -> Result<Option<u64>, StoreError> {
    let (_, kept) = store.kept_entries()?;
    let bounds = match keep_bytes {
        Some(keep_bytes) => LogBounds::keeping(keep_bytes),
        None => LogBounds::of_room(store.free_bytes().map(|free| free + kept)),
    };
    // Not for every entry.
    if kept <= bounds.keep_bytes + bounds.keep_bytes / 16 {
        return Ok(None);
    }
    let state = store.replica_state()?;
    let log = KeptLog {
        purged: state.purged.index,
        applied: state.applied.index,
        excess: store.excess_upto(bounds.keep_bytes)?,
        excess_for_live: store.excess_upto(bounds.keep_for_live_bytes)?,
    };
    Ok(purge_upto(log, live))
}
