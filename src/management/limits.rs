//! Fixed bounds that protect the broker.

use std::time::Duration;

/// Largest body of a request, in bytes, as in RabbitMQ.
pub(super) const BODY_BYTES_MAX: usize = 20_000_000;
/// A larger body takes one of [`LARGE_BODIES_MAX`] places while it is read and handled.
pub(super) const LARGE_BODY_BYTES: usize = 64 * 1024;
/// Large bodies in memory together. Further ones wait.
pub(super) const LARGE_BODIES_MAX: usize = 4;
/// Time that all bytes of a request's body may take, the wait for a place not counted.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a too large body that are read and discarded, so that its client gets to read the response.
pub(super) const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Page size of a list that names none.
pub(super) const PAGE_SIZE_DEFAULT: usize = 100;
pub(super) const PAGE_SIZE_MAX: usize = 500;
/// Bytes of a filter that is a regular expression.
pub(super) const REGEX_BYTES_MAX: usize = 1_000;
/// Steps that a regular expression may take back on one name.
pub(super) const REGEX_STEPS_MAX: usize = 10_000;
/// Bytes of a compiled regular expression.
pub(super) const REGEX_SIZE_MAX: usize = 256 * 1024;
/// Rows of a list that are handled between two yields.
pub(super) const ROWS_AT_ONCE: usize = 256;
/// A list goes to its client in pieces of about this many bytes.
pub(super) const LIST_PIECE_BYTES: usize = 64 * 1024;
/// Log lines per [`DENIED_LOGGED_EVERY`] about refused logins. Further ones are only counted.
pub(super) const DENIED_LOGGED_MAX: u64 = 20;
/// See [`DENIED_LOGGED_MAX`].
pub(super) const DENIED_LOGGED_EVERY: Duration = Duration::from_secs(10);
/// How long browsers may keep the answer to whether a page of another origin may call, as in RabbitMQ.
pub(super) const CORS_AGE: Duration = Duration::from_secs(1800);
/// How long the aliveness test waits for a commit.
pub(super) const ALIVENESS_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of the name of a user, as of all other names.
pub(super) const USER_NAME_BYTES_MAX: usize = 255;
/// Tags of a user or of a virtual host.
pub(super) const WORDS_MAX: usize = 64;
/// Messages that one request fetches from a queue.
pub(super) const FETCHED_MAX: usize = 10_000;
/// A request fetches no further message when the payloads have this many bytes.
pub(super) const FETCHED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Requests whose fetched messages are in memory. Further ones wait.
pub(super) const FETCHES_MAX: usize = 8;
