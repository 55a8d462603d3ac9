//! The order of messages that came back to a quorum queue. They go before all others, in the order in which
//! they came back. Without `x-delivery-limit`, a requeued message goes behind the messages that are in the
//! queue at that time, so that a message that is always requeued delays no others. In classic queues, and in
//! all queues after a restart, a returned message has its old position. Knows leases only; the lanes know
//! whether a message still waits.

use std::collections::VecDeque;

use crate::model::Lease;

/// The returned messages of one queue, each named by its next lease. Entries of messages that wait no more
/// are dropped when they come to the front.
#[derive(Debug, Default)]
pub(super) struct Returns {
    first: VecDeque<Lease>,
    behind: VecDeque<(u64, Lease)>,
}

impl Returns {
    /// Puts a message before all that did not come back.
    pub(super) fn put_first(&mut self, next: Lease) {
        self.first.push_back(next);
    }

    /// Puts a message behind those in the lane of normal priority now: offsets below `end`.
    pub(super) fn put_behind(&mut self, end: u64, next: Lease) {
        self.behind.push_back((end, next));
    }

    /// The result of `look` for the first message that goes before all others.
    pub(super) fn first<T>(&mut self, look: impl FnMut(Lease) -> Option<T>) -> Option<T> {
        front(&mut self.first, |next| *next, look).map(|(_, found)| found)
    }

    /// The result of `look` for the first message that waits behind others, and the end of these.
    pub(super) fn behind<T>(&mut self, look: impl FnMut(Lease) -> Option<T>) -> Option<(u64, T)> {
        front(&mut self.behind, |(_, next)| *next, look).map(|((end, _), found)| (end, found))
    }

    pub(super) fn clear(&mut self) {
        *self = Returns::default();
    }
}

/// The first entry for which `look` returns something. Drops the entries before it.
fn front<E: Copy, T>(
    entries: &mut VecDeque<E>,
    lease: impl Fn(&E) -> Lease,
    mut look: impl FnMut(Lease) -> Option<T>,
) -> Option<(E, T)> {
    while let Some(entry) = entries.front().copied() {
        if let Some(found) = look(lease(&entry)) {
            return Some((entry, found));
        }
        entries.pop_front();
        if entries.is_empty() {
            *entries = VecDeque::new();
        }
    }
    None
}
