//! Seals memtables that have reached their maximum size, on a thread of its own.
//!
//! The database could do it, but its worker can deadlock: every commit over the limit sends the worker a
//! request through a bounded channel, and each request makes the worker send another message through the same
//! channel. When the channel fills up during a long flush, the worker waits for itself. So the database's own
//! limit is set out of reach, and this thread seals each memtable once.
//!
//! A sealed memtable becomes a table, which changes the database's manifests. This thread copies them
//! afterwards.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::debug;

use super::core::Core;
use crate::store::StoreError;
use crate::store::worker::Worker;

/// Interval of the checks whether sealed memtables have become tables.
const FLUSH_LOOK: Duration = Duration::from_millis(500);

/// The handle of the thread.
pub(super) struct MemtableSealer {
    shared: Arc<Shared>,
    worker: Worker,
}

struct Shared {
    core: Arc<Core>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asleep,
    Wanted,
    Working,
    Stopping,
}

impl MemtableSealer {
    pub(super) fn start(core: Arc<Core>) -> Result<MemtableSealer, StoreError> {
        let shared = Arc::new(Shared {
            core,
            state: Mutex::new(State::Wanted), // memtables read from journals may be too large already
            changed: Condvar::new(),
        });
        let worker = Worker::start("leveret-rotate", {
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(MemtableSealer { shared, worker })
    }

    /// Wakes the thread. Called when a memtable exceeds its maximum.
    pub(super) fn wake(&self) {
        let mut state = self.shared.state.lock();
        match *state {
            State::Asleep => {
                *state = State::Wanted;
                self.shared.changed.notify_all();
            }
            State::Working => *state = State::Wanted,
            State::Wanted | State::Stopping => {}
        }
    }

    /// Stops the thread and waits for its end.
    pub(super) fn stop(&self) {
        *self.shared.state.lock() = State::Stopping;
        self.shared.changed.notify_all();
        self.worker.join();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut state = self.state.lock();
            if *state == State::Working {
                *state = State::Asleep;
            }
            while *state == State::Asleep {
                if self.core.are_manifests_stale() {
                    let wait = self.changed.wait_for(&mut state, FLUSH_LOOK);
                    if wait.timed_out() && *state == State::Asleep {
                        drop(state);
                        self.core.copy_manifests();
                        state = self.state.lock();
                    }
                } else {
                    self.changed.wait(&mut state);
                }
            }
            if *state == State::Stopping {
                return;
            }
            *state = State::Working;
            drop(state);
            if let Err(failure) = self.core.seal_overgrown() {
                // The next commit reports the reason, and the committer writes unsynced batches again after a
                // reopen.
                debug!(%failure, "cannot seal a memtable");
            }
        }
    }
}
