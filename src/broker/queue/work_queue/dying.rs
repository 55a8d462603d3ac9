//! Dying messages, in the order of their deaths: they have left the queue, and leave its log when their dead
//! letters are published. Knows offsets only; the lanes hold the messages.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::broker::queue::death::DeathReason;
use crate::model::MessageId;
use crate::model::arguments::QueueArguments;

/// Messages that died in sequence and have consecutive offsets. A million messages that expire together take
/// as much memory as one.
#[derive(Debug)]
struct Run {
    lane: u8,
    offsets: Range<u64>,
    reason: DeathReason,
    /// The queue's arguments when they died: later ones do not change where their dead letters go.
    arguments: Arc<QueueArguments>,
}

/// A message that has died.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) id: MessageId,
    pub(super) reason: DeathReason,
    pub(super) arguments: Arc<QueueArguments>,
}

/// Dying messages, oldest death first.
#[derive(Debug, Default)]
pub(super) struct Dying {
    runs: VecDeque<Run>,
    /// Number of messages that have died since the start.
    died: u64,
    /// Number of them whose dead letters are published, or that are lost.
    buried: u64,
    /// A publish of dead letters is under way.
    is_out: bool,
}

impl Dying {
    pub(super) fn push(
        &mut self,
        id: MessageId,
        reason: DeathReason,
        arguments: &Arc<QueueArguments>,
    ) {
        self.died += 1;
        match self.runs.back_mut() {
            Some(run)
                if run.lane == id.lane
                    && run.reason == reason
                    && run.offsets.end == id.offset
                    && Arc::ptr_eq(&run.arguments, arguments) =>
            {
                run.offsets.end += 1;
            }
            _ => self.runs.push_back(Run {
                lane: id.lane,
                offsets: id.offset..id.offset + 1,
                reason,
                arguments: Arc::clone(arguments),
            }),
        }
    }

    /// Removes the first `count` messages, since their dead letters are published.
    pub(super) fn bury(&mut self, count: u64) -> Vec<MessageId> {
        let buried: Vec<_> = self
            .iter()
            .map(|death| death.id)
            .take(usize::try_from(count).unwrap_or(0))
            .collect();
        let mut left = buried.len() as u64;
        self.buried += left;
        while left > 0
            && let Some(run) = self.runs.front_mut()
        {
            let taken = left.min(run.offsets.end - run.offsets.start);
            run.offsets.start += taken;
            left -= taken;
            if run.offsets.is_empty() {
                self.runs.pop_front();
            }
        }
        buried
    }

    /// Removes the messages of a lane that are lost: those for which `is_there` is false.
    pub(super) fn keep_only(&mut self, lane: u8, is_there: impl Fn(u64) -> bool) {
        let deaths: Vec<_> = self.iter().collect();
        let (died, all) = (self.died, self.len());
        self.runs.clear();
        for Death {
            id,
            reason,
            arguments,
        } in deaths
        {
            if id.lane != lane || is_there(id.offset) {
                self.push(id, reason, &arguments);
            }
        }
        let kept = self.died - died;
        self.died = died;
        self.buried += all - kept;
    }

    /// Oldest death first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Death> + '_ {
        self.runs.iter().flat_map(|run| {
            let lane = run.lane;
            let ids = run
                .offsets
                .clone()
                .map(move |offset| MessageId { lane, offset });
            ids.map(|id| Death {
                id,
                reason: run.reason,
                arguments: Arc::clone(&run.arguments),
            })
        })
    }

    /// The message with the oldest death.
    pub(super) fn front(&self) -> Option<MessageId> {
        let run = self.runs.front()?;
        Some(MessageId {
            lane: run.lane,
            offset: run.offsets.start,
        })
    }

    pub(super) fn len(&self) -> u64 {
        self.died - self.buried
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Numbers of messages that have died so far, and of those that [`Dying::bury`] or a loss has removed.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.died, self.buried)
    }

    /// Whether a publish of dead letters is under way. No other begins before [`Dying::set_out`] ends it, so
    /// that dead letters keep their order.
    pub(super) fn is_out(&self) -> bool {
        self.is_out
    }

    pub(super) fn set_out(&mut self, is_out: bool) {
        self.is_out = is_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(lane: u8, offset: u64) -> MessageId {
        MessageId { lane, offset }
    }

    #[test]
    fn deaths_stay_in_order_and_neighbours_share_a_run() {
        let mut dying = Dying::default();
        let arguments = Arc::<QueueArguments>::default();
        for offset in 0..100_000 {
            dying.push(id(0, offset), DeathReason::Expired, &arguments);
        }
        assert_eq!(dying.runs.len(), 1);
        dying.push(id(0, 100_000), DeathReason::Rejected, &arguments);
        dying.push(id(1, 100_001), DeathReason::Rejected, &arguments);
        dying.push(id(1, 7), DeathReason::Rejected, &arguments);
        assert_eq!(dying.runs.len(), 4);
        assert_eq!(dying.len(), 100_003);
        let buried = dying.bury(99_999);
        assert_eq!(buried.last(), Some(&id(0, 99_998)));
        assert_eq!(dying.front(), Some(id(0, 99_999)));
        let rest: Vec<_> = dying.iter().map(|death| death.id).collect();
        assert_eq!(
            rest,
            [id(0, 99_999), id(0, 100_000), id(1, 100_001), id(1, 7)]
        );
        dying.keep_only(1, |offset| offset != 7);
        assert_eq!(dying.progress(), (100_003, 100_000));
        assert_eq!(dying.bury(10).len(), 3);
        assert!(dying.is_empty() && dying.front().is_none());
        assert_eq!(dying.progress(), (100_003, 100_003));
    }
}
