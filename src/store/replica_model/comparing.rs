//! Compares what a start of a store on disk has found with what it may find.

use super::ReplicaModel;
use super::contents::{Entries, id_at, position};
use crate::store::{EntryId, Proposal, ReplicaState};

impl ReplicaModel {
    /// Whether this entry may be on the disk.
    pub(crate) fn may_have(&self, entry: &(EntryId, Proposal)) -> bool {
        let contents = self.0.lock();
        contents.log.contains(entry) || contents.outcomes().iter().flatten().any(|it| it == entry)
    }

    /// Takes what a start has found after a crash, or says why no start may find it. `found` are the kept entries.
    pub(crate) fn started_with(
        &self,
        state: &ReplicaState,
        found: &Entries,
        lost_power: bool,
    ) -> Result<(), String> {
        let mut contents = self.0.lock();
        let base = state.purged.index;
        let fits = |log: &Entries| log.get(position(base)..) == Some(&found[..]);
        let outcomes = contents.outcomes();
        let log = outcomes.iter().find(|log| fits(log)).cloned();
        let log = log.ok_or_else(|| {
            let ids = |log: &Entries| {
                let ids = log
                    .iter()
                    .map(|(id, _)| format!("{}.{}", id.term, id.index));
                ids.collect::<Vec<_>>().join(" ")
            };
            format!(
                "{} after {base}, from synced {} with {:?}",
                ids(found),
                ids(&contents.synced),
                contents.changes
            )
        })?;
        let mut majorities = contents.majorities.clone();
        majorities.push(contents.majority);
        let is_known = |majority: &EntryId| id_at(&log, majority.index) == *majority;
        let known = majorities.iter().filter(|it| is_known(it));
        let upto = known.map(|it| it.index).max().unwrap_or(0);
        let from = match lost_power {
            true => contents.checkpointed,
            false => contents.applied.max(if is_known(&contents.majority) {
                contents.majority.index
            } else {
                0
            }),
        };
        let applied = state.applied;
        if applied.index < from.min(contents.checkpointed)
            || applied.index > upto.max(contents.applied)
        {
            return Err(format!("{applied:?} is applied, {from} to {upto} may be"));
        }
        if base > contents.purged + 1 || id_at(&log, applied.index) != applied {
            return Err(format!("begins after {base}, {applied:?} is applied"));
        }
        if state.vote != contents.vote {
            return Err(format!("{:?} and not {:?}", state.vote, contents.vote));
        }
        contents.applied = applied.index;
        contents.purged = base;
        contents.majorities.clear();
        contents.majority = id_at(&log, state.majority);
        let is_longer = |it: &Entries| it.len() > log.len() && it.starts_with(&log);
        contents.forgotten = outcomes.into_iter().filter(is_longer).collect();
        contents.start(log);
        Ok(())
    }
}
