//! Tasks in virtual time, on one thread. Of the tasks that can go on, chance picks the next one; when none can, time
//! goes to the next timer. So a seed gives the same run every time.
//!
//! A task may belong to a process. A process can be killed, paused, and have a clock that goes wrong.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::process::{PPM, Process, Running, scaled};
use super::timer::Timer;

/// Tasks that go on without end while no time passes.
const POLLS_MAX: u64 = 200_000;
/// Blocking work usually takes less than this.
const WORK_MAX: Duration = Duration::from_micros(400);
/// How often blocking work looks whether its disk goes on.
const STALL_LOOK: Duration = Duration::from_millis(5);

thread_local! {
    static CURRENT: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

struct Task {
    owner: Option<Process>,
    /// `None` while it is polled.
    future: Option<BoxFuture<'static, ()>>,
}

type Ready = Arc<Mutex<BTreeSet<u64>>>;

struct Wakes {
    task: u64,
    ready: Ready,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.task);
    }
}

pub(super) struct Inner {
    pub(super) now: Duration,
    rng: StdRng,
    tasks: BTreeMap<u64, Task>,
    tasks_begun: u64,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_begun: u64,
    pub(super) processes: BTreeMap<Process, Running>,
    pub(super) processes_begun: u64,
    /// The process of the task that is polled.
    current: Option<Process>,
    polls: u64,
    polls_now: u64,
}

impl Inner {
    /// What the clock of a process shows. Without one it is never wrong.
    pub(super) fn clock(&self, process: Option<Process>) -> Duration {
        let process = process.and_then(|it| self.processes.get(&it));
        process.map_or(self.now, |process| process.clock(self.now))
    }
}

/// A simulation's tasks and time.
pub(in super::super::super) struct World {
    pub(super) inner: Mutex<Inner>,
    ready: Ready,
}

/// Until it is dropped, the tasks of this thread run in a world.
pub(super) struct Entered(Arc<World>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.end();
        CURRENT.with_borrow_mut(Option::take);
    }
}

impl World {
    pub(super) fn new(seed: u64) -> Arc<World> {
        let inner = Inner {
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            tasks: BTreeMap::new(),
            tasks_begun: 0,
            timers: BTreeMap::new(),
            timers_begun: 0,
            processes: BTreeMap::new(),
            processes_begun: 0,
            current: None,
            polls: 0,
            polls_now: 0,
        };
        Arc::new(World {
            inner: Mutex::new(inner),
            ready: Ready::default(),
        })
    }

    /// This thread's tasks run in this world.
    pub(super) fn enter(self: &Arc<World>) -> Entered {
        CURRENT.with_borrow_mut(|current| *current = Some(Arc::clone(self)));
        Entered(Arc::clone(self))
    }

    /// The world of this thread.
    pub(in super::super::super) fn current() -> Option<Arc<World>> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Virtual time, which no clock shows exactly.
    pub(super) fn now(&self) -> Duration {
        self.inner.lock().now
    }

    /// How often tasks were polled.
    pub(super) fn polls(&self) -> u64 {
        self.inner.lock().polls
    }

    /// What the clock of the current process shows.
    pub(super) fn clock(&self) -> Duration {
        let inner = self.inner.lock();
        inner.clock(inner.current)
    }

