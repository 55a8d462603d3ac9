//! Why publishers are stopped: the store failed, or its disk is nearly full.

/// Why publishers are stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The store failed; it is tried again until it works.
    DiskFailed(String),
    /// The disk has too little free space.
    DiskLow {
        /// Free bytes, less those that the store must still write.
        free: u64,
        /// The limit that they are below.
        limit: u64,
    },
}

#[derive(Default)]
pub(super) struct AlarmCauses {
    /// The error of a failed store.
    pub(super) failed: Option<String>,
    /// The number of free bytes, if it is below the limit.
    pub(super) low: Option<u64>,
}
