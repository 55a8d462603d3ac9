//! One user, its tags, and the refusals of changes of users.

use crate::auth::{AuthUser, Authorizer, Backend};
use crate::broker::limits::UserLimits;
use crate::broker::password::PasswordHash;
use crate::broker::permissions::InvalidPattern;
use crate::broker::secrets::SECRET_BYTES_MAX;
use crate::model::Name;
use crate::store::StoreFailed;

/// The tag that lets a user publish under another's `user-id`.
pub const TAG_IMPERSONATOR: &str = "impersonator";
/// The tag of operators.
pub const TAG_ADMINISTRATOR: &str = "administrator";

/// One user, as of its last change.
#[derive(Debug)]
pub struct User {
    pub name: Name,
    /// Tags in the order in which they were given.
    pub tags: Vec<Name>,
    pub limits: UserLimits,
    /// `None`: the user cannot log in with a password.
    pub(super) password: Option<PasswordHash>,
    /// Changes with the password, so that cached logins end with it.
    pub(super) revision: u64,
}

impl User {
    /// The user as one who has logged in, and whom the broker's own permissions authorise.
    pub fn logged_in(&self) -> AuthUser {
        AuthUser {
            name: self.name.clone(),
            tags: self.tags.as_slice().into(),
            authenticated_by: Backend::Internal,
            authorizer: Authorizer::Internal,
        }
    }
}

/// A user as a definitions file describes it.
#[derive(Debug)]
pub struct PutUser {
    pub name: Name,
    /// `None`: the user cannot log in with a password.
    pub password: Option<PasswordHash>,
    pub tags: Vec<Name>,
    /// `None` leaves the limits of a user that exists.
    pub limits: Option<UserLimits>,
}

impl User {
    /// The hash that a definitions file holds.
    pub fn password_hash(&self) -> Option<&PasswordHash> {
        self.password.as_ref()
    }
}

/// The refusal of a change of users or permissions.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum UserError {
    #[error("user '{0}' already exists")]
    AlreadyExists(Name),
    #[error("user '{0}' does not exist")]
    NoSuchUser(Name),
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    #[error("secret id '{0}' already exists")]
    SecretExists(Name),
    #[error("secret id '{0}' does not exist")]
    NoSuchSecret(Name),
    #[error("a secret id or key has 1 to {SECRET_BYTES_MAX} bytes")]
    SecretLength,
    /// The broker is shutting down.
    #[error(transparent)]
    Store(#[from] StoreFailed),
}
