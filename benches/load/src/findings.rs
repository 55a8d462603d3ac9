//! The result of a check: lost, repeated and misrouted messages.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Findings {
    /// Messages that were sent and never came.
    pub(crate) missing: u64,
    /// Messages that came again, or later than their successors, without the flag `redelivered`.
    pub(crate) repeated_or_late: u64,
    /// Messages that came from a queue where they do not belong.
    pub(crate) astray: u64,
    /// Messages with the flag `redelivered`. Not a fault.
    pub(crate) redelivered: u64,
}

impl Findings {
    pub(crate) fn is_clean(self) -> bool {
        self.missing == 0 && self.repeated_or_late == 0 && self.astray == 0
    }

    pub(crate) fn add(&mut self, other: Findings) {
        self.missing += other.missing;
        self.repeated_or_late += other.repeated_or_late;
        self.astray += other.astray;
        self.redelivered += other.redelivered;
    }
}
