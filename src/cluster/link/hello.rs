//! The messages of the handshake of a link, as bytes, and what one node has against another. Pure.
//!
//! Four messages, from the dialing and the accepting side in turns:
//! 1. *greeting*: magic, the versions that the node speaks, a nonce;
//! 2. *greeting* of the same form; the newest version that both speak is spoken from now on;
//! 3. *account* of the dialing node: who it is, what it wants, its clock; and the proof;
//! 4. *verdict*; if the proof was right, with the accepting node's account and proof.
//!
//! A proof covers all bytes before it. The accepting side says nothing of itself to a stranger, and proves nothing.

use std::time::Duration;

use bytes::{Buf, BufMut};

use super::limits::{CLOCKS_APART_MAX, NAME_MAX};
use super::refused::Refused;
use super::service::Lane;

/// Length of a greeting.
pub(super) const GREETING: usize = MAGIC.len() + 4 + NONCE;
const MAGIC: &[u8; 8] = b"leveretL";
const NONCE: usize = 32;

/// The versions of links that this release speaks.
pub(super) const VERSIONS: Versions = Versions {
    oldest: 1,
    newest: 1,
};

/// Versions that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) oldest: u16,
    pub(super) newest: u16,
}

impl Versions {
    /// The newest version that both speak.
    pub(super) fn common(self, other: Versions) -> Option<u16> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

/// The first message of either side. Without a version in common it is also the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) versions: Versions,
    pub(super) nonce: [u8; NONCE],
}

impl Greeting {
    pub(super) fn new(versions: Versions) -> Greeting {
        Greeting {
            versions,
            nonce: rand::random(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(GREETING);
        out.put_slice(MAGIC);
        out.put_u16(self.versions.oldest);
        out.put_u16(self.versions.newest);
        out.put_slice(&self.nonce);
        out
    }

    /// `None` if the peer speaks another protocol.
    pub(super) fn decode(bytes: &[u8]) -> Option<Greeting> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let versions = Versions {
            oldest: rest.try_get_u16().ok()?,
            newest: rest.try_get_u16().ok()?,
        };
        let nonce = rest.try_into().ok()?;
        Some(Greeting { versions, nonce })
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) node: u64,
    /// The set that it belongs to; `None` before it belongs to one.
    pub(super) set: Option<u64>,
    pub(super) wall_ms: u64,
    pub(super) purpose: Purpose,
    pub(super) name: String,
}

/// What a connection is for. The accepting side repeats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Lane(Lane),
    Stream,
}

impl Purpose {
    const ALL: [Purpose; 3] = [
        Purpose::Lane(Lane::Raft),
        Purpose::Lane(Lane::Control),
        Purpose::Stream,
    ];

    fn code(self) -> u8 {
        match self {
            Purpose::Lane(Lane::Raft) => 1,
            Purpose::Lane(Lane::Control) => 2,
            Purpose::Stream => 3,
        }
    }

    fn of(code: u8) -> Option<Purpose> {
        Purpose::ALL
            .into_iter()
            .find(|purpose| purpose.code() == code)
    }
}

impl Account {
    /// A name that is too long is cut.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.node);
        out.put_u8(self.set.is_some().into());
        out.put_u64(self.set.unwrap_or_default());
        out.put_u64(self.wall_ms);
        out.put_u8(self.purpose.code());
        let end = self.name.floor_char_boundary(NAME_MAX);
        out.put_slice(self.name.get(..end).unwrap_or_default().as_bytes());
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Account> {
        let node = bytes.try_get_u64().ok()?;
        let has_set = bytes.try_get_u8().ok()? != 0;
        let set = bytes.try_get_u64().ok()?;
        let wall_ms = bytes.try_get_u64().ok()?;
        let purpose = Purpose::of(bytes.try_get_u8().ok()?)?;
        let name = std::str::from_utf8(bytes).ok()?;
        (name.len() <= NAME_MAX).then(|| Account {
            node,
            set: has_set.then_some(set),
            wall_ms,
            purpose,
            name: name.to_owned(),
        })
    }
}

/// The accepting node's answer to a right proof.
pub(super) fn encode_verdict(verdict: Result<(), Refused>, out: &mut Vec<u8>) {
    let (code, detail) = match verdict {
        Ok(()) => (0, 0),
        Err(Refused::Secret) => (1, 0),
        Err(Refused::Set) => (2, 0),
        Err(Refused::OwnId) => (3, 0),
        Err(Refused::ClocksApart { ahead_ms }) => (4, ahead_ms),
    };
    out.put_u8(code);
    out.put_i64(detail);
}

