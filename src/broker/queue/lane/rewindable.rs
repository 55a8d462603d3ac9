//! Keeping what was acked, and making it ready again. Which offsets are kept, and how long, is in `history`.

use std::ops::Range;

use crate::store::chunk::CHUNK_MESSAGES_MAX;

use super::Lane;
use super::block::{SlotState, first_turn};
use super::history::{History, HistoryLimits, SizedMessage};

impl Lane {
    /// From now on this much of what is acked is kept; what is kept and shall not be any more is let go.
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
                let from = history.from();
                self.offsets.end_history(history.forget());
                self.history = None;
                self.sweep_gone(from..self.next);
            }
        }
    }

    /// What is kept of acked messages.
    pub(in crate::broker::queue) fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    /// Acked messages that are kept.
    pub(in crate::broker::queue) fn rewindable(&self) -> u64 {
        self.history.as_ref().map_or(0, |history| {
            self.settled.len().saturating_sub(history.gone().len())
        })
    }

    /// The open stretch of what is kept is closed: what is enqueued from now on is not in it.
    pub(in crate::broker::queue) fn seal_stretch(&mut self) {
        if let Some(history) = &mut self.history {
            history.seal();
        }
    }

    /// What is too old or too much to be kept is let go.
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
                history.discard(part);
            }
            self.offsets.gone(range.end..range.end); // the mark goes, if nothing else
            let first = dropped.map_or(range.start, |dropped| dropped.start);
            dropped = Some(first..range.end);
        }
        if let Some(range) = dropped {
            self.rewound.remove_below(self.gone_floor());
            self.sweep_gone(range);
        }
    }

    /// What is kept and was enqueued at offset `from` or later is ready again, at its old place: the first of it and how
    /// many messages. `scanned` are messages at and after `from`, see [`History::rewound`]. `None` if nothing is ever kept.
    pub(in crate::broker::queue) fn rewind(
        &mut self,
        from: u64,
        scanned: &[SizedMessage],
    ) -> Option<(Option<u64>, u64)> {
        let history = self.history.as_mut()?;
        let ranges = history.kept_from(from, &self.settled);
        let Some(first) = ranges.first().map(|range| range.start) else {
            return Some((None, 0));
        };
        let returned = history.rewound(from, &self.settled, scanned, self.next);
        for range in &ranges {
            self.settled.remove_range(range.clone());
            self.rewound.insert_range(range.clone());
        }
        self.receives.rewound();
        self.offsets.rewound(first, returned.lasting);
        let messages = ranges.iter().map(|range| range.end - range.start).sum();
        self.ready += messages;
        self.ready_bytes += returned.bytes;
        self.ready_from = self.ready_from.min(first);
        let turn = first_turn(self.offsets.rewinds());
        for block in self.blocks.iter_mut().rev() {
            if block.end() <= first {
                break;
            }
            for (offset, slot) in (block.first..).zip(&mut block.slots) {
                if slot.state == SlotState::Settled && !self.settled.contains(offset) {
                    slot.state = SlotState::Ready;
                    slot.redelivered = true;
                    slot.failures = 0;
                    slot.turn = turn;
                    block.unsettled += 1;
                }
            }
        }
        Some((Some(first), messages))
    }

    /// No message below is ever read again.
    pub(super) fn gone_floor(&self) -> u64 {
        match &self.history {
            Some(history) => history.gone().first_gap(0),
            None => self.settled.first_gap(0),
        }
    }

    /// Whether none of these messages is ever read again; they are settled.
    pub(super) fn are_gone(&self, offsets: Range<u64>) -> bool {
        self.history
            .as_ref()
            .is_none_or(|history| history.gone().first_gap(offsets.start) >= offsets.end)
    }

    /// Chunks are to be looked for that have nothing but gone messages, some of them in `range`.
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
