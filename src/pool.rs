//! Threads for blocking work. Each kind of work has a small pool of its own, so that, for example, a slow
//! disk does not delay logins. Work has a key (a queue, an address): keys are served in rounds, and work of
//! one key starts in order.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use tracing::error;

/// An idle thread ends after this time.
const IDLE: Duration = Duration::from_secs(10);

/// Limits of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Maximum number of threads.
    pub threads: usize,
    /// Maximum number of pieces of work that wait for a thread; more are refused.
    pub waiting: usize,
}

/// The work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The maximum number of pieces of work is waiting.
    #[error("too much work waits already")]
    Full,
    /// The work panicked, or the pool was dropped.
    #[error("the work was given up")]
    Lost,
}

type Work = Box<dyn FnOnce() + Send>;

/// A bounded pool of threads. Threads start when work arrives, and end when they are idle. Dropping the pool
/// drops the waiting work.
pub struct Pool<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    name: &'static str,
    limits: PoolLimits,
    /// The runtime that created the pool. Work may spawn tasks on it.
    runtime: Option<Runtime>,
    line: Mutex<Line<K>>,
    came: Condvar,
}

/// The waiting work.
struct Line<K> {
    /// Keys with work, in the order in which they are served.
    turns: VecDeque<K>,
    work: HashMap<K, VecDeque<Work>>,
    waiting: usize,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl<K: Hash + Eq + Clone> Line<K> {
    fn push(&mut self, key: K, work: Work) {
        let of_key = self.work.entry(key.clone()).or_default();
        if of_key.is_empty() {
            self.turns.push_back(key);
        }
        of_key.push_back(work);
        self.waiting += 1;
    }

    fn pop(&mut self) -> Option<Work> {
        let key = self.turns.pop_front()?;
        let of_key = self.work.get_mut(&key)?;
        let work = of_key.pop_front()?;
        self.waiting -= 1;
        if of_key.is_empty() {
            self.work.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        Some(work)
    }
}

impl<K: Hash + Eq + Clone + Send + 'static> Pool<K> {
    /// Creates a pool whose threads are named `leveret-` and `name`. No thread runs yet.
    pub fn new(name: &'static str, limits: PoolLimits) -> Pool<K> {
        Pool {
            shared: Arc::new(Shared {
                name,
                limits,
                runtime: Runtime::try_current().ok(),
                line: Mutex::new(Line {
                    turns: VecDeque::new(),
                    work: HashMap::new(),
                    waiting: 0,
                    threads: 0,
                    idle: 0,
                    closed: false,
                }),
                came: Condvar::new(),
            }),
        }
    }

    /// Runs `work` on a thread of the pool when its key is served. Never blocks.
    ///
    /// # Errors
    /// [`PoolError::Full`] when the maximum of work is waiting, or when no thread runs and the system cannot
    /// start one.
    pub fn submit(&self, key: K, work: impl FnOnce() + Send + 'static) -> Result<(), PoolError> {
        let shared = &self.shared;
        let mut line = shared.line.lock();
        if line.waiting >= shared.limits.waiting {
            return Err(PoolError::Full);
        }
        let needs_thread = line.idle <= line.waiting && line.threads < shared.limits.threads;
        if needs_thread && let Err(error) = Shared::start_thread(shared, &mut line) {
            error!(pool = shared.name, %error, "cannot start a thread");
            // Running threads will serve this work too.
            if line.threads == 0 {
                return Err(PoolError::Full);
            }
        }
        line.push(key, Box::new(work));
        drop(line);
        shared.came.notify_one();
        Ok(())
    }

    /// As [`Pool::submit`], and waits for the result. If the future is dropped before the work starts, the
    /// work is skipped.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn run<R: Send + 'static>(
        &self,
        key: K,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, PoolError> {
        let (answer, result) = oneshot::channel();
        self.submit(key, move || {
            if !answer.is_closed() {
                // Fails only if the future has been dropped meanwhile.
                drop(answer.send(work()));
            }
        })?;
        result.await.map_err(|_| PoolError::Lost)
    }

    /// Pieces of work that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.shared.line.lock().waiting
    }
}

