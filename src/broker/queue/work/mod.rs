//! One queue as a pure state machine: what happens and the time come in, effects come out. Knows no socket,
//! no lock, no disk and no clock; what it wants done is in [`Effects`], what it wants written in [`WorkQueue::collect`].

mod consumers; // who is next
pub(super) mod deadlines; // when leases end
mod deaths; // time to live and length
mod dispatch; // which message is next, and who gets it
mod dying; // messages on their way to the dead letter exchange
mod leases; // how leases end
mod receive; // receiving without a consumer
mod returns; // what came back to a quorum queue
mod rewind_plan; // rewinding
mod single_active; // who is served with a single active consumer
#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;
use std::sync::Arc;

use crate::clock::Moment;
use crate::model::arguments::{Overflow, QueueArguments, QueueKind};
use crate::model::{ConsumerId, Lease, LogId, Message, MessageId, QueueId, Ticket};
use crate::store::{Batch, LogState, StoredMessage};

use super::channel_limiter::ChannelLimiter;
use super::consumer::{ConsumeError, Consumer, ConsumerInfo, Credit, NewConsumer};
use super::counts::Counts;
use super::death::DeathReason;
use super::delayed::Delayed;
use super::durability::Durability;
use super::effects::{Admission, Effects, Get, Got, Oldest, Picked, Settle};
use super::lane::history::History;
use super::lane::{Head, Lane};
use super::receive::waiting::WaitingReceives;

use consumers::Consumers;
use deadlines::Deadlines;
use deaths::Expiry;
use dying::Dying;
use leases::Return;
use returns::Returns;
use rewind_plan::history_limits;

/// A backlog is read this far ahead of its consumers, or less where memory is short: see [`WorkQueue::evict`].
pub(in crate::broker::queue) const READ_AHEAD_BYTES: u64 = 2 * 1024 * 1024;

/// How much of a backlog one read brings at most.
const READ_BYTES: usize = 1024 * 1024;

/// So many times more than it reads ahead a queue may have in memory.
const AHEAD_SHARE: u64 = 8;

/// Messages above this priority are of high priority in a quorum queue; there are two bands in all.
const QUORUM_NORMAL_PRIORITY_MAX: u8 = 4;

