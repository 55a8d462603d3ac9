//! Errors that stop a benchmark. Lost and disordered messages are results, not errors: see `witness`.

use std::io;

use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum BenchError {
    /// The options contradict each other.
    #[error("{0}")]
    Usage(String),
    /// A socket, a file or a hook failed.
    #[error("{doing}: {source}")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
    /// The broker closed the connection or the channel, or the API refused a request.
    #[error("the broker closed: {code} {text}")]
    Closed { code: u16, text: String },
    /// The broker sent bytes that are not AMQP 0-9-1, or a method that does not belong here.
    #[error("unexpected from the broker: {0}")]
    Unexpected(String),
    /// Messages are outstanding, and none has moved for long.
    #[error("no progress for {seconds} s: {what}")]
    Stalled { seconds: u64, what: String },
    #[error("a load generator thread panicked")]
    Panicked,
}

impl BenchError {
    /// For `map_err` on I/O: names the operation that failed.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> BenchError {
        move |source| BenchError::Io { doing, source }
    }

    pub(crate) fn usage(text: &str) -> BenchError {
        BenchError::Usage(text.to_owned())
    }

    pub(crate) fn unexpected(text: &str) -> BenchError {
        BenchError::Unexpected(text.to_owned())
    }
}
