//! The line of queues with unpublished dead letters. One task lets them publish in rounds, so that other
//! queues and batches make progress, however many dead letters one message causes.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::model::{QueueId, Ticket};
use crate::store::commit::{Committer, StoreFailed};

/// Bytes of dead letters on their way to the disk beyond which the next step waits.
const UNDER_WAY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A queue with unpublished dead letters, as the line knows it.
pub(in crate::broker::queue) trait LetterSource: Send + Sync {
    fn id(&self) -> QueueId;

    fn name(&self) -> &str;

    fn committer(&self) -> &Committer;

    /// Publishes some dead letters. Queues that still have some, or have new ones, join the line.
    fn publish_some(&self);
}

/// Queues that wait to publish their dead letters.
pub struct Letters {
    line: Mutex<Line>,
    /// Notified when a queue joins the line, and when the line is dropped.
    came: Arc<Notify>,
    /// Notified when the line gets shorter.
    went: Notify,
}

#[derive(Default)]
struct Line {
    queues: VecDeque<Weak<dyn LetterSource>>,
    /// Deleted queues. Only the line keeps them alive until their dead letters are published.
    deleted: HashMap<QueueId, Arc<dyn LetterSource>>,
    /// A queue is publishing.
    is_busy: bool,
    /// The last batch with dead letters.
    last: Ticket,
    /// Bytes of dead letters that are not durable yet, as far as is known.
    under_way: usize,
}

impl Letters {
    /// Starts the task of the line, which ends when the line is dropped.
    pub fn start() -> Arc<Letters> {
        let letters = Arc::new(Letters {
            line: Mutex::default(),
            came: Arc::default(),
            went: Notify::new(),
        });
        tokio::spawn(serve(Arc::downgrade(&letters), Arc::clone(&letters.came)));
        letters
    }

    /// Waits until the line is empty, for `within` at most. False if dead letters are left.
    pub async fn published(&self, within: Duration) -> bool {
        let all = async {
            loop {
                let went = self.went.notified();
                tokio::pin!(went);
                went.as_mut().enable();
                if self.is_idle() {
                    return;
                }
                went.await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// Puts a queue at the end of the line.
    pub(super) fn line_up(&self, queue: Weak<dyn LetterSource>) {
        self.line().queues.push_back(queue);
        self.came.notify_one();
    }

    /// Keeps a deleted queue alive until [`Letters::forget`].
    pub(in crate::broker::queue) fn keep(&self, queue: Arc<dyn LetterSource>) {
        self.line().deleted.insert(queue.id(), queue);
    }

    pub(super) fn forget(&self, queue: QueueId) {
        let forgotten = self.line().deleted.remove(&queue);
        drop(forgotten); // not under the lock
    }

    /// Removes the next queue from the line, which is then busy.
    fn next(&self) -> Option<Arc<dyn LetterSource>> {
        let mut line = self.line();
        while let Some(queue) = line.queues.pop_front() {
            if let Some(queue) = queue.upgrade() {
                line.is_busy = true;
                return Some(queue);
            }
        }
        None
    }

    fn turn_is_over(&self) {
        self.line().is_busy = false;
        self.went.notify_waiters();
    }

    /// Forgets all queues, since the store has failed.
    fn close(&self) {
        let mut line = self.line();
        line.queues.clear();
        let forgotten = std::mem::take(&mut line.deleted);
        drop(line);
        drop(forgotten); // not under the lock
        self.turn_is_over();
    }

    fn is_idle(&self) -> bool {
        let line = self.line();
        line.queues.is_empty() && !line.is_busy
    }

    /// Counts bytes of dead letters in the batch that is gathering.
    pub(super) fn note(&self, bytes: usize, committer: &Committer) {
        let mut line = self.line();
        let gathering = committer.gathering();
        if gathering > line.last && committer.durable() >= line.last {
            line.under_way = 0;
        }
        line.last = gathering;
        line.under_way += bytes;
    }

    /// The batch that must be durable before the next step, if too many bytes are on their way.
    pub(super) fn too_many(&self, committer: &Committer) -> Option<Ticket> {
        let line = self.line();
        let last = line.last;
        (line.under_way >= UNDER_WAY_BYTES_MAX && committer.durable() < last).then_some(last)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock()
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        self.came.notify_one();
    }
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let waiting = self.line().queues.len();
        f.debug_struct("Letters")
            .field("waiting", &waiting)
            .finish()
    }
}

async fn serve(letters: Weak<Letters>, came: Arc<Notify>) {
    loop {
        let Some(turn) = letters.upgrade().map(|letters| letters.next()) else {
            return;
        };
        let Some(queue) = turn else {
            came.notified().await;
            continue;
        };
        let room = room(&letters, &*queue).await;
        // A queue that panics must not stop the dead letters of others.
        let step = AssertUnwindSafe(|| queue.publish_some());
        if room.is_ok() && catch_unwind(step).is_err() {
            tracing::error!(
                queue = queue.name(),
                "a queue panicked while publishing dead letters"
            );
        }
        drop(queue);
        let Some(letters) = letters.upgrade() else {
            return;
        };
        match room {
            Ok(()) => letters.turn_is_over(),
            Err(StoreFailed) => return letters.close(),
        }
        drop(letters);
        tokio::task::yield_now().await;
    }
}

/// Waits until few enough bytes of dead letters are on their way.
async fn room(letters: &Weak<Letters>, queue: &dyn LetterSource) -> Result<(), StoreFailed> {
    let committer = queue.committer();
    let too_many = || letters.upgrade()?.too_many(committer);
    while let Some(ticket) = too_many() {
        committer.wait(ticket).await?;
    }
    Ok(())
}
