//! What the thread that seals memtables is asked to do, and by whom it is woken: the store, and whatever changes the
//! database's manifests.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What a wait has ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There is something to do.
    ToWork,
    /// Nothing came within the time.
    InTime,
    /// The thread is to end.
    ToStop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Asleep,
    Wanted,
    Working,
    Stopping,
}

pub(super) struct SealSignal {
    state: Mutex<State>,
    changed: Condvar,
}

impl SealSignal {
    /// The thread finds work as soon as it starts: memtables read from journals may be too large already.
    pub(super) fn new() -> SealSignal {
        SealSignal {
            state: Mutex::new(State::Wanted),
            changed: Condvar::new(),
        }
    }

    /// Wakes the thread, or lets it look once more if it is working.
    pub(super) fn wake(&self) {
        let mut state = self.state.lock();
        match *state {
            State::Asleep => {
                *state = State::Wanted;
                self.changed.notify_all();
            }
            State::Working => *state = State::Wanted,
            State::Wanted | State::Stopping => {}
        }
    }

    /// Ends the thread's waits.
    pub(super) fn stop(&self) {
        *self.state.lock() = State::Stopping;
        self.changed.notify_all();
    }

    /// Waits for work, for as long as `at_most` says when nothing wakes the thread; `None` is without an end. What the
    /// thread has done before is done.
    pub(super) fn wait(&self, at_most: impl FnOnce() -> Option<Duration>) -> Woken {
        let mut state = self.state.lock();
        if *state == State::Working {
            *state = State::Asleep;
        }
        // Asked under the lock, so that a change afterwards wakes the thread.
        let at_most = at_most();
        while *state == State::Asleep {
            match at_most {
                None => self.changed.wait(&mut state),
                Some(time) => {
                    let wait = self.changed.wait_for(&mut state, time);
                    if wait.timed_out() && *state == State::Asleep {
                        return Woken::InTime;
                    }
                }
            }
        }
        if *state == State::Stopping {
            return Woken::ToStop;
        }
        *state = State::Working;
        Woken::ToWork
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_comes_while_the_thread_works_is_found_afterwards() {
        let signal = SealSignal::new();
        let never = || Some(Duration::ZERO);
        assert_eq!(signal.wait(never), Woken::ToWork);
        signal.wake();
        assert_eq!(signal.wait(|| None), Woken::ToWork);
        assert_eq!(signal.wait(never), Woken::InTime);
        signal.wake();
        signal.wake();
        assert_eq!(signal.wait(|| None), Woken::ToWork);
        assert_eq!(signal.wait(never), Woken::InTime);
        signal.stop();
        signal.wake();
        assert_eq!(signal.wait(|| None), Woken::ToStop);
    }

    #[test]
    fn a_thread_that_waits_without_an_end_is_woken() {
        let signal = SealSignal::new();
        assert_eq!(signal.wait(|| None), Woken::ToWork);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| signal.wait(|| None));
            signal.wake();
            assert_eq!(waiting.join().expect("no panic"), Woken::ToWork);
        });
    }
}
