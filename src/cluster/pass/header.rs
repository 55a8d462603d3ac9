//! What the leader learns of a passed client before its first byte.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::net::ClientFacts;

/// The kind of the links' streams that carry clients.
pub const PASSED_CLIENT: u8 = 32;

/// What the leader writes first when a front door serves the client. A stream that ends without it may be tried again.
pub(super) const WELCOME: u8 = 1;

/// A front door. The names are a part of the links' protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    Amqp,
    Cmq,
    Management,
    Metrics,
}

/// The header of a passed client's stream. Later releases may add fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) door: Door,
    #[serde(flatten)]
    pub(super) facts: ClientFacts,
}

impl Header {
    pub(super) fn encode(&self) -> serde_json::Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from)
    }

    pub(super) fn decode(bytes: &[u8]) -> serde_json::Result<Header> {
        serde_json::from_slice(bytes)
    }
}
