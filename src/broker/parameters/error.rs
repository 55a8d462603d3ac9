//! Refusals of changes of parameters, in RabbitMQ's words.

use crate::broker::policies::PolicyError;
use crate::model::Name;
use crate::store::StoreFailed;

/// Maximum length of a name.
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Maximum length of a value's JSON.
pub(super) const VALUE_BYTES_MAX: usize = 512 * 1024;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParameterError {
    #[error("Parameter does not exist")]
    NotFound,
    /// Policies have commands and paths of their own.
    #[error("policies may not be {0} using this method")]
    Policy(&'static str),
    #[error("Validation failed\n\ncomponent {0} not found\n")]
    NoSuchComponent(Name),
    /// The text of the component.
    #[error("Validation failed\n\n{0}\n")]
    Invalid(String),
    #[error(transparent)]
    OperatorPolicy(PolicyError),
    #[error("Virtual host '{0}' does not exist")]
    NoSuchVhost(Name),
    /// A shovel that a tool manages, and what it belongs to.
    #[error("Cannot delete protected shovel '{name}' in virtual host '{vhost}'.{}", by_force(owner.as_deref()))]
    Protected {
        vhost: Name,
        name: Name,
        owner: Option<String>,
    },
    #[error("the name of a parameter has at most {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    #[error("the value of a parameter has at most {VALUE_BYTES_MAX} bytes")]
    ValueTooLong,
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

fn by_force(owner: Option<&str>) -> String {
    match owner {
        Some(owner) => format!(
            " It was declared as protected, delete it with --force or delete its owner entity instead: {owner}"
        ),
        None => String::new(),
    }
}
