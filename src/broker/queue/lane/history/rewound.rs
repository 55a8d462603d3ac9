//! The bytes that leave the history when a rewind makes its messages ready again.
//!
//! Whole stretches know their bytes. Of the first stretch only a part may come back: its messages were just
//! read for their sizes, up to a limit. The others count with the average of the stretch.

use std::ops::Range;

use crate::store::RangeSet;

use super::{History, SizedMessage};

/// Bytes of bodies that come back by a rewind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::broker::queue::lane) struct RewoundBytes {
    pub(in crate::broker::queue::lane) all: u64,
    /// The part of `all` that a restart finds.
    pub(in crate::broker::queue::lane) persistent: u64,
}

impl History {
    /// The rewindable messages at or above `from` come back. `scanned` are messages of the stretch that holds
    /// `from`, from there on, with their sizes. `next` is the lane's next offset.
    pub(in crate::broker::queue::lane) fn rewound(
        &mut self,
        from: u64,
        settled: &RangeSet,
        scanned: &[SizedMessage],
        next: u64,
    ) -> RewoundBytes {
        let mut rewound = RewoundBytes::default();
        let first_whole = self
            .stretches
            .partition_point(|stretch| stretch.first < from);
        if let Some(partial) = first_whole.checked_sub(1) {
            let part = from..self.bounds(partial, next).end;
            let bytes = self.bytes_of_part(partial, part, settled, scanned, next);
            self.take_from(partial, bytes, &mut rewound);
        }
        let everything = RewoundBytes {
            all: u64::MAX,
            persistent: u64::MAX,
        };
        for index in first_whole..self.stretches.len() {
            self.take_from(index, everything, &mut rewound);
        }
        rewound
    }

    /// Bytes of the rewindable messages in `part` of a stretch.
    fn bytes_of_part(
        &self,
        index: usize,
        part: Range<u64>,
        settled: &RangeSet,
        scanned: &[SizedMessage],
        next: u64,
    ) -> RewoundBytes {
        let Some(stretch) = self.stretches.get(index) else {
            return RewoundBytes::default();
        };
        let rewindable_in =
            |range: Range<u64>| settled.count_in(range.clone()) - self.gone.count_in(range);
        let mut bytes = RewoundBytes::default();
        let mut unmeasured = rewindable_in(part.clone());
        for message in scanned {
            let is_rewindable = part.contains(&message.offset)
                && settled.contains(message.offset)
                && !self.gone.contains(message.offset);
            if is_rewindable {
                let size = u64::from(message.size);
                bytes.all += size;
                bytes.persistent += if message.persistent { size } else { 0 };
                unmeasured = unmeasured.saturating_sub(1);
            }
        }
        if unmeasured > 0 {
            let of = rewindable_in(self.bounds(index, next)).max(1);
            let share = |bytes: u64| {
                let share = u128::from(bytes) * u128::from(unmeasured) / u128::from(of);
                u64::try_from(share).unwrap_or(bytes)
            };
            bytes.all += share(stretch.bytes);
            bytes.persistent += share(stretch.persistent_bytes);
        }
        bytes
    }

    /// Moves bytes from a stretch to `rewound`, at most as many as the stretch has.
    fn take_from(&mut self, index: usize, bytes: RewoundBytes, rewound: &mut RewoundBytes) {
        let Some(stretch) = self.stretches.get_mut(index) else {
            return;
        };
        let all = bytes.all.min(stretch.bytes);
        let persistent = bytes.persistent.min(stretch.persistent_bytes);
        if persistent > 0 && !std::mem::replace(&mut stretch.is_dirty, true) {
            self.dirty.push(stretch.first);
        }
        stretch.bytes -= all;
        stretch.persistent_bytes -= persistent;
        self.bytes = self.bytes.saturating_sub(all);
        rewound.all += all;
        rewound.persistent += persistent;
    }
}
