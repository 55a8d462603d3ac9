//! Which virtual hosts a caller may act in. If another system decides, it is asked when the request comes, so that
//! handlers need not wait: about the virtual host that the request names, or about all.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use tokio::task::JoinSet;

use super::api::{Api, Shared};
use crate::auth::{AuthUser, Authorizer};
use crate::broker::vhost::Vhost;
use crate::model::Name;

/// The parameter of paths that names a virtual host.
const VHOST_PARAMETER: &str = "vhost";
/// Maximum number of virtual hosts that one request asks about at the same time.
const ASKED_AT_ONCE: usize = 16;

/// Where a caller may act, beyond what its tags allow.
pub(super) enum Entering {
    /// Where the broker's own permissions allow it.
    Permissions,
    /// Here and nowhere else.
    Allowed(HashSet<Name>),
}

impl Entering {
    pub(super) async fn of(
        user: &Arc<AuthUser>,
        parts: &mut Parts,
        api: &Shared,
        chosen: Option<&str>,
        peer: IpAddr,
    ) -> Entering {
        if let Authorizer::Internal | Authorizer::Broker = user.authorizer {
            return Entering::Permissions;
        }
        let named = named_in_path(parts, api).await;
        let concerned = match named.as_deref().or(chosen) {
            Some(name) => api.broker.vhost(name).into_iter().collect(),
            None => api.broker.vhost_list(),
        };
        Entering::Allowed(ask(user, api, concerned, peer).await)
    }

    pub(super) fn enters(&self, user: &AuthUser, api: &Api, vhost: &Vhost) -> bool {
        match self {
            Entering::Permissions => api.broker.users().may_enter(&user.name, vhost.name()),
            Entering::Allowed(allowed) => allowed.contains(vhost.name()),
        }
    }
}

async fn named_in_path(parts: &mut Parts, api: &Shared) -> Option<String> {
    let parameters = RawPathParams::from_request_parts(parts, api).await.ok()?;
    let named = parameters
        .iter()
        .find(|(name, _)| *name == VHOST_PARAMETER)?;
    Some(named.1.to_owned())
}

async fn ask(
    user: &Arc<AuthUser>,
    api: &Shared,
    concerned: Vec<Arc<Vhost>>,
    peer: IpAddr,
) -> HashSet<Name> {
    let mut asked = JoinSet::new();
    let mut allowed = HashSet::new();
    for vhost in concerned {
        if asked.len() >= ASKED_AT_ONCE {
            let answered: Option<Result<Option<Name>, _>> = asked.join_next().await;
            allowed.extend(answered.and_then(Result::ok).flatten());
        }
        let answer = api.broker.users().ask_vhost(user, vhost.name(), Some(peer));
        asked.spawn(async move { answer.get().await.is_ok().then(|| vhost.name().clone()) });
    }
    while let Some(answered) = asked.join_next().await {
        allowed.extend(answered.ok().flatten());
    }
    allowed
}
