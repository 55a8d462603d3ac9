//! New secrets of users whose login expires.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::error;

use super::registry::Users;
use crate::auth::oauth2::TokenError;
use crate::auth::{AuthUser, Authorizer, External};
use crate::broker::permissions::AccessRefused;
use crate::model::Name;

/// Why a new secret does not take the place of the old one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalError {
    #[error("New secret was refused by one of the backends")]
    Refused,
    /// Nothing in it says that it is for this broker.
    #[error("Secret update failed")]
    Failed,
    /// The user may not be in its virtual host any more.
    #[error(transparent)]
    Vhost(#[from] AccessRefused),
}

impl Users {
    /// The user with a new secret, if it may be in the virtual host with it. Secrets that do not expire are not looked at.
    pub async fn renew(
        &self,
        user: &AuthUser,
        secret: &[u8],
        vhost: &Name,
        peer: IpAddr,
    ) -> Result<Arc<AuthUser>, RenewalError> {
        let renewed = match self.backends.renew(user, secret).await {
            Ok(renewed) => Arc::new(renewed),
            Err(error) => {
                error!(user = %user.name, "a new secret is refused: {error}");
                return Err(refusal(&error, user, vhost));
            }
        };
        // The rights of internal users are not in their secrets: RabbitMQ does not look at them here.
        if let Authorizer::External(_) = renewed.authorizer {
            self.ask_vhost(&renewed, vhost, Some(peer)).get().await?;
        }
        Ok(renewed)
    }
}

/// The text that RabbitMQ has for it.
fn refusal(error: &TokenError, user: &AuthUser, vhost: &Name) -> RenewalError {
    match error {
        TokenError::Malformed | TokenError::NoAudience | TokenError::OtherAudience => {
            RenewalError::Failed
        }
        TokenError::Expired { .. } | TokenError::InvalidExpiry | TokenError::NoExpiry => {
            RenewalError::Vhost(AccessRefused::Failed {
                refused: Box::new(AccessRefused::Vhost {
                    vhost: vhost.clone(),
                    user: user.name.clone(),
                }),
                backend: External::OAuth2,
                why: error.as_reason(),
            })
        }
        TokenError::KeyNotFound(_)
        | TokenError::Signature
        | TokenError::Algorithm
        | TokenError::NotYetValid(_)
        | TokenError::OtherIssuer
        | TokenError::TooManyScopes
        | TokenError::LongUserName
        | TokenError::OtherUser => RenewalError::Refused,
    }
}
