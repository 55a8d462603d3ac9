//! Timers on the clocks of processes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::process::Process;
use super::world::World;

/// Ends at its time.
pub(super) struct Timer {
    world: Arc<World>,
    process: Option<Process>,
    /// On the clock of the process.
    deadline: Duration,
    number: u64,
    /// The virtual time at which it looks at that clock.
    registered: Option<Duration>,
}

impl Timer {
    pub(super) fn new(
        world: &Arc<World>,
        process: Option<Process>,
        deadline: Duration,
        number: u64,
    ) -> Timer {
        Timer {
            world: Arc::clone(world),
            process,
            deadline,
            number,
            registered: None,
        }
    }

    fn forget(&mut self) {
        if let Some(at) = self.registered.take() {
            self.world.forget_timer(at, self.number);
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.forget();
        let timer = &mut *self;
        let waker = context.waker();
        timer.registered = timer
            .world
            .wake_at(timer.process, timer.deadline, timer.number, waker);
        match timer.registered {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.forget();
    }
}
