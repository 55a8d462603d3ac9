//! Everything that a member's store in memory holds, for another member.

use super::contents::Entries;
use crate::store::{EntryId, IncomingSnapshot, OutgoingSnapshot, Proposal, StoreError};

/// Everything that was applied, an entry a block.
pub(crate) struct ModelSnapshot {
    pub(super) id: EntryId,
    pub(super) members: Option<Vec<u8>>,
    pub(super) blocks: std::vec::IntoIter<Proposal>,
}

impl OutgoingSnapshot for ModelSnapshot {
    fn id(&self) -> EntryId {
        self.id
    }

    fn members(&self) -> Option<&[u8]> {
        self.members.as_deref()
    }

    fn leave_out_damaged(&mut self) {}

    fn next_block(&mut self) -> Result<Option<Proposal>, StoreError> {
        Ok(self.blocks.next())
    }
}

/// The blocks of a snapshot, from the first one on. The terms of all but the last are not known.
pub(crate) struct ReceivedModel(pub(super) Entries);

impl IncomingSnapshot for ReceivedModel {
    type Received = ReceivedModel;

    fn take(&mut self, block: &Proposal) -> Result<(), StoreError> {
        let index = self.0.len() as u64 + 1;
        self.0.push((EntryId { term: 0, index }, block.clone()));
        Ok(())
    }

    fn finish(mut self, id: EntryId) -> Result<ReceivedModel, StoreError> {
        let last = self.0.last_mut().filter(|last| last.0.index == id.index);
        let last = last.ok_or_else(|| StoreError::Corrupt("a part of a snapshot".to_owned()))?;
        last.0 = id;
        Ok(self)
    }
}
