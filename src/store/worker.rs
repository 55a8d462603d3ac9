//! A background thread of the store: started under a name, and waited for once it has been told to end. What it does,
//! and how it is told, is its owner's. The process ends with a thread that panics: without it the store would fall
//! behind, or confirm nothing, for ever, while a process that has ended is started again.

use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tracing::error;

use super::StoreError;

/// `EX_SOFTWARE`: the exit code when a thread has panicked.
const EX_SOFTWARE: i32 = 70;

/// Ends the process when it is dropped by a panic.
pub(super) struct Vital(pub(super) &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(
                "the thread {} has panicked, and the store does not work without it: the broker ends; start it again",
                self.0
            );
            std::process::exit(EX_SOFTWARE);
        }
    }
}

/// The handle of the thread.
pub(super) struct Worker {
    name: &'static str,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start(
        name: &'static str,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<Worker, StoreError> {
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _vital = Vital(name);
                run();
            })
            .map_err(|source| StoreError::Io {
                doing: format!("starting the thread {name}"),
                source,
            })?;
        Ok(Worker {
            name,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits for its end, unless somebody has before.
    pub(super) fn join(&self) {
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread {} has panicked", self.name);
        }
    }
}
