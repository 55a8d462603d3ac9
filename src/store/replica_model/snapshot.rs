//! Everything that a member's store in memory holds, for another member.

use bytes::Bytes;

use super::contents::{Begun, Entries};
use crate::store::keys::KeyspaceName;
use crate::store::writes::{Change, Write};
use crate::store::{EntryId, IncomingSnapshot, OutgoingSnapshot, Proposal, StoreError};

/// The key of the block that says how a set has begun.
const BEGUN: &[u8] = b"begun";

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
#[derive(Default)]
pub(crate) struct ReceivedModel {
    pub(super) log: Entries,
    pub(super) begun: Option<Begun>,
}

impl IncomingSnapshot for ReceivedModel {
    type Received = ReceivedModel;

    fn take(&mut self, block: &Proposal) -> Result<(), StoreError> {
        let after = self.log.len() as u64;
        if let Some(members) = begun_in(block) {
            self.begun = Some(Begun { after, members });
            return Ok(());
        }
        let id = EntryId {
            term: 0,
            index: after + 1,
        };
        self.log.push((id, block.clone()));
        Ok(())
    }

    fn finish(mut self, id: EntryId) -> Result<ReceivedModel, StoreError> {
        let last = self.log.last_mut();
        let last = last.filter(|last| last.0.index == id.index);
        let last = last.ok_or_else(|| StoreError::Corrupt("a part of a snapshot".to_owned()))?;
        last.0 = id;
        Ok(self)
    }
}

/// The block that says between two entries how a set has begun there.
pub(super) fn begun_block(begun: &Begun) -> Proposal {
    Proposal::from_writes(vec![Write {
        space: KeyspaceName::Meta,
        key: Bytes::from_static(BEGUN),
        change: Change::Put(begun.members.clone().into()),
    }])
}

fn begun_in(block: &Proposal) -> Option<Vec<u8>> {
    match block.writes() {
        [
            Write {
                key,
                change: Change::Put(members),
                ..
            },
        ] if **key == *BEGUN => Some(members.to_vec()),
        _ => None,
    }
}
