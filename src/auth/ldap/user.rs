//! What is kept of a user who has logged in.

use std::fmt;

#[derive(Clone, PartialEq, Eq)]
pub struct LdapUser {
    pub(super) dn: String,
    /// For checks that act as the user. `None` if it logged in without.
    pub(super) password: Option<String>,
}

impl fmt::Debug for LdapUser {
    /// Omits the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LdapUser({})", self.dn)
    }
}