/// Returns the verdict and the bytes after it.
pub(super) fn decode_verdict(mut bytes: &[u8]) -> Option<(Result<(), Refused>, &[u8])> {
    let code = bytes.try_get_u8().ok()?;
    let ahead_ms = bytes.try_get_i64().ok()?;
    let verdict = match code {
        0 => Ok(()),
        1 => Err(Refused::Secret),
        2 => Err(Refused::Set),
        3 => Err(Refused::OwnId),
        4 => Err(Refused::ClocksApart { ahead_ms }),
        _ => return None,
    };
    Some((verdict, bytes))
}

/// A node's wall clock before and after it waited for what another one's shows, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waited {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
}

/// What the accepting node has against one that has proven itself.
pub(super) fn judge(mine: &Account, theirs: &Account, waited: Waited) -> Result<(), Refused> {
    if mine.node == theirs.node {
        return Err(Refused::OwnId);
    }
    if let (Some(mine), Some(theirs)) = (mine.set, theirs.set)
        && mine != theirs
    {
        return Err(Refused::Set);
    }
    compare_clocks(theirs.wall_ms, waited)
}

/// What a node has against another one's clock, which was read at some time of the wait.
pub(super) fn compare_clocks(theirs_ms: u64, waited: Waited) -> Result<(), Refused> {
    let ahead_ms = ahead_ms(theirs_ms, waited);
    match Duration::from_millis(ahead_ms.unsigned_abs()) > CLOCKS_APART_MAX {
        true => Err(Refused::ClocksApart { ahead_ms }),
        false => Ok(()),
    }
}

/// How far the other clock is ahead at least.
fn ahead_ms(theirs: u64, waited: Waited) -> i64 {
    let behind = waited.from_ms.saturating_sub(theirs);
    let ahead = theirs.saturating_sub(waited.to_ms);
    let signed = |ms| i64::try_from(ms).unwrap_or(i64::MAX);
    signed(ahead) - signed(behind)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{Outgoing, Tag};
    use super::super::trust::{Secret, Side, Trust};
    use super::*;
    use crate::cluster::frozen::frozen;

    #[test]
    fn the_handshake_of_release_1_is_frozen() {
        let greeting = Greeting {
            versions: Versions {
                oldest: 1,
                newest: 1,
            },
            nonce: [7; NONCE],
        };
        let read = Greeting::decode(&frozen("greeting", &greeting.encode()));
        assert_eq!(read, Some(greeting));
        for (name, purpose) in [
            ("account_raft", Purpose::Lane(Lane::Raft)),
            ("account_control", Purpose::Lane(Lane::Control)),
            ("account_stream", Purpose::Stream),
        ] {
            let account = Account {
                node: 0xA1,
                set: Some(0x0102_0304_0506_0708),
                wall_ms: 1_790_000_000_000,
                purpose,
                name: "a".to_owned(),
            };
            let mut now = Vec::new();
            account.encode(&mut now);
            assert_eq!(Account::decode(&frozen(name, &now)), Some(account));
        }
        for (name, verdict) in [
            ("verdict_ok", Ok(())),
            ("verdict_secret", Err(Refused::Secret)),
            ("verdict_set", Err(Refused::Set)),
            ("verdict_own_id", Err(Refused::OwnId)),
            (
                "verdict_clocks",
                Err(Refused::ClocksApart { ahead_ms: -1_500 }),
            ),
        ] {
            let mut now = Vec::new();
            encode_verdict(verdict, &mut now);
            let frozen = frozen(name, &now);
            assert_eq!(decode_verdict(&frozen), Some((verdict, &[][..])));
        }
        let secret = Secret::new(b"a secret of the tests").expect("long enough");
        let trust = Trust::new(Some(secret), None).expect("a secret");
        let seen: &[&[u8]] = &[b"greetings", b"account"];
        for (name, side) in [
            ("proof_dialing", Side::Dialing),
            ("proof_accepting", Side::Accepting),
        ] {
            let proof = frozen(name, &trust.proof(side, seen));
            assert!(trust.proves(side, seen, &proof));
        }
    }

    #[tokio::test]
    async fn the_frames_of_release_1_are_frozen() {
        let mut outgoing = Outgoing::default();
        let body = || [bytes::Bytes::from_static(b"body")];
        outgoing.push(1, Tag::Request(16), body());
        outgoing.push(2, Tag::Answer, body());
        outgoing.push(3, Tag::Refusal, body());
        outgoing.push(0, Tag::Open(32), body());
        let mut now = Vec::new();
        outgoing.write_to(&mut now).await.expect("a vector");
        let frozen = frozen("frames", &now);
        let mut reader = super::super::frame::FrameReader::new(&frozen[..]);
        for (id, tag) in [
            (1, Tag::Request(16)),
            (2, Tag::Answer),
            (3, Tag::Refusal),
            (0, Tag::Open(32)),
        ] {
            let head = reader.head().await.expect("a head").expect("a frame");
            assert_eq!((head.id, head.tag), (id, tag));
            let body = reader.body(head.length).await.expect("a body");
            assert_eq!(body, "body");
        }
    }
}
