//! The runtime of Raft's tasks in tests: that of the simulation on a thread that is in one, and tokio's on others.

use std::io;
use std::ops::{Add, AddAssign, ControlFlow, Sub, SubAssign};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use openraft::impls::TokioRuntime;
use openraft::{AsyncRuntime, OptionalSend};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::world::World;

/// The runtime of this thread.
#[derive(Debug)]
pub(in super::super::super) struct Runtime(TokioRuntime);

/// The time on a process's clock. All clocks begin at one time of the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super::super) struct Instant(std::time::Instant);

static BEGINNING: LazyLock<std::time::Instant> = LazyLock::new(crate::clock::monotonic);

impl openraft::Instant for Instant {
    fn now() -> Instant {
        Instant(match World::current() {
            Some(world) => *BEGINNING + world.clock(),
            None => crate::clock::monotonic(),
        })
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, time: Duration) -> Instant {
        Instant(self.0 + time)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        self.0 += time;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, time: Duration) -> Instant {
        Instant(self.0 - time)
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.0 - earlier.0
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, time: Duration) {
        self.0 -= time;
    }
}

/// Why a task has no outcome.
#[derive(Debug, thiserror::Error)]
#[error("the task has ended: {0}")]
pub(in super::super::super) struct JoinError(String);

/// It has taken too long.
#[derive(Debug, thiserror::Error)]
#[error("it has taken too long")]
pub(in super::super::super) struct Elapsed;

/// A future with a limit of time.
pub(in super::super::super) struct Timeout<T> {
    future: Pin<Box<T>>,
    limit: BoxFuture<'static, ()>,
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        self.limit.poll_unpin(context).map(|()| Err(Elapsed))
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = BoxFuture<'static, Result<T, JoinError>>;
    type Sleep = BoxFuture<'static, ()>;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = StdRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let Some(world) = World::current() else {
            let task = tokio::spawn(future);
            return async { task.await.map_err(|e| JoinError(e.to_string())) }.boxed();
        };
        let (done, outcome) = oneshot::channel();
        world.spawn(async move {
            // Who began it may not wait for it.
            drop(done.send(future.await));
        });
        async { outcome.await.map_err(|e| JoinError(e.to_string())) }.boxed()
    }

    fn sleep(time: Duration) -> Self::Sleep {
        match World::current() {
            Some(world) => world.timer(time).boxed(),
            None => tokio::time::sleep(time).boxed(),
        }
    }

    fn sleep_until(deadline: Instant) -> Self::Sleep {
        Runtime::sleep(openraft::Instant::saturating_duration_since(
            &deadline,
            openraft::Instant::now(),
        ))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(time: Duration, future: F) -> Timeout<F> {
        Timeout {
            future: Box::pin(future),
            limit: Runtime::sleep(time),
        }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Instant,
        future: F,
    ) -> Timeout<F> {
        Timeout {
            future: Box::pin(future),
            limit: Runtime::sleep_until(deadline),
        }
    }

    fn is_panic(_: &JoinError) -> bool {
        false
    }

    fn thread_rng() -> StdRng {
        StdRng::seed_from_u64(match World::current() {
            Some(world) => world.below(u64::MAX),
            None => rand::random(),
        })
    }

    fn new(threads: usize) -> Runtime {
        Runtime(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

/// Does the blocking work of a process in this world.
pub(in super::super::super) async fn blocking<T: Send + 'static>(
    world: Arc<World>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let done = Runtime::spawn(async move {
        world.disk_time().await;
        work()
    });
    done.await.map_err(io::Error::other)
}

/// Takes steps in this world until one breaks.
pub(in super::super::super) async fn take_steps(
    world: Arc<World>,
    mut step: impl FnMut(&mut Context<'_>) -> Poll<ControlFlow<()>> + Send,
) {
    loop {
        world.disk_time().await;
        let taken = std::future::poll_fn(|context| Poll::Ready(step(context))).await;
        match taken {
            Poll::Ready(ControlFlow::Continue(())) => {}
            Poll::Ready(ControlFlow::Break(())) => return,
            Poll::Pending => until_woken().await,
        }
    }
}

async fn until_woken() {
    let mut is_woken = false;
    let polled = |_: &mut Context<'_>| match std::mem::replace(&mut is_woken, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    };
    std::future::poll_fn(polled).await;
}
