//! What proves that a node belongs to the set: a secret that all nodes know, certificates of one authority, or both.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::limits::SECRET_MIN;
use crate::net::Tls;

/// Length of a proof.
pub(super) const PROOF: usize = 32;

/// A secret that all nodes of a set know.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    pub fn new(bytes: &[u8]) -> Result<Secret, NoTrust> {
        match bytes.len() >= SECRET_MIN {
            true => Ok(Secret(bytes.into())),
            false => Err(NoTrust::ShortSecret),
        }
    }
}

/// Why links have nothing to prove themselves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTrust {
    #[error("links between nodes need a shared secret or TLS: they are never open to strangers")]
    Nothing,
    #[error("the nodes' shared secret must have at least {SECRET_MIN} bytes")]
    ShortSecret,
    #[error("TLS between nodes must require certificates of both sides")]
    OneSided,
}

/// What a node shows and asks for; at least one of the two.
#[derive(Clone, Debug)]
pub struct Trust {
    secret: Option<Secret>,
    tls: Option<Arc<Tls>>,
}

impl Trust {
    pub fn new(secret: Option<Secret>, tls: Option<Arc<Tls>>) -> Result<Trust, NoTrust> {
        match (&secret, &tls) {
            (None, None) => Err(NoTrust::Nothing),
            (_, Some(tls)) if !tls.is_mutual() => Err(NoTrust::OneSided),
            (Some(_), _) | (_, Some(_)) => Ok(Trust { secret, tls }),
        }
    }

    pub(super) fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// What shows that this node knows the secret and has seen these bytes of both sides. Without a secret it shows the
    /// bytes alone, and TLS has proven the rest.
    pub(super) fn proof(&self, side: Side, seen: &[&[u8]]) -> [u8; PROOF] {
        self.mac(side, seen).finalize().into_bytes().into()
    }

    /// Whether a proof is right. The time of the comparison tells nothing.
    pub(super) fn proves(&self, side: Side, seen: &[&[u8]], proof: &[u8]) -> bool {
        self.mac(side, seen).verify_slice(proof).is_ok()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn mac(&self, side: Side, seen: &[&[u8]]) -> Hmac<Sha256> {
        let key = self.secret.as_ref().map_or(&[][..], |secret| &secret.0);
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
        mac.update(side.label());
        for part in seen {
            // With its length, so that bytes cannot move from one part to the next.
            mac.update(&part.len().to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// Whose proof it is. A proof of one side is none of the other, so it cannot be sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialing,
    Accepting,
}

impl Side {
    fn label(self) -> &'static [u8] {
        match self {
            Side::Dialing => b"leveret link, the side that dials",
            Side::Accepting => b"leveret link, the side that accepts",
        }
    }
}
