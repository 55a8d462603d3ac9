//! What policies and operator policies have in common: their JSON, and reading and changing them.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::broker::error::BrokerError;
use crate::broker::policies::PolicyError;
use crate::broker::vhost::Vhost;
use crate::management::api::Api;
use crate::management::caller::Caller;
use crate::management::error::ApiError;
use crate::management::json::required;
use crate::management::listing::{self, ListQuery, Row};
use crate::model::Name;
use crate::model::policy::{Policy, PolicyDraft, PolicyKind};

/// A policy or operator policy.
#[derive(Serialize, ToSchema)]
pub(super) struct PolicyJson {
    vhost: String,
    name: String,
    /// Matches the names of queues and exchanges.
    pattern: String,
    #[serde(rename = "apply-to")]
    apply_to: &'static str,
    definition: Map<String, Value>,
    /// The policy with the highest one applies.
    #[schema(value_type = f64)]
    priority: serde_json::Number,
    /// Keys that this broker accepts for RabbitMQ's sake only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    without_effect: Vec<String>,
}

pub(super) struct PolicyRow {
    vhost: Name,
    policy: Arc<Policy>,
}

impl Row for PolicyRow {
    type Json = PolicyJson;

    fn json(&self) -> PolicyJson {
        let policy = &self.policy;
        PolicyJson {
            vhost: self.vhost.to_string(),
            name: policy.name().to_string(),
            pattern: policy.pattern().to_owned(),
            apply_to: policy.apply_to().as_str(),
            definition: policy.definition().clone(),
            priority: policy.priority().clone(),
            without_effect: policy
                .without_effect()
                .into_iter()
                .map(str::to_owned)
                .collect(),
        }
    }

    fn vhost(&self) -> &str {
        &self.vhost
    }

    fn name(&self) -> &str {
        self.policy.name()
    }
}

/// A policy to set.
#[derive(Deserialize, ToSchema)]
#[schema(example = json!({"pattern": "^orders", "definition": {"max-length": 1000}, "apply-to": "queues"}))]
pub(super) struct PolicyBody {
    #[schema(value_type = String, required = true)]
    pattern: Option<Value>,
    #[schema(value_type = Map<String, Value>, required = true)]
    definition: Option<Value>,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    #[serde(rename = "apply-to")]
    #[schema(value_type = Option<String>)]
    apply_to: Option<Value>,
    #[schema(value_type = Option<i64>)]
    priority: Option<Value>,
}

/// Answers with the policies of some virtual hosts.
pub(super) async fn list(
    kind: PolicyKind,
    vhosts: Vec<Arc<Vhost>>,
    query: &ListQuery,
) -> Result<Response, ApiError> {
    let of_vhost = |vhost: Arc<Vhost>| {
        let policies = vhost.policies(kind).into_iter();
        policies.map(move |policy| PolicyRow {
            vhost: vhost.name().clone(),
            policy,
        })
    };
    let rows = vhosts.into_iter().flat_map(of_vhost).collect();
    listing::list(query, rows).await
}

/// Answers with one policy.
pub(super) fn get(
    kind: PolicyKind,
    vhost: &Vhost,
    name: &str,
    query: &ListQuery,
) -> Result<Response, ApiError> {
    let policy = vhost.policy(kind, name).ok_or(ApiError::NotFound)?;
    let row = PolicyRow {
        vhost: vhost.name().clone(),
        policy,
    };
    listing::object(query, &row.json())
}

/// Sets a policy.
pub(super) async fn put(
    kind: PolicyKind,
    api: &Api,
    caller: &Caller,
    (vhost, name): (String, String),
    body: PolicyBody,
) -> Result<StatusCode, ApiError> {
    if api.broker.vhost(&vhost).is_none() {
        return Err(BrokerError::VhostNotFound(vhost.as_str().into()).into());
    }
    let vhost = caller.vhost(api, &vhost)?;
    let draft = PolicyDraft {
        name: name.as_str().into(),
        pattern: required(body.pattern, "pattern")?,
        definition: required(body.definition, "definition")?,
        apply_to: body.apply_to,
        priority: body.priority,
    };
    let exists = vhost.policy(kind, &name).is_some();
    vhost.set_policy(kind, draft).await?;
    match exists {
        true => Ok(StatusCode::NO_CONTENT),
        false => Ok(StatusCode::CREATED),
    }
}

/// Clears a policy.
pub(super) async fn delete(
    kind: PolicyKind,
    api: &Api,
    caller: &Caller,
    (vhost, name): (String, String),
) -> Result<StatusCode, ApiError> {
    let vhost = caller.vhost(api, &vhost)?;
    vhost.clear_policy(kind, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<PolicyError> for ApiError {
    fn from(error: PolicyError) -> ApiError {
        match error {
            PolicyError::Invalid(_) | PolicyError::TooMany { .. } => {
                ApiError::BadRequest(error.to_string())
            }
            PolicyError::NotFound => ApiError::NotFound,
            PolicyError::VhostNotFound(vhost) => BrokerError::VhostNotFound(vhost).into(),
            PolicyError::Store(failed) => failed.into(),
        }
    }
}
