//! Unreadable messages: after some attempts the queue goes on without them. They stay on disk, and the next start tries
//! again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::broker::queue::shell::Queue;
use crate::model::LogId;
use crate::store::StoreError;

/// Pause between two attempts.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Pause after a failure of the store as a whole.
const STORE_RETRY: Duration = Duration::from_secs(1);
impl Queue {
    /// A read from `from` on has failed. Returns the pause before the next attempt; `None` if the queue goes on without
    /// the unreadable messages.
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
        // There are no messages between `from` and the unreadable ones.
        let offsets = offsets.start.min(from)..offsets.end;
        let mut tries = self.tries.lock();
        let again = tries.again(log, offsets.start);
        drop(tries);
        if again {
            return Some(TRY_AGAIN);
        }
        let lost = self.run(|machine, now_ms, fx| machine.lose(now_ms, log, offsets.clone(), fx));
        tracing::error!(
            queue = %self.name(), log = log.0, offsets = %shown(&offsets), messages = lost.unwrap_or(0), reason,
            "messages cannot be read; the queue goes on without them, and they are left on disk"
        );
        None
    }

    /// The start has found that these messages went with damaged entries of the log.
    pub(in crate::broker::queue) fn lose_missing(&self, missing: Vec<(LogId, Range<u64>)>) {
        for (log, offsets) in missing {
            let lost =
                self.run(|machine, now_ms, fx| machine.lose(now_ms, log, offsets.clone(), fx));
            tracing::error!(
                queue = %self.name(), log = log.0, offsets = %shown(&offsets), messages = lost.unwrap_or(0),
                "messages went with damaged entries of the log; the queue goes on without them"
            );
        }
    }

    /// Whether the queue has waited until the message at `from` is in the store.
    pub(in crate::broker::queue) fn is_written(&self, log: LogId, from: u64) -> bool {
        let tries = self.tries.lock();
        tries.is_written(log, from)
    }

    /// The store has everything that was enqueued when the message at `from` was missing.
    pub(in crate::broker::queue) fn note_written(&self, log: LogId, from: u64) {
        let mut tries = self.tries.lock();
        tries.note_written(log, from);
    }

    /// The offsets of messages that cannot be read, by log.
    pub fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        self.lock().machine.lost()
    }
}

/// Reads, and turns a panic into a failure at `from`: the database may panic over damaged bytes.
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

/// Offsets for the log; the end may be open.
fn shown(offsets: &Range<u64>) -> String {
    match offsets.end {
        u64::MAX => format!("{}-", offsets.start),
        end => format!("{}-{}", offsets.start, end.saturating_sub(1)),
    }
}
