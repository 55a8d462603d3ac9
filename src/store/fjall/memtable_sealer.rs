//! Seals memtables that have grown to their size, on a thread of its own.
//!
//! The database could do it, but its worker can lock itself up: every commit over the limit sends it a request
//! through a bounded channel, and a request makes the worker send itself another message through the same channel.
//! When a long flush has let the channel fill up, the worker waits for itself. So its own limit is out of reach, and
//! it hears of each memtable once.
//!
//! A sealed memtable becomes a table, and that changes the database's manifests: when it is done they are copied.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing::debug;

use super::core::Core;
use crate::store::StoreError;
use crate::store::worker::Worker;

/// How often to look whether sealed memtables have become tables.
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
    /// Starts the thread.
    pub(super) fn start(core: Arc<Core>) -> Result<MemtableSealer, StoreError> {
        let shared = Arc::new(Shared {
            core,
            state: Mutex::new(State::Wanted), // what recovery read back may be too large already
            changed: Condvar::new(),
        });
        let worker = Worker::start("leveret-rotate", {
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok(MemtableSealer { shared, worker })
    }

    /// Something has outgrown its size.
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

    /// Ends the thread.
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
                // The next commit hears the reason, and what was kept is written to the database opened anew.
                debug!(%failure, "could not seal a memtable");
            }
        }
    }
}
