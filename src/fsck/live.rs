//! Verifies the store of a running broker, gently.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock;
use crate::store::{Store, StoreError, Verified, VerifyProgress};

/// Longest pause between two reads.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Verifies a store on this thread, which pauses as long as it reads, so that clients have the disk for themselves half of
/// the time. Ends early when `stopped` is set.
pub fn verify_gently(
    store: &dyn Store,
    stopped: &AtomicBool,
    told: impl Fn(VerifyProgress),
) -> Result<Verified, StoreError> {
    let mut since = clock::monotonic();
    store.verify(&mut |progress| {
        told(progress);
        std::thread::sleep((clock::monotonic() - since).min(PAUSE_MAX));
        since = clock::monotonic();
        match stopped.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })
}
