//! Where the group runs: tasks and time are tokio's, and what blocks has threads of its own.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The runtime of the group's tasks.
pub(super) type Runtime = openraft::impls::TokioRuntime;

/// Does work that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)
}

/// Takes steps on a thread of their own until one breaks. They may block. After a pending one the thread waits for the
/// step's waker.
pub(super) fn on_own_thread(
    name: &str,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<ControlFlow<()>> + Send + 'static,
) -> io::Result<()> {
    let take_steps = move || {
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
