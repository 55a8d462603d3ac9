//! Threads of the load generator.

use std::thread::{self, JoinHandle};

use crate::error::BenchError;

/// Stack of a thread: thousands of them can run, one for each connection.
const STACK_BYTES: usize = 256 * 1024;

/// Starts a thread with a small stack.
pub(crate) fn spawn_small<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> Result<T, BenchError> + Send + 'static,
) -> Result<JoinHandle<Result<T, BenchError>>, BenchError> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map_err(BenchError::io("starting a thread"))
}

/// Joins all threads before it returns an error, so that none is left behind.
pub(crate) fn join_all<T>(
    threads: impl IntoIterator<Item = JoinHandle<Result<T, BenchError>>>,
) -> Result<Vec<T>, BenchError> {
    let joined: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
    joined
        .into_iter()
        .map(|result| result.unwrap_or(Err(BenchError::Panicked)))
        .collect()
}
