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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_release_1_are_frozen_and_additions_are_passed_over() {
        let facts = ClientFacts {
            client: "[2001:db8::1]:5000".parse().expect("an address"),
            local: "192.0.2.1:5672".parse().expect("an address"),
            tls: None,
        };
        for (name, door) in [
            ("passed_amqp.json", Door::Amqp),
            ("passed_cmq.json", Door::Cmq),
            ("passed_management.json", Door::Management),
            ("passed_metrics.json", Door::Metrics),
        ] {
            let header = Header {
                door,
                facts: facts.clone(),
            };
            let now = header.encode().expect("JSON");
            let frozen = crate::cluster::frozen::frozen(name, &now);
            assert_eq!(Header::decode(&frozen).expect("a header"), header);
            let mut later: serde_json::Value = serde_json::from_slice(&frozen).expect("JSON");
            later["of_a_later_release"] = 1.into();
            let later = later.to_string();
            assert_eq!(Header::decode(later.as_bytes()).expect("a header"), header);
        }
    }
}
