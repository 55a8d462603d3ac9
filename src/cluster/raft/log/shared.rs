//! What the log's thread and its users share.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::state::{State, Work};
use crate::store::{Replica, StoreError};

pub(super) struct Shared<R> {
    pub(super) store: Arc<R>,
    pub(super) state: Mutex<State>,
    /// Told when more is durable, when the log has failed, and when its thread has ended.
    pub(super) changed: Notify,
}

impl<R: Replica> Shared<R> {
    pub(super) fn submit(&self, state: &mut State, work: Work) -> io::Result<()> {
        if let Some(failure) = state.failure() {
            return Err(failure);
        }
        state.queue.push_back(work);
        if let Some(thread) = state.idle.take() {
            thread.wake();
        }
        Ok(())
    }

    /// Notes an error of the store, if it says that its files are damaged.
    pub(super) fn note_damage(&self, error: &StoreError) {
        if error.is_damage() {
            let mut state = self.state.lock();
            state.damage.get_or_insert_with(|| error.damage());
        }
    }
}

impl<R> Shared<R> {
    /// The log takes nothing more. Its thread ends when it has carried out what waits.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        if let Some(thread) = state.idle.take() {
            thread.wake();
        }
        drop(state);
        self.changed.notify_waiters();
    }
}
