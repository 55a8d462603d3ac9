//! Parameters of virtual hosts by component, as the commands and paths for parameters see them.

use serde_json::{Map, Value};

use super::error::ParameterError;
use crate::broker::broker::Broker;
use crate::broker::limits::VhostLimits;
use crate::model::Name;

/// The component of the limits of a virtual host.
pub const VHOST_LIMITS: &str = "vhost-limits";
/// The only name of a parameter of [`VHOST_LIMITS`].
pub const LIMITS: &str = "limits";
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
    VhostLimits,
}

impl Component {
    fn find(name: &str, verb: &'static str) -> Result<Component, ParameterError> {
        match name {
            VHOST_LIMITS => Ok(Component::VhostLimits),
            POLICY => Err(ParameterError::Policy(verb)),
            _ => Err(ParameterError::no_such_component(name)),
        }
    }
}

/// All parameters, ordered by virtual host, component and name.
pub fn list(broker: &Broker) -> Vec<RuntimeParameter> {
    let limits = broker.limits().list().into_iter();
    limits
        .map(|(vhost, limits)| RuntimeParameter {
            vhost,
            component: VHOST_LIMITS,
            name: LIMITS.into(),
            value: limits.to_json().into(),
        })
        .collect()
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
        Component::VhostLimits => {
            let limits = vhost_limits(name, value).map_err(ParameterError::Invalid)?;
            vhost_exists(broker, vhost)?;
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
        Ok(Component::VhostLimits) if name == LIMITS => broker.limits().clear(vhost).await?,
        // A component that does not exist has no parameters.
        Ok(Component::VhostLimits) | Err(ParameterError::Invalid(_)) => false,
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

fn vhost_exists(broker: &Broker, vhost: &str) -> Result<(), ParameterError> {
    match broker.vhost(vhost) {
        Some(_) => Ok(()),
        None => Err(ParameterError::NoSuchVhost(vhost.into())),
    }
}
