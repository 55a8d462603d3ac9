//! Who calls, and with which rights. Handlers take one of these types as an argument: [`Caller`] for any user of the
//! API, [`Monitor`], [`Policymaker`] or [`Administrator`] for those with the tag.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::api::{Api, Shared};
use super::entering::Entering;
use super::error::ApiError;
use crate::auth::{AuthUser, Credentials};
use crate::broker::connections::ConnectionInfo;
use crate::broker::session::Session;
use crate::broker::users::{LoginDoor, LoginError, TAG_ADMINISTRATOR};
use crate::broker::vhost::Vhost;
use crate::clock::monotonic;
use crate::http::Peer;

const TAG_MONITORING: &str = "monitoring";
const TAG_POLICYMAKER: &str = "policymaker";
/// Users of the API have one of these tags.
const USERS: [&str; 4] = [
    TAG_ADMINISTRATOR,
    TAG_MONITORING,
    TAG_POLICYMAKER,
    "management",
];
/// The header by which a client chooses one virtual host where the path names none.
const VHOST_HEADER: &str = "x-vhost";

/// A user of the API, who has logged in and has one of its tags.
pub(super) struct Caller {
    pub(super) user: Arc<AuthUser>,
    /// The virtual host that the request's header chooses.
    chosen_vhost: Option<String>,
    entering: Entering,
}

/// A caller who may see connections and numbers of all users.
pub(super) struct Monitor;
/// A caller who may set policies and parameters where it has permissions.
pub(super) struct Policymaker(pub(super) Caller);
pub(super) struct Administrator(pub(super) Caller);

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Caller, ApiError> {
        let (name, password) = credentials(parts).ok_or(ApiError::NoLogin)?;
        let peer = parts.extensions.get::<Arc<Peer>>().cloned();
        let peer = peer.ok_or_else(|| ApiError::Internal("a request without a peer".into()))?;
        let user = log_in(api, &name, &password, &peer).await?;
        let chosen_vhost = chosen_vhost(parts);
        let address = peer.address().ip();
        peer.awaits_broker();
        let entering = Entering::of(&user, parts, api, chosen_vhost.as_deref(), address).await;
        peer.awaits_peer();
        Ok(Caller {
            user,
            chosen_vhost,
            entering,
        })
    }
}

impl FromRequestParts<Shared> for Monitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Monitor, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        match caller.is_monitor() {
            true => Ok(Monitor),
            false => Err(ApiError::NotAuthorised("Not monitor user".into())),
        }
    }
}

impl FromRequestParts<Shared> for Policymaker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Shared) -> Result<Policymaker, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        match caller.is_policymaker() {
            true => Ok(Policymaker(caller)),
            false => Err(ApiError::NotAuthorised(
                "User not authorised to access object".into(),
            )),
        }
    }
}

impl FromRequestParts<Shared> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(
        parts: &mut Parts,
        api: &Shared,
    ) -> Result<Administrator, ApiError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        match caller.is_administrator() {
            true => Ok(Administrator(caller)),
            false => Err(ApiError::NotAuthorised("Not administrator user".into())),
        }
    }
}

impl Caller {
    pub(super) fn is_administrator(&self) -> bool {
        self.user.has_tag(TAG_ADMINISTRATOR)
    }

    pub(super) fn is_monitor(&self) -> bool {
        self.is_administrator() || self.user.has_tag(TAG_MONITORING)
    }

    pub(super) fn is_policymaker(&self) -> bool {
        self.is_administrator() || self.user.has_tag(TAG_POLICYMAKER)
    }

    /// The virtual host that the request's header chooses.
    pub(super) fn chosen_vhost(&self) -> Option<&str> {
        self.chosen_vhost.as_deref()
    }

    /// The virtual host of a path, for callers who may act in it: administrators, and users with permissions there.
    pub(super) fn vhost(&self, api: &Api, name: &str) -> Result<Arc<Vhost>, ApiError> {
        let vhost = api.broker.vhost(name).ok_or(ApiError::NotFound)?;
        self.check_enters(api, &vhost)?;
        Ok(vhost)
    }

    /// As [`Caller::vhost`]; a request that declares something names the missing virtual host.
    pub(super) fn vhost_to_change(&self, api: &Api, name: &str) -> Result<Arc<Vhost>, ApiError> {
        match api.broker.vhost(name) {
            Some(_) => self.vhost(api, name),
            None => Err(ApiError::NotFoundBecause("vhost_not_found".into())),
        }
    }

