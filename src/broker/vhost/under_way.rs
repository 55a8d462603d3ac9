//! From a proposal to its conclusion: claims are taken, records written, the changes applied when these are durable, and
//! proposals that had to wait for that are decided again.

use std::pin::pin;
use std::sync::{Arc, Weak};

use super::Vhost;
use super::change::Change;
use super::claims::{ClaimSet, Claims, Hold, Subject};
use super::propose::{Decision, Valid, View};
use crate::broker::definitions::proposal::{Commit, Outcome, Proposal};
use crate::broker::definitions::record::Records;
use crate::broker::error::BrokerError;
use crate::broker::exchange::Exchange;
use crate::broker::queue::{Counts, Queue};
use crate::broker::routing::Routing;
use crate::store::StoreFailed;

/// The changes under way.
#[derive(Default)]
pub(super) struct Changes {
    /// The virtual host is deleted, or is being deleted.
    deleted: bool,
    claims: Claims,
    /// Queues that are being created.
    coming_queues: usize,
}

/// What came of deleting a queue.
enum Deletion {
    /// A change that is under way has to be concluded first.
    Wait,
    /// It was deleted before, or its numbers spoke against it.
    No,
    UnderWay(Counts, Commit),
}

impl Vhost {
    /// Applies changes, at the start as later.
    pub(super) fn apply(&self, changes: Vec<Change<Arc<Queue>>>) {
        self.change_routing(|routing| {
            for change in changes {
                change.apply(routing);
            }
        });
    }

