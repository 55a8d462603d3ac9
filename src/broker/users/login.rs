//! Logins of users. Every refusal takes as long as a wrong password, so that the time does not tell which users exist.

use std::net::IpAddr;
use std::sync::Arc;

use super::login_gate::{LoginAttempts, LoginGate};
use super::registry::Users;
use super::user::{User, UserError};
use crate::broker::password::{NewPasswords, PasswordHash};
use crate::model::Name;
use crate::store::StoreFailed;

/// The reason of a refused login, for the log. The client learns only that it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or another password. The log does not say which.
    #[error("user '{0}' - invalid credentials")]
    InvalidCredentials(Name),
    /// Blank passwords never log in.
    #[error("user '{0}' attempted to log in with a blank password, which is prohibited")]
    BlankPassword(Name),
    /// The user may log in from this machine only.
    #[error("user '{0}' can only connect via localhost")]
    LoopbackOnly(Name),
}

/// The front door where a login happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginDoor {
    Amqp,
    Management,
}

impl Users {
    /// Verifies a login from `peer`. Takes tens of milliseconds unless its result is cached.
    pub async fn login(
        &self,
        door: LoginDoor,
        name: &str,
        password: &[u8],
        peer: IpAddr,
    ) -> Result<Arc<User>, LoginError> {
        let verified = self.verified(door, name, password, Some(peer)).await;
        // After the password, as in RabbitMQ: before it, the time would tell which users are local only.
        let login = verified.and_then(|user| match self.may_come_from(name, peer) {
            true => Ok(user),
            false => Err(LoginError::LoopbackOnly(name.into())),
        });
        self.gate(door).count(login.is_ok());
        login
    }

    /// How many logins there were at a front door, since the start or since they were forgotten.
    pub fn login_attempts(&self, door: LoginDoor) -> LoginAttempts {
        self.gate(door).attempts()
    }

    pub fn forget_login_attempts(&self) {
        self.amqp_gate.forget_attempts();
        self.management_gate.forget_attempts();
    }

    fn gate(&self, door: LoginDoor) -> &LoginGate {
        match door {
            LoginDoor::Amqp => &self.amqp_gate,
            LoginDoor::Management => &self.management_gate,
        }
    }

    /// Whether `name` may log in from this address at all.
    pub fn may_come_from(&self, name: &str, peer: IpAddr) -> bool {
        let loopback_only = self.loopback_only.read();
        peer.to_canonical().is_loopback() || !loopback_only.iter().any(|only| **only == *name)
    }

    /// Verifies a password that an operator gives.
    pub async fn authenticate(&self, name: &str, password: &[u8]) -> Result<Arc<User>, LoginError> {
        self.verified(LoginDoor::Amqp, name, password, None).await
    }

    async fn verified(
        &self,
        door: LoginDoor,
        name: &str,
        password: &[u8],
        peer: Option<IpAddr>,
    ) -> Result<Arc<User>, LoginError> {
        if password.is_empty() {
            return Err(LoginError::BlankPassword(name.into()));
        }
        let user = self.get(name);
        let right = self
            .gate(door)
            .is_password(user.as_deref(), name, password, peer)
            .await;
        user.filter(|_| right)
            .ok_or_else(|| LoginError::InvalidCredentials(name.into()))
    }

    /// Hashes a new password. Takes tens of milliseconds.
    pub async fn hash_password(
        &self,
        name: &str,
        password: &[u8],
    ) -> Result<PasswordHash, UserError> {
        let hash = match self.new_passwords {
            NewPasswords::Argon2id => self.amqp_gate.hash(name, password).await,
            NewPasswords::RabbitSha256 => Some(PasswordHash::rabbit_sha256(password)),
        };
        hash.ok_or(UserError::Store(StoreFailed))
    }
}
