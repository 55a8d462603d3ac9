//! Rewinding: plans the searches of the store for the position of a rewind, and makes acked messages of the
//! history ready again. Reads nothing itself.

use crate::broker::queue::effects::Effects;
use crate::broker::queue::machine::Rewinding;
use crate::broker::queue::rewind::plan::{RewindError, RewindPosition, RewindSearch};
use crate::broker::queue::rewind::rewind_to::RewindTo;

use super::state::{WorkQueue, history_limits};

impl Rewinding for WorkQueue {
    fn plan_rewind(&mut self, now_ms: u64, to: RewindTo) -> Result<Vec<RewindSearch>, RewindError> {
        if history_limits(&self.arguments).is_none() {
            return Err(RewindError::NotEnabled);
        }
        if matches!(to, RewindTo::Time(ms) if ms > now_ms) {
            return Err(RewindError::InFuture);
        }
        if matches!(to, RewindTo::Offset(_)) && self.lanes.len() > 1 {
            return Err(RewindError::SeveralLanes);
        }
        let mut searches = Vec::with_capacity(self.lanes.len());
        for (_, lane) in &mut self.lanes {
            let next = lane.next();
            if let RewindTo::Offset(offset) = to
                && offset >= next
            {
                return Err(RewindError::NoSuchOffset { next });
            }
            lane.seal_stretch();
            if let Some(history) = lane.history() {
                searches.push(RewindSearch {
                    log: lane.log(),
                    to,
                    within: match to {
                        RewindTo::Time(ms) => history.stretch_at_time(ms, next),
                        RewindTo::Offset(offset) => history.stretch_at(offset, next),
                    },
                });
            }
        }
        Ok(searches)
    }

    fn rewind(
        &mut self,
        now_ms: u64,
        found: &[RewindPosition],
        fx: &mut Effects,
    ) -> Result<(Option<u64>, u64), RewindError> {
        let mut messages = 0;
        let mut from = None;
        for found in found {
            let Some(lane) = self.lane_mut(found.log.lane()) else {
                continue;
            };
            let count = lane
                .rewind(found.from, &found.messages)
                .ok_or(RewindError::NotEnabled)?;
            messages += count.1;
            from = count.0;
        }
        if self.lanes.len() > 1 {
            from = None;
        }
        self.used_ms = now_ms;
        self.finish(now_ms, fx);
        Ok((from, messages))
    }
}
