//! What the store has of an entry, and of the members.

use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_std;
use openraft::vote::RaftLeaderId;
use serde::de::Error;

use super::types::{Changes, Entry, LogId, Members};
use super::wire;
use crate::store::{EntryId, Proposal, ReplicaState};

/// The record of members.
pub(super) fn encode_members(members: &Members) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&wire::Members::from(members))
}

pub(super) fn decode_members(record: &[u8]) -> Result<Members, serde_json::Error> {
    let members: wire::Members = serde_json::from_slice(record)?;
    members.try_into().map_err(serde_json::Error::custom)
}

/// What the store writes for an entry.
pub(super) fn proposal_of(entry: &Entry) -> Result<Proposal, serde_json::Error> {
    Ok(match &entry.payload {
        EntryPayload::Blank => Proposal::default(),
        EntryPayload::Normal(changes) => changes.0.clone(),
        EntryPayload::Membership(members) => {
            let stored = Members::new(Some(entry.log_id()), members.clone());
            Proposal::of_members(encode_members(&stored)?)
        }
    })
}

/// An entry as the store has it.
pub(super) fn entry_of(id: EntryId, proposal: Proposal) -> Result<Entry, serde_json::Error> {
    let payload = match proposal.members() {
        Some(members) => {
            let stored = decode_members(members)?;
            EntryPayload::Membership(stored.membership().clone())
        }
        None if proposal.is_empty() => EntryPayload::Blank,
        None => EntryPayload::Normal(Changes(proposal)),
    };
    let leader = leader_id_std::LeaderId {
        term: id.term,
        voted_for: 0,
    };
    let log_id = LogId::new(leader.to_committed(), id.index.saturating_sub(1));
    Ok(Entry::new(log_id, payload))
}

/// The members that a store has recorded.
pub(super) fn members_of(state: &ReplicaState) -> Result<Members, serde_json::Error> {
    match &state.members {
        Some(members) => decode_members(members),
        None => Ok(Members::default()),
    }
}
