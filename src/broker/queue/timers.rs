//! One task that wakes queues at their deadlines. A queue has at most one deadline here; nothing runs while
//! none is due.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::model::QueueId;

use super::shell::Queue;

/// How long to sleep when there is no deadline at all; an earlier one wakes.
const NOTHING_DUE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long to sleep at most when there is one: a sleep stands still while the machine is suspended, and the broker's
/// time does not.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// Deadlines of queues.
pub struct Timers {
    clock: Arc<Clock>,
    due: Mutex<BTreeMap<(u64, QueueId), Weak<Queue>>>,
    /// An earlier deadline than all others came in, or the timers are dropped.
    earlier: Arc<Notify>,
}

impl Timers {
    /// Starts the task that serves them; it ends when they are dropped.
    pub fn start(clock: Arc<Clock>) -> Arc<Timers> {
        let timers = Arc::new(Timers {
            clock,
            due: Mutex::default(),
            earlier: Arc::default(),
        });
        tokio::spawn(serve(Arc::downgrade(&timers), Arc::clone(&timers.earlier)));
        timers
    }

    /// Moves the deadline of queue `id` from `before` to `after`, both moments of the clock's
    /// line.
    pub(super) fn schedule(
        &self,
        queue: &Weak<Queue>,
        id: QueueId,
        before: Option<u64>,
        after: Option<u64>,
    ) {
        let mut due = self.due.lock();
        if let Some(before) = before {
            due.remove(&(before, id));
        }
        let Some(after) = after else { return };
        let is_first = due
            .first_key_value()
            .is_none_or(|((first, _), _)| after < *first);
        due.insert((after, id), Weak::clone(queue));
        drop(due);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Takes the queues that are due, and tells how long it is until the next one will be.
    fn take_due(&self) -> (Vec<Weak<Queue>>, Option<Duration>) {
        let now_ms = self.clock.now_ms();
        let mut due = self.due.lock();
        let later = due.split_off(&(now_ms + 1, QueueId(0)));
        let queues = std::mem::replace(&mut *due, later).into_values().collect();
        let next = due.first_key_value();
        let wait = next.map(|((at, _), _)| Duration::from_millis(at.saturating_sub(now_ms)));
        (queues, wait)
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.earlier.notify_one();
    }
}

async fn serve(timers: Weak<Timers>, earlier: Arc<Notify>) {
    while let Some((queues, wait)) = timers.upgrade().map(|timers| timers.take_due()) {
        for queue in queues.iter().filter_map(Weak::upgrade) {
            // One queue that cannot be looked at stops the clock of no other.
            if catch_unwind(AssertUnwindSafe(|| queue.tick())).is_err() {
                tracing::error!(queue = %queue.name(), "a queue has panicked when its time had come");
            }
            // Many may be due at once, each with much to do.
            tokio::task::yield_now().await;
        }
        if !queues.is_empty() {
            // What the queues asked for may have to run before more can come of their next deadlines.
            tokio::task::yield_now().await;
            continue;
        }
        let wait = wait.map_or(NOTHING_DUE, |wait| wait.min(SLEEP_MAX));
        tokio::select! {
            () = earlier.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
