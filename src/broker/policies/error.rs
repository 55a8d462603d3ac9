//! Why a change of policies is refused, in RabbitMQ's words.

use crate::model::Name;
use crate::model::policy::InvalidPolicy;
use crate::store::StoreFailed;

/// The refusal of a change of policies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error(transparent)]
    Invalid(#[from] InvalidPolicy),
    /// No policy of this name was set.
    #[error("Parameter does not exist")]
    NotFound,
    #[error("component {component} is limited to {max}")]
    TooMany { component: &'static str, max: usize },
    #[error("vhost '{0}' not found")]
    VhostNotFound(Name),
    #[error(transparent)]
    Store(#[from] StoreFailed),
}
