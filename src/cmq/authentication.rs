//! Authenticates requests: from the signature to the caller, a user in a virtual host. Also the caller's permissions.

use std::net::IpAddr;
use std::sync::Arc;

use super::config::CmqConfig;
use super::error::CmqError;
use super::limits::STAMP_MS;
use super::parameters::Parameters;
use super::replay::Replays;
use super::signature::{Signed, verify};
use crate::broker::broker::Broker;
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::vhost::Vhost;
use crate::model::Name;

/// The user and virtual host of the key that signed a request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) user: Name,
    pub(crate) vhost: Arc<Vhost>,
}

/// Why a request was denied. The response says less than the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("{0}")]
    Parameter(CmqError),
    #[error("there is no such key")]
    Key,
    #[error("its time stamp is {0} s away from the broker's clock")]
    Clock(u64),
    #[error(
        "the signature is not this key's: is the SecretKey right, and does the client sign the host it calls?"
    )]
    Signature,
    #[error("the same signed request came before")]
    Replay,
    #[error("the key's user may not come from this address")]
    Address,
    #[error("the key's user may not enter its virtual host")]
    Vhost,
}

impl From<Denied> for CmqError {
    fn from(denied: Denied) -> CmqError {
        match denied {
            Denied::Parameter(error) => error,
            Denied::Key => CmqError::NoSuchSecretId,
            Denied::Clock(_) | Denied::Signature | Denied::Replay => CmqError::Authentication,
            Denied::Address | Denied::Vhost => CmqError::NotAllowed,
        }
    }
}

impl Caller {
    /// Authenticates a request that came from `peer` at `now_ms`. A replayed request is denied only if it `sends`
    /// messages: to read, receive or delete twice does no harm.
    pub(crate) fn authenticate(
        broker: &Broker,
        config: &CmqConfig,
        replays: &Replays,
        signed: &Signed<'_>,
        sends: bool,
        peer: IpAddr,
        now_ms: u64,
    ) -> Result<Caller, Denied> {
        let parameters = signed.parameters;
        let required = |name| parameters.required(name).map_err(Denied::Parameter);
        let id = required("SecretId")?;
        required("Nonce")?;
        required("Signature")?;
        required("Timestamp")?;
        check_clock(config, parameters, now_ms)?;
        let users = broker.users();
        let secret = users.secret(id).ok_or(Denied::Key)?;
        let verified = verify(signed, &secret.key).ok_or(Denied::Signature)?;
        if sends && !replays.is_new(&secret.id, verified, now_ms) {
            return Err(Denied::Replay);
        }
        if !users.may_come_from(&secret.user, peer) {
            return Err(Denied::Address);
        }
        if !users.may_enter(&secret.user, &secret.vhost) {
            return Err(Denied::Vhost);
        }
        let vhost = broker.vhost(&secret.vhost).ok_or(Denied::Vhost)?;
        Ok(Caller {
            user: secret.user.clone(),
            vhost,
        })
    }

    /// Refuses unless the caller has `permission` on this queue or exchange.
    pub(crate) fn check(
        &self,
        broker: &Broker,
        permission: Permission,
        kind: ResourceKind,
        name: &str,
    ) -> Result<(), CmqError> {
        let users = broker.users();
        Ok(users.check(&self.user, self.vhost.name(), permission, kind, name)?)
    }

    /// Whether the caller has any permission on this queue or exchange. Listings show only these.
    pub(crate) fn sees(&self, broker: &Broker, kind: ResourceKind, name: &str) -> bool {
        let all = [Permission::Configure, Permission::Write, Permission::Read];
        let (users, vhost) = (broker.users(), self.vhost.name());
        all.into_iter().any(|permission| {
            users
                .check(&self.user, vhost, permission, kind, name)
                .is_ok()
        })
    }
}

fn check_clock(config: &CmqConfig, parameters: &Parameters<'_>, now_ms: u64) -> Result<(), Denied> {
    let stamp = parameters.integer("Timestamp").map_err(Denied::Parameter)?;
    let stamp = stamp.unwrap_or(0);
    let stamp_ms = u64::try_from(stamp).unwrap_or(0).saturating_mul(1000);
    match config.clock_skew_ms {
        0 => Ok(()),
        skew if stamp_ms.abs_diff(now_ms) <= skew.saturating_add(STAMP_MS) => Ok(()),
        _ => Err(Denied::Clock(stamp_ms.abs_diff(now_ms) / 1000)),
    }
}
