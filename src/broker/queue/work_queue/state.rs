//! The state of a work queue, and access to its lanes.

use std::sync::Arc;

use crate::broker::queue::death::DeathCounts;
use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::durability::Durability;
use crate::broker::queue::effects::{Effect, Effects};
use crate::broker::queue::lane::Lane;
use crate::broker::queue::lane::history::HistoryLimits;
use crate::broker::queue::receive::waiting::WaitingReceives;
use crate::model::arguments::{QueueArguments, QueueKind};
use crate::model::{Lease, LogId, Message, MessageId, QueueId};
use crate::store::LogState;

use super::consumers::Consumers;
use super::deadlines::Deadlines;
use super::dying::Dying;
use super::levels::{lane_of, level_of};
use super::rests::Rests;
use super::returns::Returns;

/// Bytes of a backlog that are read ahead of its consumers. [`WorkQueue::evict`] lowers this when memory is
/// short.
pub(in crate::broker::queue) const READ_AHEAD_BYTES: u64 = 2 * 1024 * 1024;

pub(in crate::broker::queue) struct WorkQueue {
    pub(super) id: QueueId,
    pub(super) durability: Durability,
    pub(super) arguments: Arc<QueueArguments>,
    /// Highest level first (see `levels`). Queues without priorities have only lane 0.
    pub(super) lanes: Vec<(u8, Lane)>,
    /// Created for the first delayed message, and boxed since few queues have one.
    pub(super) delayed: Option<Box<Delayed>>,
    pub(super) consumers: Consumers,
    pub(super) waiting: WaitingReceives,
    /// Leases from before the restart and their ends, while they are being restored.
    pub(super) restored: Vec<(u64, Lease)>,
    pub(super) deadlines: Deadlines,
    /// Only quorum queues use this.
    pub(super) returns: Returns,
    /// Only quorum queues use this.
    pub(super) rests: Rests,
    pub(super) dying: Dying,
    /// Deaths of this command. Boxed, since most commands kill no message.
    pub(super) death_counts: Option<Box<DeathCounts>>,
    /// Number of messages that have expired or were trimmed in this command.
    pub(super) left: u32,
    /// Where a command goes on when its permit is answered.
    pub(super) paused: Paused,
    /// More messages must leave than one command may remove: the next command is due.
    pub(super) is_overdue: bool,
    /// Bytes that are read ahead of consumers.
    pub(super) ahead_bytes: u64,
    /// The queue is deleted and only publishes its dead letters.
    pub(super) is_deleted: bool,
    /// When the queue was last in use, for `x-expires`.
    pub(super) used_ms: u64,
}

/// Where a command goes on when its permit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paused {
    /// Amid a run of publishes.
    InRun,
    /// At the end of a command.
    AtEnd,
}

impl WorkQueue {
    pub(in crate::broker::queue) fn new(
        id: QueueId,
        durable: bool,
        arguments: Arc<QueueArguments>,
        recovered: Vec<(LogId, LogState)>,
        now_ms: u64,
    ) -> Self {
        let durability = Durability::of(durable, arguments.kind);
        let quorum = arguments.kind == QueueKind::Quorum;
        let consumers = Consumers::new(arguments.single_active_consumer, quorum);
        let mut state = WorkQueue {
            id,
            durability,
            arguments,
            // Nearly every queue has one lane, and a broker may have very many queues.
            lanes: Vec::with_capacity(recovered.len().max(1)),
            delayed: None,
            consumers,
            waiting: WaitingReceives::default(),
            restored: Vec::new(),
            deadlines: Deadlines::default(),
            returns: Returns::default(),
            rests: Rests::default(),
            dying: Dying::default(),
            death_counts: None,
            left: 0,
            paused: Paused::AtEnd,
            is_overdue: false,
            ahead_bytes: READ_AHEAD_BYTES,
            is_deleted: false,
            used_ms: now_ms,
        };
        for (log, recovered) in recovered {
            if log.is_delayed() {
                state.delayed = Some(Box::new(Delayed::recover(
                    log, durability, recovered, now_ms,
                )));
            } else {
                let lane = Lane::recover(log, durability, recovered);
                for (offset, until_ms) in lane.rests() {
                    let lane = log.lane();
                    state.rests.push(until_ms, MessageId { lane, offset });
                }
                state.lanes.push((log.lane(), lane));
            }
        }
        let kind = state.arguments.kind;
        state
            .lanes
            .sort_by_key(|(lane, _)| std::cmp::Reverse(level_of(kind, *lane)));
        if state.lanes.is_empty() {
            state.lanes.push((0, Lane::new(id.log(0), durability)));
        }
        state.apply_history_limits(now_ms);
        state
    }

    /// Sets other arguments. The end of the command applies their times and limits.
    pub(super) fn set_arguments(&mut self, arguments: Arc<QueueArguments>, now_ms: u64) {
        self.arguments = arguments;
        self.apply_history_limits(now_ms);
    }

    pub(super) fn ready(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.ready()).sum()
    }

    pub(super) fn ready_bytes(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.ready_bytes()).sum()
    }

    pub(super) fn resting(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.resting()).sum()
    }

    pub(super) fn resting_bytes(&self) -> u64 {
        let lanes = self.lanes.iter();
        lanes.map(|(_, lane)| lane.resting_bytes()).sum()
    }

    pub(super) fn lane_mut(&mut self, number: u8) -> Option<&mut Lane> {
        self.lanes
            .iter_mut()
            .find(|(lane, _)| *lane == number)
            .map(|(_, lane)| lane)
    }

    /// The lane for a message; creates it on first use.
    pub(super) fn lane_for(&mut self, now_ms: u64, message: &Message) -> &mut Lane {
        let number = lane_of(&self.arguments, message);
        let kind = self.arguments.kind;
        let level = level_of(kind, number);
        let index = match self
            .lanes
            .binary_search_by(|(lane, _)| level.cmp(&level_of(kind, *lane)))
        {
            Ok(index) => index,
            Err(index) => {
                let mut lane = Lane::new(self.id.log(number), self.durability);
                lane.set_history_limits(now_ms, history_limits(&self.arguments));
                self.lanes.insert(index, (number, lane));
                index
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the index was found or made above")]
        let (_, lane) = &mut self.lanes[index];
        lane
    }

    pub(super) fn delayed_mut(&mut self) -> &mut Delayed {
        let (id, durability) = (self.id, self.durability);
        self.delayed
            .get_or_insert_with(|| Box::new(Delayed::new(id.delayed_log(), durability)))
    }

    /// Applies the arguments' limits to the history of each lane.
    fn apply_history_limits(&mut self, now_ms: u64) {
        let limits = history_limits(&self.arguments);
        for (_, lane) in &mut self.lanes {
            lane.set_history_limits(now_ms, limits);
        }
    }
}

/// The limits of the history that these arguments ask for; `None` without a history.
pub(super) fn history_limits(arguments: &QueueArguments) -> Option<HistoryLimits> {
    Some(HistoryLimits {
        age_ms: arguments.rewind_ms?,
        bytes_max: arguments.max_length_bytes,
    })
}

/// Asks for a read of a lane from `offset` on, unless a read is under way.
pub(super) fn request_load(lane: &mut Lane, offset: u64, fx: &mut Effects) {
    if lane.begin_load() {
        fx.push(Effect::Read {
            log: lane.log(),
            from: offset,
        });
    }
}
