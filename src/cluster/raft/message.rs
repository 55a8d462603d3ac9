//! The messages between members as bytes. Bodies of messages in the broker's sense are not copied on either side.
//!
//! ```text
//! request = version u8, set u64, from u64, to u64, body, checksum u64
//! append  = length u32, vote and positions (JSON), number of entries u32, entry *
//! entry   = term u64, index u64, proposal
//! answer  = 0 u8, body (JSON) | 1 u8, text
//! ```
//! Little-endian. The checksum is XXH3 of everything before it. The bodies of other requests are JSON, by `wire`.

use bytes::{Buf, Bytes};
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::records::{entry_of, proposal_of};
use super::types::{Group, entry_id};
use super::wire;
use crate::store::{EntryId, Parts, Proposal};

/// The version of the messages. An older one is understood as long as a release before may send it.
const VERSION: u8 = 1;
const ENVELOPE_LEN: usize = 25;
const SUM_LEN: usize = 8;

/// The kinds of requests. Kinds from 16 on are not Raft's.
pub(super) mod kind {
    pub(in super::super) const APPEND: u8 = 1;
    pub(in super::super) const VOTE: u8 = 2;
    pub(in super::super) const PRE_VOTE: u8 = 3;
    pub(in super::super) const TRANSFER: u8 = 4;
    /// A stream. Its header is a request with a [`super::super::wire::SnapshotHead`].
    pub(in super::super) const SNAPSHOT: u8 = 5;
    pub(in super::super) const LOOK: u8 = 6;
}

/// From whom to whom, and in which set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// 0 before this is known.
    pub(super) set: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum MessageError {
    #[error("a message of version {0}, which this release does not know")]
    Version(u8),
    #[error("a malformed message")]
    Malformed,
    #[error("a malformed message: {0}")]
    Json(#[from] serde_json::Error),
    /// The member refuses.
    #[error("{0}")]
    Refused(String),
}

#[derive(Serialize, Deserialize)]
struct AppendHead {
    vote: wire::Vote,
    previous: Option<wire::Position>,
    commit: Option<wire::Position>,
}

/// A request with a JSON body.
pub(super) fn request(
    envelope: Envelope,
    body: &impl Serialize,
) -> Result<Vec<Bytes>, MessageError> {
    let mut parts = begin(envelope);
    parts.put_slice(&serde_json::to_vec(body)?);
    Ok(finish(parts))
}

/// A request to append entries.
pub(super) fn append_request(
    envelope: Envelope,
    append: &AppendEntriesRequest<Group>,
) -> Result<Vec<Bytes>, MessageError> {
    let mut parts = begin(envelope);
    let head = serde_json::to_vec(&AppendHead {
        vote: append.vote.into(),
        previous: append.prev_log_id.map(wire::Position::from),
        commit: append.leader_commit.map(wire::Position::from),
    })?;
    parts.put_slice(&length(head.len()));
    parts.put_slice(&head);
    parts.put_slice(&length(append.entries.len()));
    for entry in &append.entries {
        let EntryId { term, index } = entry_id(&entry.log_id());
        parts.put_slice(&term.to_le_bytes());
        parts.put_slice(&index.to_le_bytes());
        proposal_of(entry)?.encode(&mut parts);
    }
    Ok(finish(parts))
}

fn begin(envelope: Envelope) -> Parts {
    let mut parts = Parts::default();
    parts.put_slice(&[VERSION]);
    for number in [envelope.set, envelope.from, envelope.to] {
        parts.put_slice(&number.to_le_bytes());
    }
    parts
}

fn finish(parts: Parts) -> Vec<Bytes> {
    let mut parts = parts.into_parts();
    let mut sum = Xxh3::new();
    parts.iter().for_each(|part| sum.update(part));
    parts.push(Bytes::copy_from_slice(&sum.digest().to_le_bytes()));
    parts
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// The envelope and the body of a request.
pub(super) fn open(mut request: Bytes) -> Result<(Envelope, Bytes), MessageError> {
    let version = *request.first().ok_or(MessageError::Malformed)?;
    if version != VERSION {
        return Err(MessageError::Version(version));
    }
    let end = request.len().checked_sub(SUM_LEN);
    let end = end.filter(|end| *end >= ENVELOPE_LEN);
    let sum = request.split_off(end.ok_or(MessageError::Malformed)?);
    if sum[..] != xxh3_64(&request).to_le_bytes() {
        return Err(MessageError::Malformed);
    }
    request.advance(1);
    let envelope = Envelope {
        set: request.get_u64_le(),
        from: request.get_u64_le(),
        to: request.get_u64_le(),
    };
    Ok((envelope, request))
}

/// The body of a request with a JSON body.
pub(super) fn body<T: DeserializeOwned>(body: &Bytes) -> Result<T, MessageError> {
    Ok(serde_json::from_slice(body)?)
}

/// The body of a request to append entries.
pub(super) fn append_body(mut body: Bytes) -> Result<AppendEntriesRequest<Group>, MessageError> {
    let malformed = |_| MessageError::Malformed;
    let len = body.try_get_u32_le().map_err(malformed)? as usize;
    if len > body.len() {
        return Err(MessageError::Malformed);
    }
    let head: AppendHead = serde_json::from_slice(&body.split_to(len))?;
    let count = body.try_get_u32_le().map_err(malformed)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let term = body.try_get_u64_le().map_err(malformed)?;
        let index = body.try_get_u64_le().map_err(malformed)?;
        let proposal = Proposal::decode(&mut body).ok_or(MessageError::Malformed)?;
        entries.push(entry_of(EntryId { term, index }, proposal)?);
    }
    Ok(AppendEntriesRequest {
        vote: head.vote.into(),
        prev_log_id: wire::log_id(head.previous),
        entries,
        leader_commit: wire::log_id(head.commit),
    })
}

/// An answer as bytes.
pub(super) fn answer(outcome: Result<Vec<u8>, MessageError>) -> Bytes {
    match outcome {
        Ok(body) => [&[0][..], &body].concat().into(),
        Err(error) => [&[1][..], error.to_string().as_bytes()].concat().into(),
    }
}

/// Reads an answer.
pub(super) fn read_answer<T: DeserializeOwned>(answer: &Bytes) -> Result<T, MessageError> {
    match answer.split_first() {
        Some((0, body)) => Ok(serde_json::from_slice(body)?),
        Some((1, text)) => Err(MessageError::Refused(
            String::from_utf8_lossy(text).into_owned(),
        )),
        Some(_) | None => Err(MessageError::Malformed),
    }
}
