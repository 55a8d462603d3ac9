//! What becomes of messages that are on disk and cannot be read: reading them is tried a few times, then the queue goes
//! on without them. Nothing of them is removed from the disk, and the next start tries again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::broker::queue::shell::Queue;
use crate::model::LogId;
use crate::store::StoreError;

/// How often messages are tried to be read before the queue goes on without them.
const TRIES: u32 = 3;
/// How long to wait between.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// How long to wait after a failure that says nothing about single messages.
const STORE_RETRY: Duration = Duration::from_secs(1);
/// Places of one queue at which reading is tried, as far as that is remembered.
const PLACES_MAX: usize = 64;

/// How reading went so far, by place.
#[derive(Debug, Default)]
pub(in crate::broker::queue) struct Tries(BTreeMap<(LogId, u64), Place>);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// How often it has failed.
    failed: u32,
    /// What is to be read there was on its way to the store once, and has arrived.
    is_written: bool,
}

impl Tries {
    /// Reading has failed here; whether it is to be tried again.
    fn again(&mut self, log: LogId, first: u64) -> bool {
        let place = self.place(log, first);
        place.failed += 1;
        let again = place.failed < TRIES;
        if !again {
            self.0.remove(&(log, first));
        }
        again
    }

    fn place(&mut self, log: LogId, first: u64) -> &mut Place {
        if self.0.len() >= PLACES_MAX {
            self.0.clear(); // of most the trouble was over long ago
        }
        self.0.entry((log, first)).or_default()
    }
}

impl Queue {
    /// Reading from `from` on has failed. Tells how long to wait before it is tried again; `None` if the queue goes on
    /// without what cannot be read.
    pub(in crate::broker::queue) fn cannot_read(
        &self,
        log: LogId,
        from: u64,
        error: StoreError,
    ) -> Option<Duration> {
        let StoreError::Unreadable { offsets, reason } = error else {
            tracing::error!(queue = %self.name(), ?log, from, %error, "cannot read messages; trying again");
            return Some(STORE_RETRY);
        };
        // Between the place that was asked for and what cannot be read there is nothing.
        let offsets = offsets.start.min(from)..offsets.end;
        let mut tries = self.tries.lock();
        let again = tries.again(log, offsets.start);
        drop(tries);
        if again {
            return Some(TRY_AGAIN);
        }
        let lost = self.run(|state, now_ms, fx| state.lose(now_ms, log, offsets.clone(), fx));
        tracing::error!(
            queue = %self.name(), log = log.0, offsets = %shown(&offsets), messages = lost.unwrap_or(0), reason,
            "messages cannot be read; the queue goes on without them, and they are left on disk"
        );
        None
    }

    /// Whether what is to be read at `from` has been waited for.
    pub(in crate::broker::queue) fn is_written(&self, log: LogId, from: u64) -> bool {
        let tries = self.tries.lock();
        let place = tries.0.get(&(log, from));
        place.is_some_and(|place| place.is_written)
    }

    /// Everything that was enqueued when it was not there is in the store.
    pub(in crate::broker::queue) fn note_written(&self, log: LogId, from: u64) {
        let mut tries = self.tries.lock();
        tries.place(log, from).is_written = true;
    }

    /// The offsets of messages that cannot be read, by log.
    pub fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        self.lock().state.lost()
    }
}

/// Calls what reads. A panic is a failure to read what is at `from`: the database may panic over bytes that make no
/// sense.
pub(in crate::broker::queue) fn guarded<R>(
    from: u64,
    read: impl FnOnce() -> Result<R, StoreError>,
) -> Result<R, StoreError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(StoreError::Unreadable {
            offsets: from..from.saturating_add(1),
            reason: "reading has panicked".to_owned(),
        })
    })
}

/// Offsets as people write them; the end may be open.
fn shown(offsets: &Range<u64>) -> String {
    match offsets.end {
        u64::MAX => format!("{}-", offsets.start),
        end => format!("{}-{}", offsets.start, end.saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_up_after_some_tries() {
        let mut tries = Tries::default();
        let log = LogId(5);
        assert!(tries.again(log, 7) && tries.again(log, 7) && tries.again(log, 8));
        assert!(!tries.again(log, 7));
        assert!(tries.again(log, 7), "counted anew");
        for first in 0..2 * PLACES_MAX as u64 {
            tries.again(log, first);
            assert!(tries.0.len() <= PLACES_MAX);
        }
    }
}
