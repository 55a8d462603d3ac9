//! Why publishers are stopped: the store failed, or its disk is nearly full.

/// Why publishers are stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The store failed; it is tried again until it works.
    DiskFailed(String),
    /// Too little free space.
    DiskLow {
        /// Free bytes, less those that the store owes to the disk.
        free: u64,
        /// The limit that they are below.
        limit: u64,
    },
}

#[derive(Default)]
pub(super) struct AlarmCauses {
    /// What the failed store said.
    pub(super) failed: Option<String>,
    /// Free bytes, if too few.
    pub(super) low: Option<u64>,
}
