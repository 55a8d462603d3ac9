//! Hands out the dying messages of a work queue, in the order of their deaths, and settles them when their
//! dead letters are published.

use crate::broker::queue::death::{Dead, DeathCounts};
use crate::broker::queue::effects::Effects;
use crate::broker::queue::machine::DeadLettering;

use super::dying::Death;
use super::state::{WorkQueue, request_load};

impl DeadLettering for WorkQueue {
    fn take_death_counts(&mut self) -> Option<Box<DeathCounts>> {
        self.death_counts.take()
    }

    fn take_letters(&mut self, max: usize, max_bytes: usize) -> Vec<Dead> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        if !self.dying.is_out() {
            for death in self.dying.iter().take(max) {
                let Death {
                    id,
                    reason,
                    arguments,
                } = death;
                let lane = self.lanes.iter().find(|(lane, _)| *lane == id.lane);
                let message = lane.and_then(|(_, lane)| lane.dying_message(id.offset));
                let Some(message) = message.filter(|_| bytes < max_bytes) else {
                    break;
                };
                bytes += message.size();
                let message = self.as_dead(id, message.clone());
                taken.push(Dead {
                    message,
                    reason,
                    arguments,
                });
            }
            self.dying.set_out(!taken.is_empty());
        }
        taken
    }

    fn bury(&mut self, now_ms: u64, count: usize, fx: &mut Effects) {
        self.dying.set_out(false);
        for id in self.dying.bury(count as u64) {
            if let Some(lane) = self.lane_mut(id.lane) {
                lane.settle(id.offset);
            }
        }
        self.finish(now_ms, fx);
    }

    fn has_letters(&self) -> bool {
        !self.dying.is_empty() && !self.dying.is_out() && self.first_letter_is_resident()
    }

    fn deaths(&self) -> (u64, u64) {
        self.dying.progress()
    }
}

impl WorkQueue {
    fn first_letter_is_resident(&self) -> bool {
        self.dying.front().is_some_and(|id| {
            let lane = self.lanes.iter().find(|(lane, _)| *lane == id.lane);
            lane.is_some_and(|(_, lane)| lane.dying_message(id.offset).is_some())
        })
    }

    /// Reads the first dying message, if it is cold.
    pub(super) fn watch_letters(&mut self, fx: &mut Effects) {
        let Some(id) = self.dying.front() else {
            return;
        };
        if !self.first_letter_is_resident()
            && let Some(lane) = self.lane_mut(id.lane)
        {
            request_load(lane, id.offset, fx);
        }
    }
}
