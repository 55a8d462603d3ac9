//! What the nodes of a set tell each other about themselves.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::raft::MemberInfo;

/// Bytes of an answer with facts that are read.
const FACTS_BYTES_MAX: usize = 256 * 1024;

/// What a node has that it does not have from a set. It can take this along into a set that it begins, and into no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holds {
    #[default]
    Nothing,
    /// What each broker writes at its first start, and nothing else.
    Defaults,
    /// Messages or definitions of clients and operators.
    Data,
}

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
    /// What it has without a set; `None` from a release that did not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holds>,
}

/// What a node says that asks to become a member.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Candidate {
    #[serde(flatten)]
    pub(super) this: MemberInfo,
    /// As in its facts.
    #[serde(default)]
    pub(super) holds: Option<Holds>,
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
            holds: None,
        };
        let frozen = crate::cluster::frozen::frozen("facts.json", &facts.encode());
        assert_eq!(Facts::decode(&frozen), Ok(facts));
    }

    #[test]
    fn facts_of_other_releases_are_read() {
        let facts = Facts {
            set: Some(u64::MAX),
            wall_ms: Some(u64::MAX),
            holds: Some(Holds::Data),
            ..Facts::default()
        };
        assert_eq!(Facts::decode(&facts.encode()), Ok(facts));
        let later = br#"{"set":5,"of_a_later_release":[]}"#;
        assert_eq!(Facts::decode(later).unwrap().set, Some(5));
        assert!(Facts::decode(b"no").is_err());
        assert!(Facts::decode(&vec![b' '; FACTS_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_candidate_of_release_1_does_not_tell_what_it_has() {
        let this = MemberInfo {
            id: 7,
            name: "b".to_owned(),
            address: "b:1".to_owned(),
        };
        let read = |json: &[u8]| serde_json::from_slice::<Candidate>(json).unwrap();
        let of_release_1 = read(&serde_json::to_vec(&this).unwrap());
        assert_eq!((&of_release_1.this, of_release_1.holds), (&this, None));
        let holds = Some(Holds::Defaults);
        let now = serde_json::to_vec(&Candidate {
            this: this.clone(),
            holds,
        });
        let now = now.unwrap();
        assert_eq!((read(&now).this, read(&now).holds), (this.clone(), holds));
        // A leader of release 1 passes over what it does not know.
        assert_eq!(serde_json::from_slice::<MemberInfo>(&now).unwrap(), this);
    }
}