/// One queue.
pub(in crate::broker::queue) struct WorkQueue {
    id: QueueId,
    durability: Durability,
    arguments: Arc<QueueArguments>,
    /// Highest priority first. Queues without priorities have just lane 0.
    lanes: Vec<(u8, Lane)>,
    /// Messages that are not to be delivered yet; made when the first comes, and boxed since nearly no queue has any.
    delayed: Option<Box<Delayed>>,
    consumers: Consumers,
    /// Those who wait with a receive of their own.
    waiters: WaitingReceives,
    /// When leases end that do not last until they are settled.
    deadlines: Deadlines,
    /// What came back to a quorum queue, and when it is its turn.
    returns: Returns,
    /// Messages that have left for the dead letter exchange.
    dying: Dying,
    /// More has to leave than may in one turn: the next is due.
    is_overdue: bool,
    /// How far ahead of consumers is read.
    ahead_bytes: u64,
    /// The queue is deleted: nothing happens any more but that dead letters are published.
    is_deleted: bool,
    /// How many messages of high priority a quorum queue has handed out since the last normal one.
    high_in_a_row: u8,
    /// When the queue was last in use, for `x-expires`.
    used_ms: u64,
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
        let consumers = Consumers::new(id, arguments.single_active_consumer, quorum);
        let mut state = WorkQueue {
            id,
            durability,
            arguments,
            // Nearly every queue has one lane, and there may be very many queues.
            lanes: Vec::with_capacity(recovered.len().max(1)),
            delayed: None,
            consumers,
            waiters: WaitingReceives::default(),
            deadlines: Deadlines::default(),
            returns: Returns::default(),
            dying: Dying::default(),
            is_overdue: false,
            ahead_bytes: READ_AHEAD_BYTES,
            is_deleted: false,
            high_in_a_row: 0,
            used_ms: now_ms,
        };
        for (log, recovered) in recovered {
            if log.is_delayed() {
                state.delayed = Some(Box::new(Delayed::recover(log, durability, recovered)));
            } else {
                let lane = Lane::recover(log, durability, recovered);
                state.lanes.push((log.lane(), lane));
            }
        }
        state
            .lanes
            .sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        if state.lanes.is_empty() {
            state.lanes.push((0, Lane::new(id.log(0), durability)));
        }
        state.apply_history_limits(now_ms);
        state
    }

    /// Other arguments hold from now on. What their times and limits mean for the messages there are, the next command
    /// sees to.
    pub(in crate::broker::queue) fn set_arguments(
        &mut self,
        arguments: Arc<QueueArguments>,
        now_ms: u64,
    ) {
        self.arguments = arguments;
        self.apply_history_limits(now_ms);
    }

    /// Enqueues a run of messages. Those that `x-overflow` refuses are named in `rejected` by their index.
    pub(in crate::broker::queue) fn publish(
        &mut self,
        now_ms: u64,
        run: &[Arc<Message>],
        admission: Admission,
        rejected: &mut Vec<u32>,
        fx: &mut Effects,
    ) {
        let may_refuse = self.arguments.overflow != Overflow::DropHead && self.is_limited();
        if may_refuse && admission == Admission::Whole {
            let bytes = run.iter().map(|message| message.body.len() as u64).sum();
            if self.would_overflow(run.len() as u64, bytes) {
                run.iter().for_each(|message| self.refuse(now_ms, message));
                rejected.extend((0..).zip(run).map(|(index, _)| index));
                return;
            }
        }
        let refuses = may_refuse && admission == Admission::Each;
        for (index, message) in (0..).zip(run) {
            if refuses && self.would_overflow(1, message.body.len() as u64) {
                self.refuse(now_ms, message);
                rejected.push(index);
                continue;
            }
            if message.delay_ms.is_some_and(|delay_ms| delay_ms > 0) {
                self.delayed_mut().push(now_ms, message);
            } else {
                self.lane_for(now_ms, message.priority)
                    .push(now_ms, message);
            }
            fx.persisted |= self.durability.covers(message);
            if refuses {
                self.dispatch(now_ms, fx);
            }
        }
        self.settle_down(now_ms, fx);
    }

    /// There is no room for a message. Where it is to be dead-lettered all the same it dies here, so that it waits for
    /// that as others do.
    fn refuse(&mut self, now_ms: u64, message: &Arc<Message>) {
        let dead_letters = self.arguments.dead_letter_exchange.is_some();
        if self.arguments.overflow == Overflow::RejectPublishDlx && dead_letters {
            let lane = self.lane_for(now_ms, message.priority);
            let id = MessageId {
                lane: lane.log().lane(),
                offset: lane.push(now_ms, message),
            };
            self.kill(id, DeathReason::MaxLength);
        }
    }

    /// Registers a consumer.
    pub(in crate::broker::queue) fn consume(
        &mut self,
        now_ms: u64,
        new: NewConsumer,
        fx: &mut Effects,
    ) -> Result<(), ConsumeError> {
        self.used_ms = now_ms;
        self.consumers.add(new)?;
        self.settle_down(now_ms, fx);
        Ok(())
    }

    /// Takes a consumer out. What it holds stays leased. True if it was the last one.
    pub(in crate::broker::queue) fn cancel(
        &mut self,
        now_ms: u64,
        id: ConsumerId,
        fx: &mut Effects,
    ) -> bool {
        self.leave_queue(now_ms, &[id], &[], fx)
    }

    /// These consumers are about to leave: they are given nothing any more.
    pub(in crate::broker::queue) fn halt(&mut self, consumers: &[ConsumerId]) {
        self.consumers.halt(consumers);
    }

    /// Consumers leave, and what they or their channels hold goes back, before anybody is given anything: who takes over
    /// begins with it. True if the last consumer has left.
    pub(in crate::broker::queue) fn leave_queue(
        &mut self,
        now_ms: u64,
        consumers: &[ConsumerId],
        leases: &[Lease],
        fx: &mut Effects,
    ) -> bool {
        self.end_due_leases(now_ms);
        let left = self.consumers.remove(consumers);
        for lease in leases {
            self.answered(*lease);
            self.requeue(now_ms, *lease, Return::Failed);
        }
        if !consumers.is_empty() {
            self.used_ms = now_ms;
        }
        self.settle_down(now_ms, fx);
        left > 0 && self.consumers.len() == 0
    }

    /// Grants credit to consumers.
    pub(in crate::broker::queue) fn grant(
        &mut self,
        now_ms: u64,
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    ) {
        for (id, credit) in credit {
            self.consumers.grant(*id, *credit);
        }
        self.settle_down(now_ms, fx);
    }

    /// A channel's shared limiter has room again, of which this much is for this queue.
    pub(in crate::broker::queue) fn poke(
        &mut self,
        now_ms: u64,
        limiter: &Arc<ChannelLimiter>,
        share: u32,
        fx: &mut Effects,
    ) {
        self.consumers.poke(limiter, share);
        self.settle_down(now_ms, fx);
        self.consumers.end_share();
    }

    /// Ends leases, and grants the credit that this frees. Leases that have ended already are passed over: whoever
    /// answers too late settles nothing, least of all the lease that somebody else has of the message by now.
    pub(in crate::broker::queue) fn settle(
        &mut self,
        now_ms: u64,
        how: Settle,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    ) {
        // Those whose time is over end before the answers are looked at: who answers in time is not a matter of when
        // the timer runs.
        self.end_due_leases(now_ms);
        for lease in leases {
            self.answered(*lease);
            match how {
                Settle::Ack => {
                    if let Some(lane) = self.lane_mut(lease.lane) {
                        lane.ack_lease(*lease);
                    }
                }
                Settle::Requeue => self.requeue(now_ms, *lease, Return::Refused),
                Settle::Reject => {
                    if self.holds(*lease) {
                        self.kill(lease.id(), DeathReason::Rejected);
                    }
                }
            }
        }
        self.grant(now_ms, credit, fx);
    }

    /// Takes the message at the head, as basic.get does.
    pub(in crate::broker::queue) fn get(
        &mut self,
        now_ms: u64,
        no_ack: bool,
        fx: &mut Effects,
    ) -> Get {
        self.used_ms = now_ms;
        if !self.expire(now_ms, Expiry::Due, fx) {
            return Get::Loading;
        }
        let Some(next) = self.next() else {
            return Get::Empty;
        };
        let kind = self.arguments.kind;
        let Some((_, lane)) = self.lanes.get_mut(next.lane) else {
            return Get::Empty;
        };
        match next.head {
            Head::Empty => Get::Empty,
            Head::Cold(offset) => {
                request_load(lane, offset, fx);
                Get::Loading
            }
            Head::Ready(offset) => {
                let Some(leased) = lane.lease(offset) else {
                    return Get::Empty;
                };
                let lease = leased.lease;
                let history = lane.history();
                let enqueued = history.map(|_| Moment::from_ms(leased.enqueued_ms));
                if no_ack {
                    lane.ack(offset);
                } else if let Some(timeout_ms) = self.arguments.visibility_timeout_ms {
                    self.deadlines.push(now_ms, timeout_ms, lease);
                }
                self.count_turn(next.order, lease.lane);
                self.settle_down(now_ms, fx);
                let (redelivered, delivery_count) = leased.reported(kind);
                Get::Got(Got {
                    lease,
                    message: leased.message,
                    redelivered,
                    delivery_count,
                    enqueued,
                    remaining: self.ready(),
                })
            }
        }
    }

    /// Drops every message that is ready or delayed and returns how many there were.
    pub(in crate::broker::queue) fn purge(&mut self, now_ms: u64, fx: &mut Effects) -> u64 {
        let ready: u64 = self.lanes.iter_mut().map(|(_, lane)| lane.purge()).sum();
        let delayed = self.delayed.as_deref_mut().map_or(0, Delayed::purge);
        self.returns.clear();
        self.settle_down(now_ms, fx);
        ready + delayed
    }

    /// Takes in what was read from the store; an empty answer ends the read all the same.
    pub(in crate::broker::queue) fn loaded(
        &mut self,
        now_ms: u64,
        log: LogId,
        chunks: Vec<(u64, Vec<StoredMessage>)>,
        fx: &mut Effects,
    ) {
        if log.is_delayed() {
            self.delayed_mut().scanned(chunks);
        } else if let Some(lane) = self.lane_mut(log.lane()) {
            lane.end_load();
            for (first, messages) in chunks {
                lane.load(first, messages);
            }
        }
        self.settle_down(now_ms, fx);
    }

    /// Takes in delayed messages that were to be read.
    pub(in crate::broker::queue) fn picked(
        &mut self,
        now_ms: u64,
        chunks: Vec<Picked>,
        fx: &mut Effects,
    ) {
        self.delayed_mut().picked(chunks);
        self.settle_down(now_ms, fx);
    }

    /// Whether a message that was to be read at `offset` must be there: not if it has left since.
    pub(in crate::broker::queue) fn expects(&self, log: LogId, offset: u64) -> bool {
        if log.is_delayed() {
            let delayed = self.delayed.as_deref();
            return delayed.is_some_and(|delayed| delayed.expects(offset));
        }
        let lane = self.lanes.iter().find(|(lane, _)| *lane == log.lane());
        lane.is_some_and(|(_, lane)| lane.expects(offset))
    }

    /// These messages cannot be read: they are passed over. Returns how many that are.
    pub(in crate::broker::queue) fn lose(
        &mut self,
        now_ms: u64,
        log: LogId,
        range: Range<u64>,
        fx: &mut Effects,
    ) -> u64 {
        let lost = if log.is_delayed() {
            self.delayed_mut().lose(range)
        } else {
            let lane = self.lanes.iter_mut().find(|(lane, _)| *lane == log.lane());
            lane.map_or(0, |(number, lane)| {
                let lost = lane.lose(range);
                self.dying
                    .keep_only(*number, |offset| lane.is_dying(offset));
                lost
            })
        };
        self.settle_down(now_ms, fx);
        lost
    }

    /// Messages that cannot be read, by log.
    pub(in crate::broker::queue) fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        let lanes = self.lanes.iter().map(|(_, lane)| (lane.log(), lane.lost()));
        let delayed = self.delayed.as_deref();
        let delayed = delayed.map(|delayed| (delayed.log(), delayed.lost()));
        lanes
            .chain(delayed)
            .filter(|(_, lost)| !lost.is_empty())
            .collect()
    }

    /// Time has passed: drops what has expired.
    pub(in crate::broker::queue) fn tick(&mut self, now_ms: u64, fx: &mut Effects) {
        self.settle_down(now_ms, fx);
    }

    /// The queue was declared again: it is in use.
    pub(in crate::broker::queue) fn touch(&mut self, now_ms: u64) {
        self.used_ms = now_ms;
    }

    /// When [`WorkQueue::tick`] is next needed. A queue that has expired needs no further one: its owner
    /// was told.
    pub(in crate::broker::queue) fn deadline_ms(&mut self, now_ms: u64) -> Option<u64> {
        if self.is_overdue {
            return Some(now_ms);
        }
        // The end of their publication looks again.
        let head = match self.waits_for_letters() {
            true => None,
            false => self.head_expiry().map(|head| head.at_ms),
        };
        let due = self.delayed.as_deref().and_then(Delayed::next_due_ms);
        let expires = self.expires_ms().filter(|expires| *expires > now_ms);
        let lease = self.deadlines.next_ms();
        let kept = self.lanes.iter().filter_map(|(_, lane)| lane.history());
        let kept = kept.filter_map(History::next_drop_ms).min();
        [head, due, expires, lease, kept]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether `x-expires` says that the queue is to be deleted now.
    pub(in crate::broker::queue) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms().is_some_and(|expires| expires <= now_ms)
    }

    /// Everybody leaves, because the queue is deleted.
    pub(in crate::broker::queue) fn drain_consumers(&mut self) -> Vec<Consumer> {
        self.is_deleted = true;
        self.waiters.clear();
        self.consumers.drain()
    }

    /// The deliveries of this turn that go to consumer `id`, with its sink.
    pub(in crate::broker::queue) fn served_consumer(
        &mut self,
        id: ConsumerId,
    ) -> Option<&mut Consumer> {
        self.consumers.get_mut(id)
    }

    pub(in crate::broker::queue) fn counts(&self) -> Counts {
        let mut counts = Counts {
            consumers: self.consumers.len() as u64,
            ..Counts::default()
        };
        for (_, lane) in &self.lanes {
            counts.ready += lane.ready();
            counts.unacked += lane.leased();
            counts.ready_bytes += lane.ready_bytes();
            counts.unacked_bytes += lane.leased_bytes();
            counts.rewindable += lane.rewindable();
            counts.rewindable_bytes += lane.history().map_or(0, History::bytes);
            counts.damaged += lane.damaged();
        }
        counts.delayed = self.delayed.as_deref().map_or(0, Delayed::len);
        counts.damaged += self.delayed.as_deref().map_or(0, Delayed::damaged);
        counts.resident_bytes = self.resident_bytes();
        counts
    }

    /// The first message of each lane that is not settled.
    pub(in crate::broker::queue) fn oldest(&self) -> Vec<Oldest> {
        let lanes = self.lanes.iter();
        lanes.filter_map(|(_, lane)| lane.oldest()).collect()
    }

    pub(in crate::broker::queue) fn consumer_infos(&self) -> Vec<ConsumerInfo> {
        self.consumers.infos()
    }

    pub(in crate::broker::queue) fn resident_bytes(&self) -> u64 {
        let lanes = self.lanes.iter().map(|(_, lane)| lane.resident_bytes());
        lanes.sum::<u64>() + self.delayed.as_deref().map_or(0, Delayed::resident_bytes)
    }

    /// How much of the backlog one read is to bring: the chunk that is needed, and what may be read ahead.
    pub(in crate::broker::queue) fn read_bytes(&self) -> usize {
        READ_BYTES.min(usize::try_from(self.ahead_bytes).unwrap_or(usize::MAX))
    }

    /// Lets go of memory until at most `allowed` bytes are resident, as far as the store has what goes: everything up
    /// to the batch `committed`.
    pub(in crate::broker::queue) fn evict(&mut self, allowed: u64, committed: Ticket) {
        self.ahead_bytes = READ_AHEAD_BYTES.min(allowed / AHEAD_SHARE);
        if let Some(delayed) = &mut self.delayed {
            delayed.evict(allowed, committed);
        }
        // What is being published stays until it is buried.
        if self.resident_bytes() <= allowed || self.dying.is_out() {
            return;
        }
        let letter = self.dying.front();
        // Lowest priority first: it is needed last.
        for index in (0..self.lanes.len()).rev() {
            let others = self.resident_bytes();
            if let Some((priority, lane)) = self.lanes.get_mut(index) {
                let rest = others - lane.resident_bytes();
                let letter = letter.filter(|id| id.lane == *priority);
                let needed = letter.map(|id| id.offset);
                lane.evict(allowed.saturating_sub(rest), committed, needed);
            }
        }
    }

    /// Whether the disk has to be told anything.
    pub(in crate::broker::queue) fn is_dirty(&self) -> bool {
        self.lanes.iter().any(|(_, lane)| lane.is_dirty())
            || self.delayed.as_deref().is_some_and(Delayed::is_dirty)
    }

    /// Moves everything that the disk has to be told into `batch`, which will be committed as `ticket`.
    pub(in crate::broker::queue) fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        for (_, lane) in &mut self.lanes {
            if lane.is_dirty() {
                lane.collect(ticket, batch);
            }
        }
        if let Some(delayed) = self.delayed.as_mut().filter(|delayed| delayed.is_dirty()) {
            delayed.collect(ticket, batch);
        }
    }

    /// The logs in use.
    pub(in crate::broker::queue) fn logs(&self) -> impl Iterator<Item = LogId> + '_ {
        let lanes = self
            .lanes
            .iter()
            .map(|(priority, _)| self.id.log(*priority));
        lanes.chain(self.delayed.as_deref().map(Delayed::log))
    }

    fn ready(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.ready()).sum()
    }

    fn ready_bytes(&self) -> u64 {
        self.lanes.iter().map(|(_, lane)| lane.ready_bytes()).sum()
    }

    fn lane_mut(&mut self, priority: u8) -> Option<&mut Lane> {
        self.lanes
            .iter_mut()
            .find(|(lane, _)| *lane == priority)
            .map(|(_, lane)| lane)
    }

    /// The lane for a message of `priority`, made when it is first needed.
    fn lane_for(&mut self, now_ms: u64, priority: u8) -> &mut Lane {
        let priority = match self.arguments.kind {
            QueueKind::Quorum => u8::from(priority > QUORUM_NORMAL_PRIORITY_MAX),
            QueueKind::Classic | QueueKind::Stream => self
                .arguments
                .max_priority
                .map_or(0, |max| priority.min(max)),
        };
        let index = match self.lanes.binary_search_by(|(lane, _)| priority.cmp(lane)) {
            Ok(index) => index,
            Err(index) => {
                let mut lane = Lane::new(self.id.log(priority), self.durability);
                lane.set_history_limits(now_ms, history_limits(&self.arguments));
                self.lanes.insert(index, (priority, lane));
                index
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the index was found or made above")]
        let (_, lane) = &mut self.lanes[index];
        lane
    }

    fn delayed_mut(&mut self) -> &mut Delayed {
        let (id, durability) = (self.id, self.durability);
        self.delayed
            .get_or_insert_with(|| Box::new(Delayed::new(id.delayed_log(), durability)))
    }

    /// What every command ends with: hand out what can be handed out, drop what has expired or is too much,
    /// read ahead, sweep.
    fn settle_down(&mut self, now_ms: u64, fx: &mut Effects) {
        if self.is_deleted {
            return self.watch_letters(fx);
        }
        self.is_overdue = false;
        self.release(now_ms, fx);
        self.end_due_leases(now_ms);
        self.consumers.elect();
        self.dispatch(now_ms, fx);
        self.bound_deadlines();
        self.expire(now_ms, Expiry::Due, fx);
        self.answer_hasty(fx);
        self.enforce_length(fx);
        self.watch_head(fx);
        self.watch_letters(fx);
        let awaited = self.consumers.len() > 0 || !self.waiters.is_empty();
        for (_, lane) in &mut self.lanes {
            lane.expire_history(now_ms);
            lane.end_command();
            if awaited
                && lane.ready() > 0
                && let Some(offset) = lane.read_ahead(self.ahead_bytes)
            {
                request_load(lane, offset, fx);
            }
        }
        self.sweep(fx);
    }

    /// Asks for the removal of chunks that nobody reads again.
    pub(in crate::broker::queue) fn sweep(&mut self, fx: &mut Effects) {
        for (_, lane) in &mut self.lanes {
            let log = lane.log();
            fx.sweeps
                .extend(lane.take_sweep().map(|below| (log, 0..below)));
            let parts = lane.take_sweeps().into_iter();
            fx.sweeps.extend(parts.map(|part| (log, part)));
        }
        if let Some(delayed) = &mut self.delayed
            && let Some(below) = delayed.take_sweep()
        {
            fx.sweeps.push((delayed.log(), 0..below));
        }
    }

    /// Messages expire at the head, so where any may, and where somebody waits for those that do, the head has
    /// to be in memory even if nobody consumes.
    fn watch_head(&mut self, fx: &mut Effects) {
        let arguments = &self.arguments;
        if arguments.message_ttl_ms.is_none()
            && arguments.retention_ms.is_none()
            && arguments.dead_letter_exchange.is_none()
        {
            return;
        }
        if let Some(next) = self.next()
            && let Some((_, lane)) = self.lanes.get_mut(next.lane)
            && let Head::Cold(offset) = next.head
        {
            request_load(lane, offset, fx);
        }
    }

    /// Delayed messages whose time has come join their lanes.
    fn release(&mut self, now_ms: u64, fx: &mut Effects) {
        let Some(delayed) = &mut self.delayed else {
            return;
        };
        let due = delayed.take_due(now_ms);
        delayed.read(now_ms, fx);
        for message in due {
            self.lane_for(now_ms, message.priority)
                .push(now_ms, &message);
        }
    }

    fn expires_ms(&self) -> Option<u64> {
        let idle = self.consumers.len() == 0 && self.waiters.is_empty();
        self.arguments
            .expires_ms
            .filter(|_| idle)
            .map(|expires| self.used_ms.saturating_add(expires))
    }
}

fn request_load(lane: &mut Lane, offset: u64, fx: &mut Effects) {
    if lane.begin_load() {
        fx.loads.push((lane.log(), offset));
    }
}
