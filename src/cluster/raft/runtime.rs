//! Where the group runs: tasks and time are tokio's, and what blocks has threads of its own. Tests may run it in a
//! simulation, where both are virtual.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

#[cfg(test)]
use super::tests::simulation;
use crate::store::Vital;

/// The runtime of the group's tasks.
#[cfg(not(test))]
pub(super) type Runtime = openraft::impls::TokioRuntime;
#[cfg(test)]
pub(super) type Runtime = simulation::Runtime;

/// Does work that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    #[cfg(test)]
    if let Some(world) = simulation::World::current() {
        return simulation::blocking(world, work).await;
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)
}

/// Takes steps on a thread of their own until one breaks. They may block. After a pending one the thread waits for the
/// step's waker. A panic ends the process, since the member would wait for ever for what the thread does.
pub(super) fn on_own_thread(
    name: &'static str,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<ControlFlow<()>> + Send + 'static,
) -> io::Result<()> {
    #[cfg(test)]
    if let Some(world) = simulation::World::current() {
        world.spawn(simulation::take_steps(world.clone(), step));
        return Ok(());
    }
    let take_steps = move || {
        let _vital = Vital(name);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match step(&mut context) {
                Poll::Ready(ControlFlow::Continue(())) => {}
                Poll::Ready(ControlFlow::Break(())) => return,
                Poll::Pending => thread::park(),
            }
        }
    };
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(take_steps)?;
    Ok(())
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
