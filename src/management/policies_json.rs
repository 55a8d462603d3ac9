//! The policies of a queue or exchange, as its JSON shows them.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::model::policy::Applied;

/// The policies that apply.
#[derive(Serialize, ToSchema)]
pub(super) struct PoliciesJson {
    /// The name of the policy.
    policy: Option<String>,
    /// The name of the operator policy.
    operator_policy: Option<String>,
    /// Both together; of numeric limits the smaller.
    effective_policy_definition: Map<String, Value>,
}

impl PoliciesJson {
    pub(super) fn of(applied: &Applied) -> PoliciesJson {
        let name = |name: Option<&crate::model::Name>| name.map(|name| name.to_string());
        PoliciesJson {
            policy: name(applied.policy_name()),
            operator_policy: name(applied.operator_policy_name()),
            effective_policy_definition: applied.definition().unwrap_or_default(),
        }
    }
}
