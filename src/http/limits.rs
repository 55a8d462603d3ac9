//! Fixed bounds of a connection.

use std::time::Duration;

/// Time that a connection may be idle between requests, and that the head of a request may take.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Size of a connection's read buffer in bytes. The head of a request has to fit into it.
pub(super) const READ_BUFFER_MAX: usize = 64 * 1024;
/// A client that takes fewer than [`READ_AT_LEAST`] bytes of a waiting response in this time loses its connection.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(30);
/// See [`READ_WITHIN`].
pub(super) const READ_AT_LEAST: usize = 64 * 1024;
