//! Why an import ends early.

use crate::broker::error::BrokerError;
use crate::broker::parameters::ParameterError;
use crate::broker::users::UserError;
use crate::broker::vhosts::VhostError;
use crate::definitions_file::document::NotADocument;
use crate::definitions_file::plan::Invalid;
use crate::store::StoreFailed;

/// Why an import ended early. The text is RabbitMQ's where it has one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Unreadable(#[from] NotADocument),
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

impl From<Invalid> for ImportError {
    fn from(invalid: Invalid) -> ImportError {
        ImportError::Refused(invalid.0)
    }
}

impl From<UserError> for ImportError {
    fn from(error: UserError) -> ImportError {
        match error {
            UserError::Store(failed) => failed.into(),
            UserError::NoSuchUser(name) => {
                ImportError::Refused(format!("{{no_such_user,<<\"{name}\">>}}"))
            }
            error @ (UserError::AlreadyExists(_)
            | UserError::InvalidPattern(_)
            | UserError::SecretExists(_)
            | UserError::NoSuchSecret(_)
            | UserError::SecretLength) => ImportError::Refused(error.to_string()),
        }
    }
}

impl From<VhostError> for ImportError {
    fn from(error: VhostError) -> ImportError {
        match error {
            VhostError::Store(failed) => failed.into(),
            error @ (VhostError::AlreadyExists(_)
            | VhostError::NotFound(_)
            | VhostError::NameTooLong
            | VhostError::Protected(_)) => ImportError::Refused(error.to_string()),
        }
    }
}

/// With the name of the parameter behind the text, as RabbitMQ writes it.
pub(super) fn refused_parameter(error: ParameterError, place: &str) -> ImportError {
    match error {
        ParameterError::Store(failed) => failed.into(),
        ParameterError::NoSuchVhost(vhost) => no_such_vhost(&vhost),
        error @ (ParameterError::NotFound
        | ParameterError::Protected { .. }
        | ParameterError::Policy(_)
        | ParameterError::NoSuchComponent(_)
        | ParameterError::Invalid(_)
        | ParameterError::OperatorPolicy(_)
        | ParameterError::NameTooLong
        | ParameterError::ValueTooLong) => ImportError::Refused(format!("{error}{place}")),
    }
}

pub(super) fn refused(error: BrokerError) -> ImportError {
    match error {
        BrokerError::StoreFailed => StoreFailed.into(),
        error => ImportError::Refused(format!("precondition_failed: {error}")),
    }
}

pub(super) fn no_such_vhost(name: &str) -> ImportError {
    ImportError::Refused(format!(
        "Please create virtual host \"{name}\" prior to importing definitions."
    ))
}
