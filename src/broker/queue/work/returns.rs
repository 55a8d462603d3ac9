//! The order in which messages wait that came back to a quorum queue: before all others, in the order in which they
//! came back; or, where nothing bounds how often they do, behind what was there when they came back, so that one that is
//! always refused keeps nobody waiting. Classic queues know neither: what comes back to them waits at its old place.
//! After a restart it does in quorum queues, too. Knows no message: whether one still waits the lanes say.

use std::collections::VecDeque;

use crate::model::Lease;

/// The returned messages of one queue, each named by the lease that it will have next. One that does not wait any more
/// is taken off when it comes to the front.
#[derive(Debug, Default)]
pub(super) struct Returns {
    first: VecDeque<Lease>,
    behind: VecDeque<(u64, Lease)>,
}

impl Returns {
    /// The message goes before all that did not come back.
    pub(super) fn put_first(&mut self, next: Lease) {
        self.first.push_back(next);
    }

    /// The message goes behind what is there now, in the lane of normal priority: offsets below `end`.
    pub(super) fn put_behind(&mut self, end: u64, next: Lease) {
        self.behind.push_back((end, next));
    }

    /// The first of those that go before all others, and what `look` finds there.
    pub(super) fn first<T>(&mut self, look: impl FnMut(Lease) -> Option<T>) -> Option<T> {
        front(&mut self.first, |next| *next, look).map(|(_, found)| found)
    }

    /// The first of those that wait behind others: the end of these, and what `look` finds there.
    pub(super) fn behind<T>(&mut self, look: impl FnMut(Lease) -> Option<T>) -> Option<(u64, T)> {
        front(&mut self.behind, |(_, next)| *next, look).map(|((end, _), found)| (end, found))
    }

    /// None waits any more.
    pub(super) fn clear(&mut self) {
        *self = Returns::default();
    }
}

/// The first entry at which `look` finds something; those before are dropped.
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
