//! Sets and clears policies, and applies them to queues and exchanges: to new ones as they are created, and to all after a
//! change, in pieces, so that messages and declarations go on.

use std::convert::Infallible;
use std::sync::Arc;

use super::host::Vhost;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::exchange::{ALTERNATE_EXCHANGE, Exchange};
use crate::broker::policies::{Change, PolicyError, PolicyTable};
use crate::broker::queue::Queue;
use crate::model::Name;
use crate::model::effective::{Setting, SettingSource};
use crate::model::policy::{Applied, Policy, PolicyDraft, PolicyKind, PolicySet, Target};
use crate::store::StoreFailed;

/// Number of queues or exchanges that a change of policies looks at between two yields.
const PIECE: usize = 32;

impl Vhost {
    /// All policies or operator policies, ordered by name.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.policies.read().of(kind).values().cloned().collect()
    }

    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<Policy>> {
        self.policies.read().of(kind).get(name).cloned()
    }

    /// Sets a policy, in place of one with its name. When this returns, the policy is durable and all queues and exchanges
    /// follow it. Returns it; [`Policy::without_effect`] lists keys that change nothing.
    ///
    /// # Errors
    /// If the policy is not valid, or if the virtual host is deleted.
    pub async fn set_policy(
        &self,
        kind: PolicyKind,
        draft: PolicyDraft,
    ) -> Result<Arc<Policy>, PolicyError> {
        let name = draft.name.clone();
        let policy = Policy::new(kind, draft)?;
        let set = Arc::new(policy.clone());
        self.change_policies(move |table| table.propose_put(kind, policy))
            .await?;
        let without = set.without_effect().join(", ");
        if !without.is_empty() {
            tracing::warn!(vhost = %self.name, policy = %name, "keys of the policy that have no effect: {without}");
        }
        Ok(set)
    }

    /// Clears a policy. When this returns, that is durable and no queue or exchange follows it.
    ///
    /// # Errors
    /// If there is no such policy, or if the virtual host is deleted.
    pub async fn clear_policy(&self, kind: PolicyKind, name: &str) -> Result<(), PolicyError> {
        let name = Name::from(name);
        self.change_policies(move |table| table.propose_remove(kind, &name))
            .await
    }

    /// Proposes to forget the policies of this virtual host, which is being deleted.
    pub(in crate::broker) async fn propose_forget_policies(&self) -> Proposal {
        let proposed = self
            .policies
            .propose(|table| Ok::<_, Infallible>((table.propose_forget(), ())));
        let Ok((proposal, ())) = proposed.await;
        proposal
    }

    /// The policies that apply to an exchange.
    pub fn exchange_policies(&self, exchange: &Exchange) -> Applied {
        self.policy_set()
            .applied_to(&exchange.name, Target::Exchange)
    }

    /// The values that hold for an exchange, with their sources.
    pub fn exchange_settings(&self, exchange: &Exchange) -> Vec<Setting> {
        let applied = self.exchange_policies(exchange);
        let setting = |value: Name, source| Setting {
            key: ALTERNATE_EXCHANGE,
            value: (*value).into(),
            source,
        };
        let argument = exchange.alternate();
        let argument = argument.map(|value| setting(value, SettingSource::Argument));
        let policy = || {
            let source = SettingSource::Policy(applied.policy_name()?.clone());
            Some(setting(applied.alternate_exchange()?, source))
        };
        argument.or_else(policy).into_iter().collect()
    }

    pub(super) fn policy_set(&self) -> Arc<PolicySet> {
        Arc::clone(self.policies.read().set())
    }

    /// Applies a policy that a start has read.
    pub(in crate::broker) fn restore_policy(&self, kind: PolicyKind, policy: Policy) {
        self.policies
            .restore(Change::Put(kind, self.name.clone(), Arc::new(policy)));
    }

    /// Makes a change durable and applies it, even if the caller goes away meanwhile.
    async fn change_policies(
        &self,
        decide: impl FnOnce(&PolicyTable) -> Result<Vec<Change>, PolicyError> + Send + 'static,
    ) -> Result<(), PolicyError> {
        let gone = || PolicyError::VhostNotFound(self.name.clone());
        let me = self.me.upgrade().ok_or_else(gone)?;
        let change = async move {
            let decide = |table: &PolicyTable| {
                let changes = decide(table)?;
                let is_changed = !changes.is_empty();
                Ok::<_, PolicyError>((changes, is_changed))
            };
            if me.policies.change(decide).await? {
                me.apply_policies().await;
            }
            Ok(())
        };
        match tokio::spawn(change).await {
            Ok(changed) => changed,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The broker stops.
                Err(_) => Err(PolicyError::Store(StoreFailed)),
            },
        }
    }

    /// Applies the policies to everything there is. What is created meanwhile looks at the policies again when it becomes
    /// visible, and each later change calls this again.
    pub(in crate::broker) async fn apply_policies(&self) {
        for queues in self.queues().chunks(PIECE) {
            let set = self.policy_set();
            for queue in queues {
                queue.apply_policies(&set);
            }
            tokio::task::yield_now().await;
        }
        for exchanges in self.exchanges().chunks(PIECE) {
            self.set_alternates(exchanges);
            tokio::task::yield_now().await;
        }
    }

    /// Applies the policies to queues that have become visible, if a change came between.
    pub(super) fn apply_policies_to(&self, queues: &[Arc<Queue>]) {
        let set = self.policy_set();
        for queue in queues {
            queue.apply_policies(&set);
        }
    }

    /// Sets the alternate exchanges, as arguments and policies have them now.
    pub(super) fn set_alternates(&self, exchanges: &[Arc<Exchange>]) {
        loop {
            let set = self.policy_set();
            let alternates: Vec<_> = exchanges
                .iter()
                .map(|exchange| (exchange, alternate_of(exchange, &set)))
                .collect();
            let differs = {
                let routing = self.routing();
                alternates
                    .iter()
                    .any(|(of, alternate)| routing.alternate(&of.name) != alternate.as_ref())
            };
            if !differs {
                return;
            }
            let is_current = self.change_routing(|routing| {
                let is_current = self.policies.read().set().version() == set.version();
                if is_current {
                    for (exchange, alternate) in alternates {
                        // One that was deleted and declared again has its own already.
                        let current = routing.exchange(&exchange.name);
                        if current.is_some_and(|current| Arc::ptr_eq(current, exchange)) {
                            routing.set_alternate(&exchange.name, alternate);
                        }
                    }
                }
                is_current
            });
            if is_current {
                return;
            }
        }
    }
}

/// The alternate exchange of an exchange: its argument, or else its policy's.
pub(super) fn alternate_of(exchange: &Exchange, set: &PolicySet) -> Option<Name> {
    let of_policy = || {
        set.applied_to(&exchange.name, Target::Exchange)
            .alternate_exchange()
    };
    exchange.alternate().or_else(of_policy)
}
