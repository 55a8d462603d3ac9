//! Moves all queues, a few at a time. With more queues than workers a run that follows goes round: each worker leaves a
//! queue when it is empty, and comes back to it after the others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::inventory::SourceQueue;
use super::mover::{Leave, Mover};
use super::options::End;
use super::state::QueueKey;

/// Pause between two queues of a run that follows, so that empty queues cost little.
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// Why queues were not moved to their end.
pub(super) type Failures = BTreeMap<QueueKey, String>;

struct Work {
    waiting: Mutex<VecDeque<SourceQueue>>,
    failures: Mutex<Failures>,
    leave: Leave,
    end: End,
}

pub(super) async fn move_all(
    mover: &Arc<Mover>,
    queues: Vec<SourceQueue>,
    end: End,
    parallel: usize,
) -> Failures {
    let workers = parallel.min(queues.len());
    let work = Arc::new(Work {
        leave: match end {
            End::Follow if queues.len() <= parallel => Leave::Never,
            End::Follow | End::UntilEmpty => Leave::WhenEmpty,
        },
        waiting: Mutex::new(queues.into()),
        failures: Mutex::default(),
        end,
    });
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(worker(Arc::clone(mover), Arc::clone(&work)));
    }
    running.join_all().await;
    std::mem::take(&mut *work.failures.lock())
}

async fn worker(mover: Arc<Mover>, work: Arc<Work>) {
    while !mover.is_stopped() {
        let Some(queue) = work.waiting.lock().pop_front() else {
            return;
        };
        let key = QueueKey::new(&queue.vhost, &queue.name);
        match mover.move_queue(&queue, work.leave).await {
            Ok(()) => {
                work.failures.lock().remove(&key);
            }
            Err(error) => {
                let why = error.to_string();
                let line = format!("queue '{}' in vhost '{}': {why}", queue.name, queue.vhost);
                let before = work.failures.lock().insert(key, why.clone());
                // A run that follows tries again and again.
                if before.is_none_or(|before| before != why) {
                    (mover.say)(&line);
                }
            }
        }
        if work.end == End::Follow {
            work.waiting.lock().push_back(queue);
            mover.pause(ROUND_PAUSE).await;
        }
    }
    let never_moved = std::mem::take(&mut *work.waiting.lock());
    if work.end == End::UntilEmpty {
        let mut failures = work.failures.lock();
        for queue in never_moved {
            let key = QueueKey::new(&queue.vhost, &queue.name);
            failures.insert(key, "the run was stopped before it".to_owned());
        }
    }
}
