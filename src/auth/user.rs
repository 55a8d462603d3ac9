//! A user who has logged in.

use std::sync::Arc;

use super::backend::Backend;
use super::ldap::LdapUser;
use super::oauth2::Token;
use crate::model::Name;

/// A user who has logged in, as the chain found it then.
#[derive(Clone, Debug)]
pub struct AuthUser {
    /// The name that its backend gives it, which may differ from the one that the client gave.
    pub name: Name,
    pub tags: Arc<[Name]>,
    pub authenticated_by: Backend,
    pub authorizer: Authorizer,
}

/// Who decides what a user may do.
#[derive(Clone, Debug)]
pub enum Authorizer {
    /// The broker's own permissions.
    Internal,
    /// Everything is allowed: the broker's own shovels.
    Broker,
    External(Authority),
}

/// A backend that decides, with what it keeps of the user.
#[derive(Clone, Debug)]
pub enum Authority {
    Http,
    OAuth2(Arc<Token>),
    Ldap(Arc<LdapUser>),
}

impl AuthUser {
    /// The broker itself, which no login gives. It goes by RabbitMQ's name for such connections.
    pub fn broker(tags: impl IntoIterator<Item = Name>) -> AuthUser {
        AuthUser {
            name: "none".into(),
            tags: tags.into_iter().collect(),
            authenticated_by: Backend::Internal,
            authorizer: Authorizer::Broker,
        }
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|own| **own == *tag)
    }

    /// Whether the broker's own permissions hold for it.
    pub fn is_internal(&self) -> bool {
        matches!(self.authorizer, Authorizer::Internal)
    }

    /// When the login ends, in milliseconds of wall-clock time; `None` if it does not.
    pub fn expires_at_ms(&self) -> Option<u64> {
        match &self.authorizer {
            Authorizer::External(Authority::OAuth2(token)) => {
                token.expires.map(|seconds| seconds.saturating_mul(1000))
            }
            Authorizer::Internal
            | Authorizer::Broker
            | Authorizer::External(Authority::Http | Authority::Ldap(_)) => None,
        }
    }
}
