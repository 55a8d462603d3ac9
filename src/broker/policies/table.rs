//! The policies and operator policies of one virtual host.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::PolicyError;
use crate::broker::definitions::Kind;
use crate::broker::definitions::policies::{OperatorPolicyRecord, PolicyRecord};
use crate::broker::definitions::record::{Identity, Records};
use crate::broker::definitions::table::Table;
use crate::model::Name;
use crate::model::policy::{Policy, PolicyKind, PolicySet};

/// Maximum number of policies, and of operator policies, in a virtual host. Each change matches all queues with them.
const POLICIES_MAX: usize = 4096;

/// All policies by name.
pub(in crate::broker) struct PolicyTable {
    vhost: Name,
    policies: BTreeMap<Name, Arc<Policy>>,
    operator_policies: BTreeMap<Name, Arc<Policy>>,
    set: Arc<PolicySet>,
    /// The virtual host is deleted.
    is_forgotten: bool,
}

/// One change of them, with the name of the virtual host.
pub(in crate::broker) enum Change {
    Put(PolicyKind, Name, Arc<Policy>),
    Remove(PolicyKind, Name, Name),
    /// The end of the virtual host, with the policies that go with it.
    Forget(Name, Vec<(PolicyKind, Name)>),
}

impl Table for PolicyTable {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::Put(PolicyKind::User, vhost, policy) => {
                records.put(&PolicyRecord::new(vhost, policy));
            }
            Change::Put(PolicyKind::Operator, vhost, policy) => {
                records.put(&OperatorPolicyRecord::new(vhost, policy));
            }
            Change::Remove(kind, vhost, name) => remove(records, *kind, vhost, name),
            Change::Forget(vhost, policies) => {
                for (kind, name) in policies {
                    remove(records, *kind, vhost, name);
                }
            }
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(kind, _, policy) => {
                let name = policy.name().clone();
                self.of_mut(kind).insert(name, policy);
            }
            Change::Remove(kind, _, name) => {
                self.of_mut(kind).remove(&name);
            }
            Change::Forget(..) => {
                self.policies.clear();
                self.operator_policies.clear();
                self.is_forgotten = true;
            }
        }
        self.set = Arc::new(PolicySet::new(
            self.set.version() + 1,
            self.policies.values().cloned(),
            self.operator_policies.values().cloned(),
        ));
    }
}

impl PolicyTable {
    pub(in crate::broker) fn new(vhost: Name) -> PolicyTable {
        PolicyTable {
            vhost,
            policies: BTreeMap::new(),
            operator_policies: BTreeMap::new(),
            set: Arc::default(),
            is_forgotten: false,
        }
    }

    /// By name.
    pub(in crate::broker) fn of(&self, kind: PolicyKind) -> &BTreeMap<Name, Arc<Policy>> {
        match kind {
            PolicyKind::User => &self.policies,
            PolicyKind::Operator => &self.operator_policies,
        }
    }

    fn of_mut(&mut self, kind: PolicyKind) -> &mut BTreeMap<Name, Arc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.policies,
            PolicyKind::Operator => &mut self.operator_policies,
        }
    }

    /// The policies in the order in which they are tried.
    pub(in crate::broker) fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// Sets a policy; no change if the same one is set.
    pub(in crate::broker) fn propose_put(
        &self,
        kind: PolicyKind,
        policy: Policy,
    ) -> Result<Vec<Change>, PolicyError> {
        self.check_vhost()?;
        let policies = self.of(kind);
        match policies.get(policy.name()) {
            Some(existing) if **existing == policy => return Ok(Vec::new()),
            None if policies.len() >= POLICIES_MAX => {
                return Err(PolicyError::TooMany {
                    component: match kind {
                        PolicyKind::User => "policy",
                        PolicyKind::Operator => "operator_policy",
                    },
                    max: POLICIES_MAX,
                });
            }
            Some(_) | None => {}
        }
        Ok(vec![Change::Put(
            kind,
            self.vhost.clone(),
            Arc::new(policy),
        )])
    }

    pub(in crate::broker) fn propose_remove(
        &self,
        kind: PolicyKind,
        name: &str,
    ) -> Result<Vec<Change>, PolicyError> {
        self.check_vhost()?;
        let (name, _) = self
            .of(kind)
            .get_key_value(name)
            .ok_or(PolicyError::NotFound)?;
        Ok(vec![Change::Remove(kind, self.vhost.clone(), name.clone())])
    }

    /// Forgets all policies, and refuses further ones.
    pub(in crate::broker) fn propose_forget(&self) -> Vec<Change> {
        let of = |kind| self.of(kind).keys().map(move |name| (kind, name.clone()));
        let all = of(PolicyKind::User).chain(of(PolicyKind::Operator));
        vec![Change::Forget(self.vhost.clone(), all.collect())]
    }

    fn check_vhost(&self) -> Result<(), PolicyError> {
        match self.is_forgotten {
            true => Err(PolicyError::VhostNotFound(self.vhost.clone())),
            false => Ok(()),
        }
    }
}

fn remove(records: &mut Records, kind: PolicyKind, vhost: &str, name: &str) {
    let kind = match kind {
        PolicyKind::User => Kind::Policy,
        PolicyKind::Operator => Kind::OperatorPolicy,
    };
    records.remove(kind, &Identity::of_names(&[vhost, name]));
}
