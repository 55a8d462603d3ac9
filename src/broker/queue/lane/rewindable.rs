//! The history of a lane in use: acked messages go in, the oldest expire, a rewind makes the rest ready
//! again. `history` decides which offsets are in it, and for how long.

use std::ops::Range;

use crate::store::chunk::CHUNK_MESSAGES_MAX;

use super::Lane;
use super::block::SlotState;
use super::history::{History, HistoryLimits, SizedMessage};
use super::turn::first_turn;

impl Lane {
    /// Sets the limits of the history; `None` ends it. With a new history only messages that are acked from
    /// now on are rewindable.
    pub(in crate::broker::queue) fn set_history_limits(
        &mut self,
        now_ms: u64,
        limits: Option<HistoryLimits>,
    ) {
        match (&mut self.history, limits) {
            (None, None) => {}
            (Some(history), Some(limits)) => history.set_limits(limits),
            (None, Some(limits)) => {
                let history = History::begin(limits, &self.settled, self.next, now_ms);
                self.history = Some(Box::new(history));
                self.offsets.begin_history();
            }
            (Some(history), None) => {
                let start = history.start();
                self.offsets.end_history(history.clear());
                self.history = None;
                self.sweep_gone(start..self.next);
            }
        }
    }

    pub(in crate::broker::queue) fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// Number of acked messages that a rewind can bring back.
    pub(in crate::broker::queue) fn rewindable(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| {
            self.settled.len().saturating_sub(history.gone().len())
        })
    }

    /// Closes the open stretch of the history, so that messages enqueued from now on are not in it.
    pub(in crate::broker::queue) fn seal_stretch(&mut self) {
        if let Some(history) = &mut self.history {
            history.seal();
        }
    }

    /// Drops the stretches of the history that its limits no longer cover.
    pub(in crate::broker::queue) fn expire_history(&mut self, now_ms: u64) {
        let mut dropped: Option<Range<u64>> = None;
        while let Some(history) = &mut self.history
            && let Some(range) = history.drop_oldest(now_ms, self.next)
        {
            let settled = self.settled.iter_in(range.clone());
            let newly: Vec<Range<u64>> = settled
                .flat_map(|settled| history.gone().gaps_in(settled).collect::<Vec<_>>())
                .collect();
            for part in newly {
                self.offsets.gone(part.clone());
                history.add_gone(part);
            }
            self.offsets.gone(range.end..range.end); // its record has to go, even if nothing was settled
            let first = dropped.map_or(range.start, |dropped| dropped.start);
            dropped = Some(first..range.end);
        }
        if let Some(range) = dropped {
            self.sweep_gone(range);
        }
    }

    /// Makes the rewindable messages at or above `from` ready again, at their old positions. Returns the
    /// first of them and their number. `scanned` are messages from `from` on (see [`History::rewound`]).
    /// `None` without a history.
    pub(in crate::broker::queue) fn rewind(
        &mut self,
        from: u64,
        scanned: &[SizedMessage],
    ) -> Option<(Option<u64>, u64)> {
        let history = self.history.as_mut()?;
        let ranges = history.rewindable_from(from, &self.settled);
        let Some(first) = ranges.first().map(|range| range.start) else {
            return Some((None, 0));
        };
        let returned = history.rewound(from, &self.settled, scanned, self.next);
        for range in &ranges {
            self.settled.remove_range(range.clone());
            self.handed_out.insert_range(range.clone());
            self.handed_out_below = self.handed_out_below.max(range.end);
        }
        self.receives.rewound();
        self.offsets.rewound(first, returned.persistent);
        let messages = ranges.iter().map(|range| range.end - range.start).sum();
        self.ready += messages;
        self.ready_bytes += returned.all;
        self.ready_from = self.ready_from.min(first);
        self.rewind_slots(first);
        Some((Some(first), messages))
    }

    /// Makes the slots from `first` on ready whose offsets are not settled any more.
    fn rewind_slots(&mut self, first: u64) {
        let turn = first_turn(self.offsets.rewinds());
        for block in self.blocks.iter_mut().rev() {
            if block.end() <= first {
                break;
            }
            for (offset, slot) in (block.first..).zip(&mut block.slots) {
                if slot.state == SlotState::Settled && !self.settled.contains(offset) {
                    slot.state = SlotState::Ready;
                    slot.redelivered = true;
                    slot.turn = turn;
                    block.unsettled += 1;
                }
            }
        }
    }

    /// All offsets below are gone: their messages are never read again.
    pub(super) fn gone_floor(&self) -> u64 {
        match &self.history {
            Some(history) => history.gone().first_gap(0),
            None => self.settled.first_gap(0),
        }
    }

    /// Whether all these settled offsets are gone.
    pub(super) fn are_gone(&self, offsets: Range<u64>) -> bool {
        self.history
            .as_ref()
            .is_none_or(|history| history.gone().first_gap(offsets.start) >= offsets.end)
    }

    /// Messages in `range` are gone: the next batch sweeps the chunks in which all messages are.
    pub(super) fn sweep_gone(&mut self, range: Range<u64>) {
        let earliest = range.start.saturating_sub(u64::from(CHUNK_MESSAGES_MAX));
        let gone = match &self.history {
            Some(history) => history.gone(),
            None => &self.settled,
        };
        // A chunk may reach over either end of the range.
        let parts = gone.iter_in(earliest..range.end);
        let parts = parts.map(|part| part.start..gone.first_gap(part.start));
        self.sweeps.extend(parts);
    }
}