impl<K: Hash + Eq + Clone + Send + 'static> Shared<K> {
    fn start_thread(shared: &Arc<Self>, line: &mut Line<K>) -> std::io::Result<()> {
        let own = Arc::clone(shared);
        thread::Builder::new()
            .name(format!("leveret-{}", shared.name))
            .spawn(move || own.serve())?;
        line.threads += 1;
        Ok(())
    }

    fn serve(&self) {
        let _runtime = self.runtime.as_ref().map(Runtime::enter);
        let mut line = self.line.lock();
        while !line.closed {
            if let Some(work) = line.pop() {
                drop(line);
                // The panic hook has logged the cause. The thread goes on with other work.
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    error!(
                        pool = self.name,
                        "work on a thread of the pool has panicked"
                    );
                }
                line = self.line.lock();
                continue;
            }
            line.idle += 1;
            let waited = self.came.wait_for(&mut line, IDLE);
            line.idle -= 1;
            if waited.timed_out() && line.waiting == 0 {
                break;
            }
        }
        line.threads -= 1;
    }
}

impl<K> Drop for Pool<K> {
    fn drop(&mut self) {
        let mut line = self.shared.line.lock();
        line.closed = true;
        line.turns.clear();
        line.waiting = 0;
        let dropped = std::mem::take(&mut line.work);
        drop(line);
        self.shared.came.notify_all();
        drop(dropped); // work may own values that lock the pool when dropped
    }
}

impl<K> fmt::Debug for Pool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.shared.name)
            .field("limits", &self.shared.limits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn pool(threads: usize, waiting: usize) -> Pool<u32> {
        Pool::new("test", PoolLimits { threads, waiting })
    }

    /// Occupies a thread until the returned sender is dropped.
    fn occupy(pool: &Pool<u32>) -> mpsc::Sender<()> {
        let (hold, held) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        pool.submit(u32::MAX, move || {
            tell.send(()).expect("the test waits");
            assert!(held.recv().is_err());
        })
        .expect("room");
        told.recv_timeout(LONG).expect("a thread");
        hold
    }

    #[test]
    fn keys_are_served_in_rounds_and_work_of_one_key_in_order() {
        let pool = pool(1, 100);
        let hold = occupy(&pool);
        let (sender, done) = mpsc::channel();
        for (key, count) in [(1, 4), (2, 1), (3, 2)] {
            for number in 0..count {
                let sender = sender.clone();
                pool.submit(key, move || sender.send((key, number)).expect("a test"))
                    .expect("room");
            }
        }
        drop((hold, sender));
        let order: Vec<_> = done.iter().collect();
        assert_eq!(
            order,
            [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2), (1, 3)]
        );
    }

    #[test]
    fn threads_and_waiting_work_stay_within_the_limits() {
        let pool = pool(3, 5);
        let holds: Vec<_> = (0..3).map(|_| occupy(&pool)).collect();
        let done = Arc::new(AtomicUsize::new(0));
        let submit = || {
            let done = Arc::clone(&done);
            pool.submit(1, move || {
                done.fetch_add(1, Ordering::SeqCst);
            })
        };
        for _ in 0..5 {
            assert_eq!(submit(), Ok(()));
        }
        assert_eq!(submit(), Err(PoolError::Full));
        assert_eq!((pool.waiting(), pool.shared.line.lock().threads), (5, 3));
        drop(holds);
        while done.load(Ordering::SeqCst) < 5 {
            thread::yield_now();
        }
        assert_eq!(submit(), Ok(()));
    }

    #[tokio::test]
    async fn work_that_panics_ends_no_thread() {
        let pool = pool(1, 10);
        let lost = pool.run(1, || panic!("on purpose")).await;
        assert_eq!(lost, Err::<(), _>(PoolError::Lost));
        assert_eq!(pool.run(1, || 7).await, Ok(7));
        let task = pool.run(1, || tokio::spawn(async { 8 })).await;
        assert_eq!(task.expect("work may spawn").await.expect("a task"), 8);
    }

    #[tokio::test]
    async fn work_is_skipped_when_its_future_is_dropped() {
        let pool = pool(1, 10);
        let hold = occupy(&pool);
        let done = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&done);
        let given_up = pool.run(1, move || count.fetch_add(1, Ordering::SeqCst));
        tokio::select! {
            biased;
            _ = given_up => panic!("its thread is occupied"),
            () = tokio::task::yield_now() => {}
        }
        drop(hold);
        assert_eq!(pool.run(1, || 1).await, Ok(1));
        assert_eq!(done.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn dropping_a_pool_drops_its_waiting_work() {
        let pool = pool(1, 10);
        let hold = occupy(&pool);
        let (sender, done) = mpsc::channel::<()>();
        pool.submit(1, move || drop(sender)).expect("room");
        drop(pool);
        assert!(done.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Disconnected));
        drop(hold);
    }
}
