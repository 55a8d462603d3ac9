//! The numbers of a queue, as listings show them.

/// A queue's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that wait.
    pub ready: u64,
    /// Messages handed out and not settled.
    pub unacked: u64,
    /// Bytes of the bodies of those that wait.
    pub ready_bytes: u64,
    /// The same of those handed out.
    pub unacked_bytes: u64,
    /// Messages that are kept back until their time has come.
    pub delayed: u64,
    /// Acked messages that are kept and can be read again.
    pub rewindable: u64,
    /// Bytes of the bodies of those.
    pub rewindable_bytes: u64,
    /// Messages that are on disk and cannot be read.
    pub damaged: u64,
    /// Consumers.
    pub consumers: u64,
    /// Bytes in memory.
    pub resident_bytes: u64,
}

impl Counts {
    /// Whether no message waits, for a consumer or for its time.
    pub fn is_empty(&self) -> bool {
        self.ready == 0 && self.delayed == 0
    }
}
