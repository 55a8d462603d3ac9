//! Deletes queues, and virtual hosts with everything in them. A queue ends when its deletion is proposed: it checks its
//! counts (`if-empty`, `if-unused`), and no message may come after that. Its definition goes with the commit.

use std::pin::pin;
use std::sync::{Arc, Weak};

use super::change::Change;
use super::claims::ClaimSet;
use super::host::Vhost;
use super::propose::{Decision, Valid};
use crate::broker::definitions::proposal::{Commit, Outcome, Proposal};
use crate::broker::definitions::record::Records;
use crate::broker::queue::{Counts, Queue};
use crate::store::StoreFailed;

/// The result of trying to delete a queue.
enum Deletion {
    /// A contradicting change is under way.
    Wait,
    /// It was deleted before, or the caller refused its counts.
    No,
    UnderWay(Counts, Commit),
}

impl Vhost {
    /// Deletes a queue with its bindings and messages if `only_if` is true for its counts. Returns these counts when the
    /// deletion is durable; `None` if `only_if` is false, or if the queue was deleted before.
    pub async fn delete_queue(
        &self,
        queue: &Arc<Queue>,
        only_if: impl FnOnce(&Counts) -> bool,
    ) -> Result<Option<Counts>, StoreFailed> {
        let mut only_if = Some(only_if);
        loop {
            let mut concluded = pin!(self.concluded.notified());
            concluded.as_mut().enable();
            let deletion = self.try_delete(queue, |counts| {
                only_if.take().is_some_and(|only_if| only_if(counts))
            });
            match deletion {
                Deletion::Wait => concluded.await,
                Deletion::No => return Ok(None),
                Deletion::UnderWay(counts, commit) => {
                    commit.applied().await?;
                    return Ok(Some(counts));
                }
            }
        }
    }

    /// Deletes a queue without waiting for the disk.
    pub(in crate::broker) fn delete_soon(&self, queue: &Arc<Queue>, only_if: fn(&Counts) -> bool) {
        match (self.try_delete(queue, only_if), self.me.upgrade()) {
            (Deletion::UnderWay(_, commit), _) => commit.in_background(),
            (Deletion::Wait, Some(me)) => {
                let queue = Arc::clone(queue);
                tokio::spawn(async move { me.delete_queue(&queue, only_if).await });
            }
            (Deletion::Wait, None) | (Deletion::No, _) => {}
        }
    }

    /// Ends a queue: it takes no message any more, and is not found by its name. Its definition goes when that is durable.
    fn try_delete(&self, queue: &Arc<Queue>, only_if: impl FnOnce(&Counts) -> bool) -> Deletion {
        let mut changes = self.changes.lock();
        let decision = self.view(&changes, &self.routing()).delete_queue(queue);
        let (proposal, is_defined) = match decision {
            Decision::Wait => return Deletion::Wait,
            Decision::Nothing(()) => (Proposal::none(), false),
            Decision::Change(valid) => (self.proposal(&mut changes, valid).0, true),
        };
        // One batch, so that a crash leaves the queue with its messages, or neither. Held briefly: the committer waits.
        let one_batch = self.shared.committer.batch_guard();
        let Some((counts, _)) = queue.delete(only_if) else {
            drop(one_batch);
            // The proposal is abandoned, which takes the lock.
            drop(changes);
            return Deletion::No;
        };
        let commit = proposal.write(&self.shared.committer);
        drop(one_batch);
        if is_defined {
            self.change_routing(|routing| routing.remove_queue(queue.name()));
        }
        Deletion::UnderWay(counts, commit)
    }

    /// Deletes everything in the virtual host, with `others` in the same batch. `None` if that was done before, or is under
    /// way.
    pub(in crate::broker) async fn delete(
        &self,
        others: Proposal,
    ) -> Option<Result<(), StoreFailed>> {
        if std::mem::replace(&mut self.changes.lock().deleted, true) {
            return None;
        }
        let me = Weak::clone(&self.me);
        let reopen = Proposal::new(Records::default(), move |outcome| {
            if let (Outcome::Abandoned, Some(me)) = (outcome, me.upgrade()) {
                me.changes.lock().deleted = false;
            }
        });
        let mut others = others.and(reopen);
        loop {
            let mut concluded = pin!(self.concluded.notified());
            concluded.as_mut().enable();
            others = match self.try_empty(others) {
                Ok(commit) => return Some(commit.applied().await),
                Err(others) => others,
            };
            concluded.await;
        }
    }

    /// Returns the proposal if other changes are under way.
    fn try_empty(&self, others: Proposal) -> Result<Commit, Proposal> {
        let mut changes = self.changes.lock();
        if !changes.claims.is_empty() {
            return Err(others);
        }
        let _one_batch = self.shared.committer.batch_guard();
        let (queues, made) = {
            let routing = self.routing();
            let exchanges = routing.exchanges().cloned().map(Change::RemoveExchange);
            let bindings = routing.bindings().cloned().map(Change::RemoveBinding);
            let queues: Vec<_> = routing.queues().cloned().collect();
            let gone = queues.iter().cloned().map(Change::RemoveQueue);
            let made = exchanges.chain(bindings).chain(gone).collect();
            (queues, made)
        };
        for queue in &queues {
            // `None` if it deletes itself now.
            queue.delete(|_| true);
        }
        self.change_routing(|routing| {
            queues
                .iter()
                .for_each(|queue| routing.remove_queue(queue.name()));
        });
        let valid = Valid {
            changes: made,
            claims: ClaimSet::default(),
            answer: (),
        };
        let (contents, ()) = self.proposal(&mut changes, valid);
        Ok(others.and(contents).write(&self.shared.committer))
    }
}