    /// A number below this one.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.inner.lock().rng.random_range(0..end)
    }

    pub(super) fn between(&self, least: Duration, most: Duration) -> Duration {
        self.inner.lock().rng.random_range(least..=most)
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        self.inner.lock().rng.random_bool(probability)
    }

    /// Ends a process: its tasks are dropped where they are.
    pub(super) fn kill(&self, process: Process) {
        let tasks: Vec<Task> = {
            let mut inner = self.inner.lock();
            inner.processes.remove(&process);
            let theirs = inner
                .tasks
                .extract_if(.., |_, task| task.owner == Some(process));
            let theirs = theirs.map(|(_, task)| task).collect();
            inner.current = Some(process);
            theirs
        };
        drop(tasks);
        self.inner.lock().current = None;
    }

    /// Ends all tasks.
    fn end(&self) {
        loop {
            let tasks = std::mem::take(&mut self.inner.lock().tasks);
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        self.inner.lock().timers.clear();
    }

    /// Begins a task of the current process.
    pub(in super::super::super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let owner = self.inner.lock().current;
        self.spawn_as(owner, Box::pin(future));
    }

    /// Begins a task of this process.
    pub(super) fn spawn_on(
        &self,
        process: Process,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_as(Some(process), Box::pin(future));
    }

    /// Begins a task that belongs to no process.
    pub(super) fn spawn_outside(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_as(None, Box::pin(future));
    }

    fn spawn_as(&self, owner: Option<Process>, future: BoxFuture<'static, ()>) {
        let mut inner = self.inner.lock();
        if owner.is_some_and(|owner| !inner.processes.contains_key(&owner)) {
            drop(inner);
            return; // it was killed
        }
        inner.tasks_begun += 1;
        let id = inner.tasks_begun;
        let future = Some(future);
        inner.tasks.insert(id, Task { owner, future });
        self.ready.lock().insert(id);
    }

    /// Lets time pass. `look` is called whenever a task has gone on.
    pub(super) fn pass(&self, time: Duration, look: &mut dyn FnMut()) {
        let end = self.now() + time;
        loop {
            if self.poll_one() {
                look();
            } else if !self.pass_to_next(end) {
                return;
            }
        }
    }

    /// Polls one of the tasks that can go on, if any.
    fn poll_one(&self) -> bool {
        let Some((id, owner, mut future)) = self.take_one() else {
            return false;
        };
        let waker = Waker::from(Arc::new(Wakes {
            task: id,
            ready: Arc::clone(&self.ready),
        }));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut inner = self.inner.lock();
        inner.current = None;
        let lives = owner.is_none_or(|owner| inner.processes.contains_key(&owner));
        if polled.is_pending() && lives {
            if let Some(task) = inner.tasks.get_mut(&id) {
                task.future = Some(future);
            }
            return true;
        }
        inner.tasks.remove(&id);
        inner.current = owner.filter(|_| lives);
        drop(inner);
        drop(future);
        self.inner.lock().current = None;
        true
    }

    fn take_one(&self) -> Option<(u64, Option<Process>, BoxFuture<'static, ()>)> {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut ready = self.ready.lock();
        ready.retain(|id| inner.tasks.contains_key(id));
        let is_paused = |owner: &Process| inner.processes.get(owner).is_some_and(|it| it.is_paused);
        let can_go_on: Vec<u64> = ready
            .iter()
            .copied()
            .filter(|id| !inner.tasks[id].owner.as_ref().is_some_and(is_paused))
            .collect();
        if can_go_on.is_empty() {
            return None;
        }
        inner.polls += 1;
        inner.polls_now += 1;
        assert!(inner.polls_now < POLLS_MAX, "tasks go on without end");
        let id = can_go_on[inner.rng.random_range(0..can_go_on.len())];
        ready.remove(&id);
        let task = inner.tasks.get_mut(&id)?;
        inner.current = task.owner;
        Some((id, task.owner, task.future.take()?))
    }

    /// Goes to the time of the next timers, if that is not after `end`; else to `end`.
    fn pass_to_next(&self, end: Duration) -> bool {
        let mut inner = self.inner.lock();
        inner.polls_now = 0;
        let due = inner.timers.first_key_value().map(|(key, _)| key.0);
        let Some(due) = due.filter(|due| *due <= end) else {
            inner.now = end.max(inner.now);
            return false;
        };
        inner.now = due.max(inner.now);
        let later = inner.timers.split_off(&(due, u64::MAX));
        let wakers = std::mem::replace(&mut inner.timers, later);
        drop(inner);
        wakers.into_values().for_each(Waker::wake);
        true
    }

    /// A timer on the clock of the current process.
    pub(super) fn timer(self: &Arc<World>, time: Duration) -> Timer {
        let mut inner = self.inner.lock();
        inner.timers_begun += 1;
        let deadline = inner.clock(inner.current).saturating_add(time);
        Timer::new(self, inner.current, deadline, inner.timers_begun)
    }

    /// Wakes this timer when the clock of a process may have reached its deadline, unless it has. Returns when that is
    /// in virtual time.
    pub(super) fn wake_at(
        &self,
        process: Option<Process>,
        deadline: Duration,
        timer: u64,
        waker: &Waker,
    ) -> Option<Duration> {
        let mut inner = self.inner.lock();
        let left = deadline.checked_sub(inner.clock(process))?;
        if left.is_zero() {
            return None;
        }
        let running = process.and_then(|it| inner.processes.get(&it));
        let rate = running.map_or(PPM, |running| running.rate);
        // A clock that goes fast reaches it earlier.
        let at = inner.now + scaled(left, PPM, rate) + Duration::from_nanos(1);
        inner.timers.insert((at, timer), waker.clone());
        Some(at)
    }

    pub(super) fn forget_timer(&self, at: Duration, timer: u64) {
        self.inner.lock().timers.remove(&(at, timer));
    }

    /// Blocking work of the current process takes some time.
    pub(super) async fn disk_time(self: &Arc<World>) {
        let owner = self.inner.lock().current;
        let time = match self.chance(0.02) {
            true => self.between(WORK_MAX, WORK_MAX * 50),
            false => self.between(Duration::ZERO, WORK_MAX),
        };
        self.timer(time).await;
        let is_stalled = || {
            let inner = self.inner.lock();
            let running = owner.and_then(|owner| inner.processes.get(&owner));
            running.is_some_and(|running| running.stalled_until > inner.now)
        };
        while is_stalled() {
            self.timer(STALL_LOOK).await;
        }
    }
}
