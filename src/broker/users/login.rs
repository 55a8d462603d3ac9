//! Logins of users, by the chain of backends. Every refusal of the broker's own users takes as long as a wrong password, so
//! that the time does not tell which users exist.

use std::net::IpAddr;
use std::sync::Arc;

use super::attempts::{LoginAttempts, LoginSource};
use super::login_gate::LoginGate;
use super::registry::Users;
use super::user::UserError;
use crate::auth::{
    AuthUser, Authenticated, Authorizer, Backend, Credentials, Link, Login, Refused,
};
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
    /// Its password could not be checked.
    #[error("user '{0}' - too many logins wait for a check of their password")]
    TooMany(Name),
    /// A backend that is another system refused it.
    #[error("user '{name}' - {}: {refused}", backend.as_str())]
    Refused {
        name: Name,
        backend: Backend,
        refused: Refused,
    },
}

/// The front door where a login happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginDoor {
    Amqp,
    Management,
}

impl LoginDoor {
    pub const ALL: [LoginDoor; 2] = [LoginDoor::Amqp, LoginDoor::Management];

    /// RabbitMQ's name of the protocol.
    pub fn protocol(self) -> &'static str {
        match self {
            LoginDoor::Amqp => "amqp091",
            LoginDoor::Management => "http",
        }
    }
}

/// A login on its way through the chain.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    door: LoginDoor,
    login: Login<'a>,
    /// `None` for an operator's request.
    peer: Option<IpAddr>,
}

impl Users {
    /// Verifies a login from `peer`. Takes tens of milliseconds, or as long as other systems take, unless its result is
    /// cached.
    pub async fn login(
        &self,
        door: LoginDoor,
        name: &str,
        credentials: Credentials<'_>,
        peer: IpAddr,
    ) -> Result<Arc<AuthUser>, LoginError> {
        let verified = self.by_chain(Attempt {
            door,
            login: Login { name, credentials },
            peer: Some(peer),
        });
        // After the password, as in RabbitMQ: before it, the time would tell which users are local only.
        let login = verified
            .await
            .and_then(|user| match self.may_come_from(&user.name, peer) {
                true => Ok(Arc::new(user)),
                false => Err(LoginError::LoopbackOnly(user.name)),
            });
        let gate = self.gate(door);
        gate.attempts.count(name, peer, login.is_ok());
        match &login {
            Ok(_) => gate.note(name, peer, true),
            Err(error) if error.is_clients_fault() => gate.note(name, peer, false),
            Err(_) => {}
        }
        login
    }

