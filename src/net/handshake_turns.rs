//! How many TLS handshakes are worked on at a time.

use std::num::NonZero;

use tokio::sync::Semaphore;

/// The right to work on a handshake, for half of the machine's processors.
#[derive(Debug)]
pub(super) struct Turns(pub(super) Semaphore);

impl Default for Turns {
    fn default() -> Turns {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Turns(Semaphore::new(processors.div_ceil(2)))
    }
}
