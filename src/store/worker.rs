//! A named background thread of the store that its owner can join. The owner supplies the work and the way to
//! stop it. A panic in such a thread ends the process: without the thread the store would fall behind or
//! never confirm again, while a service manager restarts a process that has ended.

use std::thread::{self, JoinHandle};

use parking_lot::Mutex;
use tracing::error;

use super::StoreError;

/// `EX_SOFTWARE` of `sysexits.h`: the exit code after a panic.
const EX_SOFTWARE: i32 = 70;

/// Ends the process when a panic drops it.
pub(crate) struct Vital(pub(crate) &'static str);

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

/// The handle of a background thread.
pub(super) struct Worker {
    name: &'static str,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
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

    /// Waits for the end of the thread. A second call returns immediately.
    pub(super) fn join(&self) {
        let thread = self.thread.lock().take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            error!("the thread {} has panicked", self.name);
        }
    }
}