    /// Holds a login up before it is looked at, because of failures of its user and address lately. The client waits on its
    /// own time: it may be displaced by others meanwhile.
    pub async fn hold_up(
        &self,
        door: LoginDoor,
        name: &str,
        credentials: Credentials<'_>,
        peer: IpAddr,
    ) {
        let password = match credentials {
            Credentials::Password(password) => Some(password),
            Credentials::Certificate => None,
        };
        let user = self.get(name);
        let wait = self.gate(door).wait(user.as_deref(), name, password, peer);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How many logins there were at a front door, since the start or since they were forgotten.
    pub fn login_attempts(&self, door: LoginDoor) -> LoginAttempts {
        self.gate(door).attempts.sum()
    }

    pub fn forget_login_attempts(&self) {
        for door in LoginDoor::ALL {
            self.gate(door).attempts.forget();
        }
    }

    /// The same by address and user, ordered; nothing unless they are tracked.
    pub fn login_sources(&self, door: LoginDoor) -> Vec<(LoginSource, LoginAttempts)> {
        self.gate(door).attempts.by_source()
    }

    /// Counts logins by address and user, too, until the next start.
    pub fn track_login_sources(&self) {
        for door in LoginDoor::ALL {
            self.gate(door).attempts.track_sources();
        }
    }

    /// Counts logins by front door only.
    pub fn ignore_login_sources(&self) {
        for door in LoginDoor::ALL {
            self.gate(door).attempts.ignore_sources();
        }
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
    pub async fn authenticate(&self, name: &str, password: &[u8]) -> Result<AuthUser, LoginError> {
        let credentials = Credentials::Password(password);
        self.by_chain(Attempt {
            door: LoginDoor::Amqp,
            login: Login { name, credentials },
            peer: None,
        })
        .await
    }

    /// The first backend that knows the user decides; the refusal is that of the last one.
    async fn by_chain(&self, attempt: Attempt<'_>) -> Result<AuthUser, LoginError> {
        let mut refused = LoginError::InvalidCredentials(attempt.login.name.into());
        for link in self.backends.chain().links() {
            match self.by_link(*link, attempt).await {
                Ok(user) => return Ok(user),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn by_link(&self, link: Link, attempt: Attempt<'_>) -> Result<AuthUser, LoginError> {
        let (name, mut tags, own_authorizer) = match link.authn {
            Backend::Internal => {
                let user = self.by_own_users(attempt).await?;
                (user.name, user.tags, user.authorizer)
            }
            Backend::External(backend) => {
                let known = self.backends.authenticate(backend, attempt.login).await;
                let Authenticated {
                    name,
                    tags,
                    authority,
                } = known.map_err(|refused| LoginError::of(&attempt, link.authn, refused))?;
                (name, tags, Authorizer::External(authority))
            }
        };
        let mut authorizer = own_authorizer;
        if link.authz != link.authn {
            let further: Arc<[Name]>;
            (authorizer, further) = match link.authz {
                Backend::Internal => {
                    let user = self.get(&name);
                    let user = user.ok_or_else(|| LoginError::InvalidCredentials(name.clone()))?;
                    (Authorizer::Internal, user.tags.as_slice().into())
                }
                Backend::External(backend) => {
                    let login = Login {
                        name: &name,
                        credentials: attempt.login.credentials,
                    };
                    let known = self.backends.authorise(backend, login).await;
                    let (authority, tags) =
                        known.map_err(|refused| LoginError::of(&attempt, link.authz, refused))?;
                    (Authorizer::External(authority), tags)
                }
            };
            tags = tags.iter().chain(&*further).cloned().collect();
        }
        Ok(AuthUser {
            name,
            tags,
            authenticated_by: link.authn,
            authorizer,
        })
    }

    /// Logs in one of the broker's own users.
    async fn by_own_users(&self, attempt: Attempt<'_>) -> Result<AuthUser, LoginError> {
        let Attempt { door, login, peer } = attempt;
        let user = self.get(login.name);
        let is_right = match login.credentials {
            Credentials::Password([]) => {
                return Err(LoginError::BlankPassword(login.name.into()));
            }
            Credentials::Password(password) => {
                let gate = self.gate(door);
                let checked = gate.is_password(user.as_deref(), login.name, password, peer);
                let checked = checked.await;
                checked.ok_or_else(|| LoginError::TooMany(login.name.into()))?
            }
            Credentials::Certificate => true,
        };
        user.filter(|_| is_right)
            .map(|user| user.logged_in())
            .ok_or_else(|| LoginError::InvalidCredentials(login.name.into()))
    }

    /// Hashes a new password. Takes tens of milliseconds.
    pub async fn hash_password(
        &self,
        name: &str,
        password: &[u8],
    ) -> Result<PasswordHash, UserError> {
        let hash = self.hash(name, password).await;
        hash.ok_or(UserError::Store(StoreFailed))
    }

    /// `None` if too many other passwords are hashed.
    pub(super) async fn hash(&self, name: &str, password: &[u8]) -> Option<PasswordHash> {
        match self.new_passwords {
            NewPasswords::Argon2id => self.amqp_gate.hash(name, password).await,
            NewPasswords::RabbitSha256 => Some(PasswordHash::rabbit_sha256(password)),
        }
    }
}

impl LoginError {
    /// Whether the client has shown something wrong. A backend that cannot be asked is not its fault, nor is a line that is
    /// too long.
    fn is_clients_fault(&self) -> bool {
        match self {
            LoginError::Refused { refused, .. } => matches!(refused, Refused::Denied(_)),
            LoginError::TooMany(_) => false,
            LoginError::InvalidCredentials(_)
            | LoginError::BlankPassword(_)
            | LoginError::LoopbackOnly(_) => true,
        }
    }

    fn of(attempt: &Attempt<'_>, backend: Backend, refused: Refused) -> LoginError {
        LoginError::Refused {
            name: attempt.login.name.into(),
            backend,
            refused,
        }
    }
}