    /// Has `decide` look at the definitions until no change that is under way is in its way, then commits what it comes
    /// to, and returns its answer when that is applied.
    pub(super) async fn change<T>(
        &self,
        decide: impl FnMut(&View<'_, Arc<Queue>>) -> Result<Decision<Arc<Queue>, T>, BrokerError>,
    ) -> Result<T, BrokerError> {
        let (proposal, answer) = self.propose(decide).await?;
        proposal.commit(&self.shared.committer).await?;
        Ok(answer)
    }

    pub(super) async fn propose<T>(
        &self,
        mut decide: impl FnMut(&View<'_, Arc<Queue>>) -> Result<Decision<Arc<Queue>, T>, BrokerError>,
    ) -> Result<(Proposal, T), BrokerError> {
        loop {
            let mut concluded = pin!(self.concluded.notified());
            concluded.as_mut().enable();
            if let Some(proposed) = self.try_propose(&mut decide)? {
                return Ok(proposed);
            }
            concluded.await;
        }
    }

    /// `None` if a change that is under way has to be concluded first.
    fn try_propose<T>(
        &self,
        decide: impl FnOnce(&View<'_, Arc<Queue>>) -> Result<Decision<Arc<Queue>, T>, BrokerError>,
    ) -> Result<Option<(Proposal, T)>, BrokerError> {
        let mut changes = self.changes.lock();
        if changes.deleted {
            return Err(BrokerError::VhostNotFound(self.name.clone()));
        }
        let decision = decide(&self.view(&changes, &self.routing()))?;
        Ok(match decision {
            Decision::Wait => None,
            Decision::Nothing(answer) => Some((Proposal::none(), answer)),
            Decision::Change(valid) => Some(self.proposal(&mut changes, valid)),
        })
    }

    fn view<'a>(
        &'a self,
        changes: &'a Changes,
        routing: &'a Routing<Arc<Queue>>,
    ) -> View<'a, Arc<Queue>> {
        View {
            vhost: &self.name,
            routing,
            claims: &changes.claims,
            coming_queues: changes.coming_queues,
            limits: self.shared.limits.of_vhost(&self.name),
        }
    }

    /// Takes the claims of a valid change.
    fn proposal<T>(&self, changes: &mut Changes, valid: Valid<Arc<Queue>, T>) -> (Proposal, T) {
        changes.claims.take(&valid.claims);
        changes.coming_queues += new_queues(&valid.changes).count();
        let mut records = Records::default();
        for change in &valid.changes {
            change.write(&self.name, &mut records);
        }
        let me = Weak::clone(&self.me);
        let (claims, made) = (valid.claims, valid.changes);
        let proposal = Proposal::new(records, move |outcome| {
            if let Some(me) = me.upgrade() {
                me.conclude(outcome, &claims, made);
            }
        });
        (proposal, valid.answer)
    }

    /// Applies a change if it was committed, and lets others go on.
    fn conclude(&self, outcome: Outcome, claims: &ClaimSet, made: Vec<Change<Arc<Queue>>>) {
        {
            let mut changes = self.changes.lock();
            changes.coming_queues -= new_queues(&made).count();
            match outcome {
                Outcome::Committed => self.apply_now(made),
                Outcome::Abandoned => self.put_back(made),
            }
            changes.claims.release(claims);
        }
        self.concluded.notify_waiters();
    }

    /// Applies changes while clients are there: queues work from now on, and heed other settings.
    fn apply_now(&self, made: Vec<Change<Arc<Queue>>>) {
        new_queues(&made).for_each(|queue| queue.start());
        let overrides: Vec<_> = made
            .iter()
            .filter_map(|change| match change {
                Change::SetOverrides { queue, overrides } => {
                    Some((Arc::clone(queue), overrides.clone()))
                }
                Change::PutExchange { .. }
                | Change::RemoveExchange(_)
                | Change::PutQueue(_)
                | Change::RemoveQueue(_)
                | Change::PutBinding(_)
                | Change::RemoveBinding(_) => None,
            })
            .collect();
        self.apply(made);
        for (queue, overrides) in overrides {
            queue.reconfigure(overrides);
            queue.tick();
        }
    }

    /// An exchange by name, when no change of it is under way.
    pub async fn exchange_concluded(&self, name: &str) -> Option<Arc<Exchange>> {
        let mut claim = ClaimSet::default();
        claim.add(Subject::Exchange(name.into()), Hold::Shared);
        loop {
            let mut concluded = pin!(self.concluded.notified());
            concluded.as_mut().enable();
            if self.changes.lock().claims.admit(&claim) {
                return self.exchange(name);
            }
            concluded.await;
        }
    }

    /// Deletes a queue with its bindings and messages, if `only_if` agrees to its numbers as they are then. Returns these
    /// numbers when that is durable; `None` if `only_if` does not agree, or if the queue was deleted before.
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

    /// A queue ends at once: it takes no message any more and is found by nobody. Its definition goes when that is
    /// durable.
    fn try_delete(&self, queue: &Arc<Queue>, only_if: impl FnOnce(&Counts) -> bool) -> Deletion {
        let mut changes = self.changes.lock();
        let decision = self.view(&changes, &self.routing()).delete_queue(queue);
        // One batch, so that after a crash the queue is there with its messages or not at all.
        let _one_batch = match decision {
            Decision::Wait => return Deletion::Wait,
            Decision::Nothing(()) | Decision::Change(_) => self.shared.committer.batch_guard(),
        };
        let Some((counts, _)) = queue.delete(only_if) else {
            return Deletion::No;
        };
        let proposal = match decision {
            Decision::Wait | Decision::Nothing(()) => Proposal::none(),
            Decision::Change(valid) => {
                self.change_routing(|routing| routing.remove_queue(queue.name()));
                self.proposal(&mut changes, valid).0
            }
        };
        Deletion::UnderWay(counts, proposal.write(&self.shared.committer))
    }

    /// Empties the virtual host for good, with `others` in the same batch. `None` if that was done before, or is being
    /// done.
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

    /// Gives the proposal back if a change that is under way has to be concluded first.
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
            // None: it deletes itself right now.
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

    /// A deletion was not committed: the queues have ended, but are still defined.
    fn put_back(&self, made: Vec<Change<Arc<Queue>>>) {
        self.change_routing(|routing| {
            for change in made {
                if let Change::RemoveQueue(queue) = change {
                    routing.insert_queue(queue.name().clone(), queue);
                }
            }
        });
    }
}

fn new_queues(changes: &[Change<Arc<Queue>>]) -> impl Iterator<Item = &Arc<Queue>> {
    changes.iter().filter_map(|change| match change {
        Change::PutQueue(queue) => Some(queue),
        Change::PutExchange { .. }
        | Change::RemoveExchange(_)
        | Change::SetOverrides { .. }
        | Change::RemoveQueue(_)
        | Change::PutBinding(_)
        | Change::RemoveBinding(_) => None,
    })
}
