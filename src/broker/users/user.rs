//! One user, its tags, and the refusals of changes of users.

use crate::broker::limits::UserLimits;
use crate::broker::password::PasswordHash;
use crate::broker::permissions::InvalidPattern;
use crate::broker::secrets::SECRET_BYTES_MAX;
use crate::model::Name;
use crate::store::StoreFailed;

/// The tag that lets a user publish under another's `user-id`.
pub const TAG_IMPERSONATOR: &str = "impersonator";
/// The tag of those who may do everything an operator does.
pub const TAG_ADMINISTRATOR: &str = "administrator";

/// One user, as of its last change.
#[derive(Debug)]
pub struct User {
    /// Login name.
    pub name: Name,
    /// Tags in the order in which they were given.
    pub tags: Vec<Name>,
    /// What it may have open at once.
    pub limits: UserLimits,
    /// None: may not log in with a password.
    pub(super) password: Option<PasswordHash>,
    /// Changes with the password, so that remembered logins end with it.
    pub(super) revision: u64,
}

impl User {
    /// Whether the user has a tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| **own == *tag)
    }
}

/// Why a change of users or permissions was refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum UserError {
    /// There is such a user already.
    #[error("user '{0}' already exists")]
    AlreadyExists(Name),
    /// There is no such user.
    #[error("user '{0}' does not exist")]
    NoSuchUser(Name),
    /// A pattern does not compile.
    #[error(transparent)]
    InvalidPattern(#[from] InvalidPattern),
    /// There is a secret key with this id already.
    #[error("secret id '{0}' already exists")]
    SecretExists(Name),
    /// There is no secret key with this id.
    #[error("secret id '{0}' does not exist")]
    NoSuchSecret(Name),
    /// An id or key that is empty or too long.
    #[error("a secret id or key has 1 to {SECRET_BYTES_MAX} bytes")]
    SecretLength,
    /// The broker is shutting down.
    #[error(transparent)]
    Store(#[from] StoreFailed),
}
