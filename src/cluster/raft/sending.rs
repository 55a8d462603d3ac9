//! The snapshots that this node is sending: the log keeps what follows on them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::Instant;
use openraft::alias::InstantOf;
use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;

use super::types::Group;
use crate::store::StoreError;

/// How long a snapshot counts after it was sent: soon Raft knows that the member has it.
const COUNTS_AFTER: Duration = Duration::from_secs(10);

/// The snapshots that are being sent or were sent lately, by member.
#[derive(Debug, Default)]
pub(super) struct Sendings {
    by_member: Mutex<BTreeMap<u64, Sending>>,
    /// What kept this node from sending one.
    damage: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Sending {
    /// The snapshot's last entry.
    entry: u64,
    ended: Option<InstantOf<Group>>,
}

impl Sendings {
    /// A snapshot with this last entry is sent to a member until the result is dropped.
    pub(super) fn begin(self: &Arc<Sendings>, to: u64, entry: u64) -> UnderWay {
        let sending = Sending { entry, ended: None };
        self.by_member.lock().insert(to, sending);
        UnderWay {
            sendings: Arc::clone(self),
            to,
        }
    }

    /// Notes why a snapshot was not sent, if that is damage of this node's files.
    pub(super) fn note_failure(&self, failure: &io::Error) {
        let error = failure.get_ref();
        let error = error.and_then(|error| error.downcast_ref::<StoreError>());
        if let Some(error) = error.filter(|error| error.is_damage()) {
            *self.damage.lock() = Some(error.damage());
        }
    }

    /// What was noted so, once.
    pub(super) fn take_damage(&self) -> Option<String> {
        self.damage.lock().take()
    }

    /// The last entries of the snapshots, by member.
    pub(super) fn entries(&self) -> BTreeMap<u64, u64> {
        let mut sendings = self.by_member.lock();
        sendings.retain(|_, sending| sending.ended.is_none_or(|at| at.elapsed() < COUNTS_AFTER));
        let entries = sendings.iter().map(|(to, sending)| (*to, sending.entry));
        entries.collect()
    }
}

/// A snapshot that is being sent.
#[derive(Debug)]
pub(super) struct UnderWay {
    sendings: Arc<Sendings>,
    to: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(sending) = self.sendings.by_member.lock().get_mut(&self.to) {
            sending.ended = Some(Group::now());
        }
    }
}
