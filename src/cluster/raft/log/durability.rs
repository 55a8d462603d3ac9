//! Tells what of the log is durable, and waits for it.

use std::io;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use tokio::sync::oneshot;

use super::shared::Shared;
use super::state::{Install, State, Work};
use crate::cluster::raft::types::{LogId, store_index};
use crate::store::{Replica, StoreError};

/// With more bytes waiting for this node's disk, a leader proposes nothing: the others may be faster.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// With this many, a leader is behind the others.
const BEHIND_BYTES: usize = WAITING_BYTES_MAX / 2;

/// Tells what is durable.
pub(in super::super) struct Durability<R>(Arc<Shared<R>>);

impl<R: Replica> Durability<R> {
    pub(super) fn new(shared: Arc<Shared<R>>) -> Durability<R> {
        Durability(shared)
    }

    /// Waits until everything up to this index of the store is durable here.
    pub(in super::super) async fn wait(&self, upto: u64) -> io::Result<()> {
        self.until(|state| {
            if state.durable >= upto {
                return Some(Ok(()));
            }
            state.failure().map(Err)
        })
        .await
    }

    /// Waits until the thread of the log has ended: it writes nothing more to the store.
    pub(in super::super) async fn wait_over(&self) {
        self.until(|state| state.is_over.then_some(())).await;
    }

    async fn until<T>(&self, found: impl Fn(&State) -> Option<T>) -> T {
        loop {
            // Created before the look, it misses nothing that comes after it.
            let changed = self.0.changed.notified();
            if let Some(found) = found(&self.0.state.lock()) {
                return found;
            }
            changed.await;
        }
    }

    /// Puts a snapshot in the place of everything, after what was written before.
    pub(in super::super) async fn install(&self, received: R::Received) -> io::Result<()> {
        let (done, installed) = oneshot::channel();
        {
            let store = self.0.store.clone();
            let install: Install = Box::new(move || store.install_snapshot(received));
            let mut state = self.0.state.lock();
            self.0.submit(&mut state, Work::Install(install, done))?;
        }
        let ended = |_| io::Error::other("the log is closed");
        installed.await.map_err(ended)?
    }

    /// The last entry of the log, durable or not.
    pub(in super::super) fn last(&self) -> Option<LogId> {
        self.0.state.lock().last
    }

    /// Whether the log has this entry for certain, and durable. It may have it unknown to this.
    pub(in super::super) fn has(&self, id: &LogId) -> bool {
        let state = self.0.state.lock();
        let recent = state.recent_from(id.index());
        let recent = recent.and_then(|mut entries| entries.next());
        let is_known = state.last == Some(*id) || recent.is_some_and(|it| it.log_id() == *id);
        is_known && store_index(Some(id)) <= state.durable
    }

    /// Notes an error of the store, if it says that its files are damaged.
    pub(in super::super) fn note_damage(&self, error: &StoreError) {
        self.0.note_damage(error);
    }

    /// As [`Durability::damage`], once.
    pub(in super::super) fn take_damage(&self) -> Option<String> {
        self.0.state.lock().damage.take()
    }

    /// What turned out to be damaged.
    pub(in super::super) fn damage(&self) -> Option<String> {
        self.0.state.lock().damage.clone()
    }

    /// Whether more waits for the disk than should be in memory.
    pub(in super::super) fn is_throttled(&self) -> bool {
        self.0.state.lock().waiting_bytes >= WAITING_BYTES_MAX
    }

    /// Whether much waits for the disk that the other members have written already: entries up to `committed`.
    pub(in super::super) fn is_behind(&self, committed: u64) -> bool {
        let state = self.0.state.lock();
        state.waiting_bytes >= BEHIND_BYTES && committed > state.durable
    }

    /// What is durable, and whether more waits.
    pub(in super::super) fn progress(&self) -> (u64, bool) {
        let state = self.0.state.lock();
        let waits = store_index(state.last.as_ref()) > state.durable;
        (state.durable, waits)
    }
}
