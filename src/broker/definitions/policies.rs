//! The records of policies and operator policies. Pure encoding.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::kind::Kind;
use super::record::{DefinitionError, NamedRecord};
use crate::model::Name;
use crate::model::policy::{Policy, PolicyDraft, PolicyKind};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::broker) struct PolicyRecord(PolicyFields);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::broker) struct OperatorPolicyRecord(PolicyFields);

/// The fields of both kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::broker) struct PolicyFields {
    vhost: Name,
    name: Name,
    pattern: String,
    apply_to: String,
    definition: Map<String, Value>,
    priority: Number,
}

impl NamedRecord for PolicyRecord {
    const KIND: Kind = Kind::Policy;
    fn names(&self) -> Vec<&str> {
        vec![&self.0.vhost, &self.0.name]
    }
}

impl NamedRecord for OperatorPolicyRecord {
    const KIND: Kind = Kind::OperatorPolicy;
    fn names(&self) -> Vec<&str> {
        vec![&self.0.vhost, &self.0.name]
    }
}

impl PolicyRecord {
    pub(in crate::broker) fn new(vhost: &Name, policy: &Policy) -> PolicyRecord {
        PolicyRecord(PolicyFields::new(vhost, policy))
    }

    pub(in crate::broker) fn fields(&self) -> &PolicyFields {
        &self.0
    }
}

impl OperatorPolicyRecord {
    pub(in crate::broker) fn new(vhost: &Name, policy: &Policy) -> OperatorPolicyRecord {
        OperatorPolicyRecord(PolicyFields::new(vhost, policy))
    }

    pub(in crate::broker) fn fields(&self) -> &PolicyFields {
        &self.0
    }
}

impl PolicyFields {
    fn new(vhost: &Name, policy: &Policy) -> PolicyFields {
        PolicyFields {
            vhost: vhost.clone(),
            name: policy.name().clone(),
            pattern: policy.pattern().to_owned(),
            apply_to: policy.apply_to().as_str().to_owned(),
            definition: policy.definition().clone(),
            priority: policy.priority().clone(),
        }
    }

    pub(in crate::broker) fn vhost(&self) -> &Name {
        &self.vhost
    }

    pub(in crate::broker) fn policy(&self, kind: PolicyKind) -> Result<Policy, DefinitionError> {
        let draft = PolicyDraft {
            name: self.name.clone(),
            pattern: self.pattern.clone().into(),
            apply_to: Some(self.apply_to.clone().into()),
            definition: Value::Object(self.definition.clone()),
            priority: Some(Value::Number(self.priority.clone())),
        };
        Policy::new(kind, draft).map_err(|error| DefinitionError::Damaged {
            key: self.name.to_string(),
            reason: error.to_string(),
        })
    }
}
