//! What happens to the processes of a simulation: they begin, stand still and go on, and their clocks go wrong.

use std::time::Duration;

use super::process::{Process, Running};
use super::world::World;

impl World {
    pub(super) fn begin_process(&self) -> Process {
        let mut inner = self.inner.lock();
        inner.processes_begun += 1;
        let process = Process(inner.processes_begun);
        let running = Running::new(inner.now);
        inner.processes.insert(process, running);
        process
    }

    pub(super) fn is_paused(&self, process: Process) -> bool {
        let inner = self.inner.lock();
        inner.processes.get(&process).is_some_and(|it| it.is_paused)
    }

    /// The time since the machine of a process booted, which counts through its sleeps.
    pub(super) fn since_boot(&self, process: Process) -> Duration {
        let inner = self.inner.lock();
        let slept = inner.processes.get(&process).map(|it| it.slept(inner.now));
        inner.clock(Some(process)) + slept.unwrap_or_default()
    }

    /// Changes a process, unless it is gone. `change` gets the time, too.
    fn change(&self, process: Process, change: impl FnOnce(&mut Running, Duration)) {
        let mut inner = self.inner.lock();
        let now = inner.now;
        if let Some(running) = inner.processes.get_mut(&process) {
            change(running, now);
        }
    }

    /// Pauses a process: time passes for it meanwhile, unless its machine sleeps.
    pub(super) fn pause(&self, process: Process, sleeps: bool) {
        self.change(process, |running, now| {
            running.is_paused = true;
            if sleeps {
                running.fall_asleep(now);
            }
        });
    }

    /// Lets a process go on.
    pub(super) fn resume(&self, process: Process) {
        self.change(process, |running, now| {
            running.is_paused = false;
            running.wake_up(now);
        });
    }

    /// The blocking work of a process stands still for this time.
    pub(super) fn stall(&self, process: Process, time: Duration) {
        self.change(process, |running, now| running.stalled_until = now + time);
    }

    /// The clock of a process goes so fast from now on, in parts per million.
    pub(super) fn set_rate(&self, process: Process, rate: u64) {
        self.change(process, |running, now| running.set(now, rate));
    }
}
