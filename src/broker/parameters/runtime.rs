//! Parameters of virtual hosts by component, as the commands and paths for parameters see them.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::ParameterError;
use crate::broker::broker::Broker;
use crate::broker::limits::VhostLimits;
use crate::broker::policies::PolicyError;
use crate::broker::vhost::Vhost;
use crate::model::Name;
use crate::model::policy::{Policy, PolicyDraft, PolicyKind};

/// The component of the limits of a virtual host.
pub const VHOST_LIMITS: &str = "vhost-limits";
/// The only name of a parameter of [`VHOST_LIMITS`].
pub const LIMITS: &str = "limits";
/// The component of operator policies.
pub const OPERATOR_POLICY: &str = "operator_policy";
/// The component of dynamic shovels.
pub const SHOVEL: &str = "shovel";
/// The component of policies, which has commands and paths of its own.
const POLICY: &str = "policy";

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeParameter {
    pub vhost: Name,
    pub component: &'static str,
    pub name: Name,
    pub value: Value,
}

/// The components that parameters can be set for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Component {
    OperatorPolicy,
    Shovel,
    VhostLimits,
}

impl Component {
    fn find(name: &str, verb: &'static str) -> Result<Component, ParameterError> {
        match name {
            OPERATOR_POLICY => Ok(Component::OperatorPolicy),
            SHOVEL => Ok(Component::Shovel),
            VHOST_LIMITS => Ok(Component::VhostLimits),
            POLICY => Err(ParameterError::Policy(verb)),
            _ => Err(ParameterError::NoSuchComponent(name.into())),
        }
    }
}

/// All parameters, ordered by virtual host, component and name.
pub fn list(broker: &Broker) -> Vec<RuntimeParameter> {
    let mut parameters = Vec::new();
    for vhost in broker.vhost_list() {
        let policies = vhost.policies(PolicyKind::Operator).into_iter();
        parameters.extend(policies.map(|policy| RuntimeParameter {
            vhost: vhost.name().clone(),
            component: OPERATOR_POLICY,
            name: policy.name().clone(),
            value: operator_policy_value(&policy),
        }));
        let shovels = broker.shovels().of_vhost(vhost.name()).into_iter();
        parameters.extend(shovels.map(|(name, value)| RuntimeParameter {
            vhost: vhost.name().clone(),
            component: SHOVEL,
            name,
            value: Value::clone(&value),
        }));
        let limits = broker.limits().of_vhost(vhost.name());
        if limits != VhostLimits::default() {
            parameters.push(RuntimeParameter {
                vhost: vhost.name().clone(),
                component: VHOST_LIMITS,
                name: LIMITS.into(),
                value: limits.to_json().into(),
            });
        }
    }
    parameters
}

fn operator_policy_value(policy: &Policy) -> Value {
    serde_json::json!({
        "pattern": policy.pattern(),
        "definition": policy.definition(),
        "priority": policy.priority(),
        "apply-to": policy.apply_to().as_str(),
    })
}

/// Sets or replaces a parameter; it is durable when this returns.
pub async fn set(
    broker: &Broker,
    vhost: &str,
    component: &str,
    name: &str,
    value: &Value,
) -> Result<(), ParameterError> {
    match Component::find(component, "set")? {
        Component::OperatorPolicy => {
            let vhost = find_vhost(broker, vhost)?;
            let term = |key| value.get(key).cloned();
            let draft = PolicyDraft {
                name: name.into(),
                pattern: term("pattern").unwrap_or_default(),
                apply_to: term("apply-to"),
                definition: term("definition").unwrap_or_default(),
                priority: term("priority"),
            };
            let set = vhost.set_policy(PolicyKind::Operator, draft).await;
            set.map(drop).map_err(refused)
        }
        Component::Shovel => {
            find_vhost(broker, vhost)?;
            broker.shovels().set(vhost, name, value).await
        }
        Component::VhostLimits => {
            let limits = vhost_limits(name, value).map_err(ParameterError::Invalid)?;
            find_vhost(broker, vhost)?;
            Ok(broker.limits().set(vhost, limits).await?)
        }
    }
}

/// Removes a parameter.
pub async fn clear(
    broker: &Broker,
    vhost: &str,
    component: &str,
    name: &str,
) -> Result<(), ParameterError> {
    let cleared = match Component::find(component, "cleared") {
        Ok(Component::OperatorPolicy) => {
            let vhost = find_vhost(broker, vhost)?;
            let cleared = vhost.clear_policy(PolicyKind::Operator, name).await;
            return cleared.map_err(refused);
        }
        Ok(Component::Shovel) => broker.shovels().clear(vhost, name, None).await?,
        Ok(Component::VhostLimits) if name == LIMITS => broker.limits().clear(vhost).await?,
        // A component that does not exist has no parameters.
        Ok(Component::VhostLimits) | Err(ParameterError::NoSuchComponent(_)) => false,
        Err(error) => return Err(error),
    };
    match cleared {
        true => Ok(()),
        false => Err(ParameterError::NotFound),
    }
}

fn vhost_limits(name: &str, value: &Value) -> Result<VhostLimits, String> {
    if name != LIMITS {
        return Err(format!("the limits of a virtual host are called {LIMITS}"));
    }
    let none = Map::new();
    let terms = match value {
        Value::Object(terms) => terms,
        Value::Array(items) if items.is_empty() => &none,
        other => return Err(format!("{name} not a list {other}")),
    };
    VhostLimits::from_json(terms).map_err(|invalid| invalid.to_string())
}

fn refused(error: PolicyError) -> ParameterError {
    match error {
        PolicyError::NotFound => ParameterError::NotFound,
        PolicyError::VhostNotFound(name) => ParameterError::NoSuchVhost(name),
        PolicyError::Store(failed) => ParameterError::Store(failed),
        error @ (PolicyError::Invalid(_) | PolicyError::TooMany { .. }) => {
            ParameterError::OperatorPolicy(error)
        }
    }
}

fn find_vhost(broker: &Broker, name: &str) -> Result<Arc<Vhost>, ParameterError> {
    let vhost = broker.vhost(name);
    vhost.ok_or_else(|| ParameterError::NoSuchVhost(name.into()))
}
