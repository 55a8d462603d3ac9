//! What the nodes of a set tell each other about themselves.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::raft::MemberInfo;

/// Bytes of an answer with facts that are read.
const FACTS_BYTES_MAX: usize = 256 * 1024;

/// What a node says of itself. A later release may add fields; what is missing has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    pub this: MemberInfo,
    /// The set that it belongs to; `None` for a new node.
    pub set: Option<u64>,
    /// The leader that it knows.
    pub leader: Option<MemberInfo>,
    /// The ids of the members that it knows.
    pub members: Vec<u64>,
    /// What operators see of the node, as its server has written it.
    pub report: String,
    /// Its wall clock, in milliseconds; `None` from a release that did not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
}

impl Facts {
    pub(super) fn encode(&self) -> Bytes {
        // Strings and numbers are always JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Facts, String> {
        if bytes.len() > FACTS_BYTES_MAX {
            return Err("its answer is too long".to_owned());
        }
        serde_json::from_slice(bytes)
            .map_err(|error| format!("its answer is not understood: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_release_1_are_frozen() {
        let member = |id, name: &str| MemberInfo {
            id,
            name: name.to_owned(),
            address: format!("{name}.example:25672"),
        };
        let facts = Facts {
            this: member(0xB2, "b"),
            set: Some(0x0102_0304_0506_0708),
            leader: Some(member(0xA1, "a")),
            members: vec![0xA1, 0xB2],
            report: "{}".to_owned(),
            wall_ms: None,
        };
        let frozen = crate::cluster::frozen::frozen("facts.json", &facts.encode());
        assert_eq!(Facts::decode(&frozen), Ok(facts));
    }

    #[test]
    fn facts_of_other_releases_are_read() {
        let facts = Facts {
            set: Some(u64::MAX),
            wall_ms: Some(u64::MAX),
            ..Facts::default()
        };
        assert_eq!(Facts::decode(&facts.encode()), Ok(facts));
        let later = br#"{"set":5,"of_a_later_release":[]}"#;
        assert_eq!(Facts::decode(later).unwrap().set, Some(5));
        assert!(Facts::decode(b"no").is_err());
        assert!(Facts::decode(&vec![b' '; FACTS_BYTES_MAX + 1]).is_err());
    }
}
