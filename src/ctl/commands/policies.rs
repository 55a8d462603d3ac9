//! Policies and operator policies: set, clear, list.

use std::sync::Arc;

use serde_json::Value;

use super::lookup::{vhost, vhost_exists};
use crate::broker::policies::PolicyError;
use crate::ctl::context::Context;
use crate::ctl::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply, rows};
use crate::ctl::protocol::{Cell, Request};
use crate::model::json_term;
use crate::model::policy::{Policy, PolicyDraft, PolicyKind, Target};

pub(super) async fn set(ctx: &Context, request: &Request, kind: PolicyKind) -> Outcome {
    let definition: Value = serde_json::from_str(request.arg(2)).map_err(|_| {
        let text = format!(
            "Could not parse JSON document: {{error,{{failed_to_decode_json,{}}}}}",
            json_term(&request.arg(2).into())
        );
        Failure::error(EX_UNAVAILABLE, text)
    })?;
    let option = |name| request.options.get(name).map(String::as_str);
    let draft = PolicyDraft {
        name: request.arg(0).into(),
        pattern: request.arg(1).into(),
        apply_to: option("apply-to").map(Value::from),
        definition,
        priority: option("priority")
            .and_then(|text| text.parse::<i64>().ok())
            .map(Value::from),
    };
    vhost_exists(ctx, request.vhost())?;
    let vhost = vhost(ctx, request).ok_or(PolicyError::VhostNotFound(request.vhost().into()))?;
    let policy = vhost.set_policy(kind, draft).await?;
    Ok(match policy.without_effect() {
        without if without.is_empty() => Reply::Done,
        without => Reply::Message(format!(
            "Keys that have no effect in Leveret: {}",
            without.join(", ")
        )),
    })
}

pub(super) async fn clear(ctx: &Context, request: &Request, kind: PolicyKind) -> Outcome {
    let vhost = vhost(ctx, request).ok_or(PolicyError::NotFound)?;
    vhost.clear_policy(kind, request.arg(0)).await?;
    Ok(Reply::Done)
}

/// Lists policies, the lowest priority first.
pub(super) fn list(ctx: &Context, request: &Request, kind: PolicyKind) -> Outcome {
    let vhost_name = request.vhost();
    vhost_exists(ctx, vhost_name)?;
    let policies = vhost(ctx, request).map(|vhost| vhost.policies(kind));
    let mut policies = policies.unwrap_or_default();
    policies.sort_by(|a, b| {
        let priority = |number: &serde_json::Number| number.as_f64().unwrap_or(0.0);
        priority(a.priority()).total_cmp(&priority(b.priority()))
    });
    listed(vhost_name, &policies)
}

/// Lists the policies that match a queue or exchange, the one that applies first.
pub(super) fn list_that_match(ctx: &Context, request: &Request) -> Outcome {
    let name = request.arg(0);
    vhost_exists(ctx, request.vhost())?;
    let vhost = vhost(ctx, request).ok_or(PolicyError::VhostNotFound(request.vhost().into()))?;
    let found = match request.options.get("object-type").map(String::as_str) {
        None | Some("queue") => {
            let queue = vhost.queue(name);
            queue.map(|queue| Target::Queue(queue.spec().arguments.kind))
        }
        Some("exchange") => vhost.exchange(name).map(|_| Target::Exchange),
        Some(other) => {
            let text = format!("Bad argument: object type '{other}' is not queue or exchange");
            return Err(Failure::error(EX_DATAERR, text));
        }
    };
    let mut policies = vhost.policies(PolicyKind::User);
    policies.retain(|policy| found.is_some_and(|target| policy.matches(name, target)));
    policies.sort_by(|a, b| {
        let priority = |number: &serde_json::Number| number.as_f64().unwrap_or(0.0);
        priority(b.priority()).total_cmp(&priority(a.priority()))
    });
    match policies.is_empty() {
        true => Ok(Reply::Report {
            text: String::new(),
            json: serde_json::json!([]),
        }),
        false => listed(request.vhost(), &policies),
    }
}

fn listed(vhost: &str, policies: &[Arc<Policy>]) -> Outcome {
    let cells = policies.iter().map(|policy| {
        let definition = Value::Object(policy.definition().clone());
        let priority = policy.priority();
        vec![
            Cell::from(vhost),
            (**policy.name()).into(),
            policy.pattern().into(),
            policy.apply_to().as_str().into(),
            definition.to_string().into(),
            priority.as_i64().map_or_else(
                || Cell::Float(priority.as_f64().unwrap_or(0.0)),
                Cell::Integer,
            ),
        ]
    });
    let columns = [
        "vhost",
        "name",
        "pattern",
        "apply-to",
        "definition",
        "priority",
    ];
    rows(&columns, cells.collect())
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Failure {
        Failure::error(EX_UNAVAILABLE, error)
    }
}
