//! One task that wakes queues at their deadlines. Each queue has at most one deadline here. The task sleeps
//! while no queue is due.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::model::QueueId;

/// Sleep without a deadline. A new deadline wakes the task.
const NOTHING_DUE: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum sleep with a deadline: tokio's time stands still while the computer is suspended, the broker's
/// does not.
const SLEEP_MAX: Duration = Duration::from_secs(10);

/// A queue, as the timers know it.
pub(super) trait Timed: Send + Sync {
    fn name(&self) -> &str;

    /// The deadline has come.
    fn tick(&self);
}

/// The deadlines of all queues.
pub struct Timers {
    clock: Arc<Clock>,
    due: Mutex<BTreeMap<(u64, QueueId), Weak<dyn Timed>>>,
    /// Notified when a new deadline is earlier than all others, and when the timers are dropped.
    earlier: Arc<Notify>,
}

impl Timers {
    /// Starts the task, which ends when the timers are dropped.
    pub fn start(clock: Arc<Clock>) -> Arc<Timers> {
        let timers = Arc::new(Timers {
            clock,
            due: Mutex::default(),
            earlier: Arc::default(),
        });
        tokio::spawn(serve(Arc::downgrade(&timers), Arc::clone(&timers.earlier)));
        timers
    }

    /// Moves the deadline of queue `id` from `before` to `after`, both on the broker's time line.
    pub(super) fn schedule(
        &self,
        queue: Weak<dyn Timed>,
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
        due.insert((after, id), queue);
        drop(due);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// Removes the queues that are due. Also returns the time until the next queue is due.
    fn take_due(&self) -> (Vec<Weak<dyn Timed>>, Option<Duration>) {
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
            // A queue that panics must not stop the deadlines of the others.
            if catch_unwind(AssertUnwindSafe(|| queue.tick())).is_err() {
                tracing::error!(queue = queue.name(), "a queue panicked at its deadline");
            }
            // Many queues may be due together, each with much to do.
            tokio::task::yield_now().await;
        }
        if !queues.is_empty() {
            // Let the tasks that the queues have woken run first; they may change the next deadlines.
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
