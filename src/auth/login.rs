//! A login, and what a backend answers.

use std::fmt;
use std::sync::Arc;

use super::oauth2::Token;
use super::user::Authority;
use crate::model::Name;

/// What a client proves itself with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    Password(&'a [u8]),
    /// The transport has proved the name already, by a certificate.
    Certificate,
}

/// A login to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    pub name: &'a str,
    pub credentials: Credentials<'a>,
}

/// A backend knows the user.
#[derive(Clone, Debug)]
pub struct Authenticated {
    pub name: Name,
    pub tags: Arc<[Name]>,
    /// What the backend needs to authorise the user later.
    pub authority: Authority,
}

impl Authenticated {
    pub(super) fn of_token(token: Token) -> Authenticated {
        Authenticated {
            name: token.user.clone(),
            tags: Arc::clone(&token.tags),
            authority: Authority::OAuth2(Arc::new(token)),
        }
    }
}

/// A backend does not accept a login. The next one is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Why, for the log.
    #[error("{0}")]
    Denied(Name),
    /// The backend could not be asked.
    #[error("{0}")]
    Failed(Name),
}

impl fmt::Debug for Credentials<'_> {
    /// Omits the password, since logins may be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Password(_) => "Password",
            Credentials::Certificate => "Certificate",
        })
    }
}
