//! What can stop a benchmark run. Losses and disorder found while measuring are not errors but results: see `order`.

use std::io;

use thiserror::Error;

/// Why a run could not be carried out.
#[derive(Debug, Error)]
pub(super) enum BenchError {
    /// The options contradict each other or cannot be used.
    #[error("{0}")]
    Usage(String),
    /// A socket, a file of `/proc` or a hook failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The broker closed the connection or the channel.
    #[error("the broker closed: {code} {text}")]
    Closed {
        /// The reply code.
        code: u16,
        /// The reply text.
        text: String,
    },
    /// The broker sent bytes that are not AMQP 0-9-1, or a method that does not belong here.
    #[error("unexpected from the broker: {0}")]
    Unexpected(String),
    /// Nothing moved any more although messages were outstanding.
    #[error("no progress for {seconds} s: {what}")]
    Stalled {
        /// How long was waited.
        seconds: u64,
        /// What was missing.
        what: String,
    },
    /// A thread of the load generator panicked.
    #[error("a load generator thread panicked")]
    Panicked,
}

impl BenchError {
    /// For `map_err` on I/O: names what was being done.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> BenchError {
        move |source| BenchError::Io { doing, source }
    }
}
