//! The way of a change from its proposal to its conclusion: takes claims, writes records, applies the change when they
//! are durable, and makes waiting proposals decide again.

use std::pin::pin;
use std::sync::{Arc, Weak};

use super::change::Change;
use super::changes::Changes;
use super::claims::{ClaimSet, Hold, Subject};
use super::host::Vhost;
use super::policies::alternate_of;
use super::propose::{Decision, Valid, View};
use crate::broker::definitions::proposal::{Outcome, Proposal};
use crate::broker::definitions::record::Records;
use crate::broker::error::BrokerError;
use crate::broker::exchange::Exchange;
use crate::broker::queue::Queue;
use crate::broker::routing::Routing;
use crate::broker::stats::Churn;

impl Vhost {
    /// Applies changes, at the start and later.
    pub(super) fn apply(&self, changes: Vec<Change<Arc<Queue>>>) {
        self.change_routing(|routing| {
            for change in changes {
                let put = match &change {
                    Change::PutExchange { exchange, .. } => Some(Arc::clone(exchange)),
                    Change::RemoveExchange(_)
                    | Change::PutQueue(_)
                    | Change::SetOverrides { .. }
                    | Change::RemoveQueue(_)
                    | Change::PutBinding(_)
                    | Change::RemoveBinding(_) => None,
                };
                change.apply(routing);
                if let Some(exchange) = put {
                    // Under the lock, so that a later change of the policies finds the exchange.
                    let alternate = alternate_of(&exchange, self.policies.read().set());
                    routing.set_alternate(&exchange.name, alternate);
                }
            }
        });
    }

    /// Calls `decide` with the definitions until no contradicting change is under way, commits its decision,
    /// and returns its answer when that is applied.
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

    /// `None` if a contradicting change is under way.
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

    pub(super) fn view<'a>(
        &'a self,
        changes: &'a Changes,
        routing: &'a Routing<Arc<Queue>>,
    ) -> View<'a, Arc<Queue>> {
        View {
            vhost: &self.name,
            routing,
            claims: &changes.claims,
            coming_queues: changes.coming_queues.len(),
            limits: self.shared.limits.of_vhost(&self.name),
        }
    }

    /// Takes the claims of a valid change.
    pub(super) fn proposal<T>(
        &self,
        changes: &mut Changes,
        valid: Valid<Arc<Queue>, T>,
    ) -> (Proposal, T) {
        changes.claims.take(&valid.claims);
        let coming = new_queues(&valid.changes).map(|queue| queue.name().clone());
        changes.coming_queues.extend(coming);
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

    /// Applies a change if it was committed, and releases its claims.
    fn conclude(&self, outcome: Outcome, claims: &ClaimSet, made: Vec<Change<Arc<Queue>>>) {
        {
            let mut changes = self.changes.lock();
            for queue in new_queues(&made) {
                changes.coming_queues.remove(queue.name());
            }
            match outcome {
                Outcome::Committed => self.apply_now(made),
                Outcome::Abandoned => self.put_back(made),
            }
            changes.claims.release(claims);
        }
        self.concluded.notify_waiters();
    }

    /// Applies changes in a running broker: starts new queues, and gives queues their new overrides.
    fn apply_now(&self, made: Vec<Change<Arc<Queue>>>) {
        new_queues(&made).for_each(|queue| queue.start());
        self.count_churn(&made);
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
        let new: Vec<_> = new_queues(&made).cloned().collect();
        self.apply(made);
        self.apply_policies_to(&new);
        for (queue, overrides) in overrides {
            queue.set_overrides(overrides);
        }
    }

    fn count_churn(&self, made: &[Change<Arc<Queue>>]) {
        let is_deletion = |change: &&Change<Arc<Queue>>| matches!(change, Change::RemoveQueue(_));
        let deleted = made.iter().filter(is_deletion).count();
        self.shared.stats.churn.add(&Churn {
            queue_created: new_queues(made).count() as u64,
            queue_deleted: deleted as u64,
            ..Churn::default()
        });
    }

    /// An exchange by name, as soon as no change of it is under way.
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

    /// Puts queues with an uncommitted deletion back into the table: they have ended, but are still defined.
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