    /// The caller's session in a virtual host, in which the broker checks its permissions.
    pub(super) fn session(&self, api: &Api, vhost: Arc<Vhost>) -> Session {
        let (broker, user) = (Arc::clone(&api.broker), Arc::clone(&self.user));
        Session::new(broker, vhost, user, api.broker.next_connection())
    }

    /// Users see their own connections, monitors all.
    pub(super) fn sees_connection(&self, connection: &ConnectionInfo) -> bool {
        self.is_monitor() || connection.user == self.user.name
    }

    /// The virtual host of a path, for callers who may see it: as [`Caller::vhost`], and monitors.
    pub(super) fn visible_vhost(&self, api: &Api, name: &str) -> Result<Arc<Vhost>, ApiError> {
        let vhost = api.broker.vhost(name).ok_or(ApiError::NotFound)?;
        if !self.is_monitor() {
            self.check_enters(api, &vhost)?;
        }
        Ok(vhost)
    }

    /// The virtual hosts whose objects a list shows: the path's or the header's, or all where the caller may act.
    pub(super) fn vhosts(
        &self,
        api: &Api,
        of_path: Option<&str>,
    ) -> Result<Vec<Arc<Vhost>>, ApiError> {
        if let Some(name) = of_path.or(self.chosen_vhost.as_deref()) {
            return Ok(vec![self.vhost(api, name)?]);
        }
        let mut all = api.broker.vhost_list();
        all.retain(|vhost| self.enters(api, vhost));
        Ok(all)
    }

    /// As [`Caller::vhosts`], where monitors see all.
    pub(super) fn visible_vhosts(
        &self,
        api: &Api,
        of_path: Option<&str>,
    ) -> Result<Vec<Arc<Vhost>>, ApiError> {
        match of_path.or(self.chosen_vhost.as_deref()) {
            Some(name) => Ok(vec![self.visible_vhost(api, name)?]),
            None if self.is_monitor() => Ok(api.broker.vhost_list()),
            None => self.vhosts(api, None),
        }
    }

    fn check_enters(&self, api: &Api, vhost: &Vhost) -> Result<(), ApiError> {
        match self.enters(api, vhost) {
            true => Ok(()),
            // As RabbitMQ from 4.3 on: a user does not learn which virtual hosts there are.
            false => Err(ApiError::NotFoundBecause("Not Found".into())),
        }
    }

    fn enters(&self, api: &Api, vhost: &Vhost) -> bool {
        self.is_administrator() || self.entering.enters(&self.user, api, vhost)
    }
}

/// User and password of basic authentication, or the token of a bearer, whose user it names itself.
fn credentials(parts: &Parts) -> Option<(String, Vec<u8>)> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((String::new(), encoded.trim().as_bytes().to_vec()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, password) = decoded.split_at_checked(colon)?;
    let password = password.get(1..)?.to_vec();
    Some((String::from_utf8_lossy(name).into_owned(), password))
}

/// Checks the login of a request, and that its user may use the API.
pub(super) async fn log_in(
    api: &Api,
    name: &str,
    password: &[u8],
    peer: &Peer,
) -> Result<Arc<AuthUser>, ApiError> {
    let (address, door) = (peer.address().ip(), LoginDoor::Management);
    let users = api.broker.users();
    let proof = Credentials::Password(password);
    users.hold_up(door, name, proof, address).await;
    peer.awaits_broker();
    let login = users.login(door, name, proof, address).await;
    peer.awaits_peer();
    let login = login.map_err(|error| {
        if let Some(unsaid) = api.denied.passes(monotonic()) {
            tracing::warn!(peer = %peer.address(), %unsaid, "HTTP access denied: {error}");
        }
        match error {
            LoginError::LoopbackOnly(_) => {
                ApiError::NotAuthorised("User can only log in via localhost".into())
            }
            LoginError::InvalidCredentials(_)
            | LoginError::BlankPassword(_)
            | LoginError::TooMany(_)
            | LoginError::Refused { .. } => ApiError::LoginFailed,
        }
    });
    let user = login?;
    if !USERS.iter().any(|tag| user.has_tag(tag)) {
        return Err(ApiError::NotAuthorised("Not management user".into()));
    }
    peer.admit();
    Ok(user)
}

/// An empty header chooses all.
fn chosen_vhost(parts: &Parts) -> Option<String> {
    let value = parts.headers.get(VHOST_HEADER)?;
    let name = String::from_utf8_lossy(value.as_bytes()).into_owned();
    (!name.is_empty()).then_some(name)
}
