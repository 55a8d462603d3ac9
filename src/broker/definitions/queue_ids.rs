//! The counter of queue ids.

use std::sync::Arc;

use parking_lot::Mutex;

use super::record::DefinitionError;
use crate::model::QueueId;
use crate::store::{Committer, Op};

/// Number of ids that a reservation on disk covers. A restart skips the rest of a reservation.
const IDS_RESERVED: u64 = 1024;
/// The key of the first id that is not reserved.
pub(in crate::broker) const IDS_KEY: &[u8] = b"queue-ids";

/// The counter of queue ids. No id is used twice, also after a crash.
pub(in crate::broker) struct QueueIds {
    committer: Arc<Committer>,
    state: Mutex<Ids>,
}

struct Ids {
    next: u64,
    reserved: u64,
}

impl QueueIds {
    /// Continues after the stored reservation, and after `seen`, the highest id of any log.
    pub(in crate::broker) fn open(
        committer: Arc<Committer>,
        seen: Option<QueueId>,
    ) -> Result<QueueIds, DefinitionError> {
        let stored = committer.store().definitions(IDS_KEY)?;
        let reserved = match stored.as_slice() {
            [] => 1,
            [(_, value), ..] => match value.as_slice().try_into() {
                Ok(bytes) => u64::from_be_bytes(bytes),
                Err(_) => {
                    return Err(DefinitionError::Damaged {
                        key: "queue-ids".to_owned(),
                        reason: "not a number".to_owned(),
                    });
                }
            },
        };
        let next = seen.map_or(reserved, |seen| reserved.max(seen.0 + 1));
        Ok(QueueIds {
            committer,
            state: Mutex::new(Ids {
                next,
                reserved: next,
            }),
        })
    }

    /// An id that was never used. Its reservation is in the same batch as the first write under the id, or in an earlier one.
    pub(in crate::broker) fn next(&self) -> QueueId {
        let mut ids = self.state.lock();
        if ids.next >= ids.reserved {
            ids.reserved = ids.next + IDS_RESERVED;
            self.committer.append(vec![Op::PutDefinition {
                key: IDS_KEY.to_vec(),
                value: ids.reserved.to_be_bytes().to_vec(),
            }]);
        }
        let id = ids.next;
        ids.next += 1;
        QueueId(id)
    }
}
