//! Which policies of a virtual host apply to a queue or exchange.

use std::sync::Arc;

use super::apply_to::Target;
use super::validated::Policy;
use crate::model::Name;

/// The policy and the operator policy that apply to a queue or exchange.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    pub policy: Option<Arc<Policy>>,
    pub operator_policy: Option<Arc<Policy>>,
}

impl Applied {
    pub fn is_empty(&self) -> bool {
        self.policy.is_none() && self.operator_policy.is_none()
    }

    /// The name of the policy.
    pub fn policy_name(&self) -> Option<&Name> {
        self.policy.as_deref().map(Policy::name)
    }

    pub fn operator_policy_name(&self) -> Option<&Name> {
        self.operator_policy.as_deref().map(Policy::name)
    }
}

/// All policies of a virtual host, in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// Grows with every change.
    version: u64,
    policies: Vec<Arc<Policy>>,
    operator_policies: Vec<Arc<Policy>>,
}

impl PolicySet {
    pub fn new(
        version: u64,
        policies: impl IntoIterator<Item = Arc<Policy>>,
        operator_policies: impl IntoIterator<Item = Arc<Policy>>,
    ) -> PolicySet {
        PolicySet {
            version,
            policies: in_order(policies),
            operator_policies: in_order(operator_policies),
        }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// The policy and operator policy of highest priority that match; of equal priority the first by name.
    pub fn applied_to(&self, name: &str, target: Target) -> Applied {
        let first = |policies: &[Arc<Policy>]| {
            let mut policies = policies.iter();
            policies
                .find(|policy| policy.matches(name, target))
                .cloned()
        };
        Applied {
            policy: first(&self.policies),
            operator_policy: first(&self.operator_policies),
        }
    }
}

/// Highest priority first, then by name.
fn in_order(policies: impl IntoIterator<Item = Arc<Policy>>) -> Vec<Arc<Policy>> {
    let mut policies: Vec<_> = policies.into_iter().collect();
    let priority = |policy: &Policy| policy.priority().as_f64().unwrap_or(0.0);
    policies.sort_by(|a, b| {
        priority(b)
            .total_cmp(&priority(a))
            .then_with(|| a.name().cmp(b.name()))
    });
    policies
}
