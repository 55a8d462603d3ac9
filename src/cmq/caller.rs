//! Who calls: from the signature of a request to a user in a virtual host, and what that user may do there.

use std::net::IpAddr;
use std::sync::Arc;

use super::error::CmqError;
use super::limits::{CmqConfig, STAMP_MS};
use super::replay::Replays;
use super::request::Parameters;
use super::signature::{Signed, verify};
use crate::broker::broker::Broker;
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::vhost::Vhost;
use crate::model::Name;

/// A user in its virtual host, as the key of the request says.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The user.
    pub(crate) user: Name,
    /// The virtual host.
    pub(crate) vhost: Arc<Vhost>,
}

impl Caller {
    /// Finds out who sent a request at `now_ms` from `peer`.
    pub(crate) fn authenticate(
        broker: &Broker,
        config: &CmqConfig,
        replays: &Replays,
        signed: &Signed<'_>,
        peer: IpAddr,
        now_ms: u64,
    ) -> Result<Caller, CmqError> {
        let parameters = signed.parameters;
        let id = parameters.required("SecretId")?;
        parameters.required("Nonce")?;
        parameters.required("Signature")?;
        parameters.required("Timestamp")?;
        check_clock(config, parameters, now_ms)?;
        let users = broker.users();
        let secret = users.secrets().get(id).ok_or(CmqError::NoSuchSecretId)?;
        let verified = verify(signed, &secret.key).ok_or(CmqError::Authentication)?;
        if !replays.is_new(verified, now_ms) {
            tracing::info!(user = %secret.user, %peer, "request refused: it was sent before");
            return Err(CmqError::Authentication);
        }
        if !users.may_come_from(&secret.user, peer) || !users.may_enter(&secret.user, &secret.vhost)
        {
            return Err(CmqError::NotAllowed);
        }
        let vhost = broker.vhost(&secret.vhost).ok_or(CmqError::NotAllowed)?;
        Ok(Caller {
            user: secret.user.clone(),
            vhost,
        })
    }

    /// Refuses unless the user has `permission` on this queue or exchange.
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
}

fn check_clock(
    config: &CmqConfig,
    parameters: &Parameters<'_>,
    now_ms: u64,
) -> Result<(), CmqError> {
    let stamp = parameters.integer("Timestamp")?.unwrap_or(0);
    let stamp_ms = u64::try_from(stamp).unwrap_or(0).saturating_mul(1000);
    match config.clock_skew_ms {
        0 => Ok(()),
        skew if stamp_ms.abs_diff(now_ms) <= skew.saturating_add(STAMP_MS) => Ok(()),
        _ => Err(CmqError::Authentication),
    }
}
