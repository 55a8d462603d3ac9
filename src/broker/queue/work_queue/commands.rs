//! The commands of a work queue.

use std::sync::Arc;

use crate::broker::queue::consumer::{
    ChannelLimit, ConsumeError, ConsumerInfo, Credit, LimiterId, NewConsumer,
};
use crate::broker::queue::counts::Counts;
use crate::broker::queue::death::DeathReason;
use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::effects::{
    Acknowledgement, Admission, Effects, Enqueued, Get, Got, Oldest,
};
use crate::broker::queue::lane::Head;
use crate::broker::queue::lane::history::History;
use crate::broker::queue::lane::leases::Returned;
use crate::broker::queue::machine::{Machine, Stored};
use crate::clock::Moment;
use crate::model::arguments::{Overflow, QueueArguments};
use crate::model::{ConsumerId, Lease, Message, MessageId};

use super::deaths::Expiry;
use super::leases::holds;
use super::returns::Return;
use super::state::{Paused, WorkQueue, request_load};

impl Machine for WorkQueue {
    fn reconfigure(&mut self, now_ms: u64, arguments: Arc<QueueArguments>, fx: &mut Effects) {
        self.set_arguments(arguments, now_ms);
        self.finish(now_ms, fx);
    }

    fn publish(
        &mut self,
        now_ms: u64,
        run: &[Arc<Message>],
        admission: Admission,
        fx: &mut Effects,
    ) -> Enqueued {
        let mut enqueued = Enqueued::default();
        let may_refuse = self.arguments.overflow != Overflow::DropHead && self.is_limited();
        if may_refuse && admission == Admission::Whole {
            let bytes = run.iter().map(|message| message.body.len() as u64).sum();
            if self.would_overflow(run.len() as u64, bytes) {
                run.iter().for_each(|message| self.refuse(now_ms, message));
                enqueued.seen = run.len();
                enqueued.rejected = (0..).zip(run).map(|(index, _)| index).collect();
                return enqueued;
            }
        }
        let blocks = self.arguments.overflow == Overflow::BlockPublish;
        let refuses = may_refuse && !blocks && admission == Admission::Each;
        for (index, message) in (0..).zip(run) {
            enqueued.seen += 1;
            if refuses && self.would_overflow(1, message.body.len() as u64) {
                self.refuse(now_ms, message);
                enqueued.rejected.push(index);
                continue;
            }
            if message.delay_ms.is_some_and(|delay_ms| delay_ms > 0) {
                self.delayed_mut().push(now_ms, message);
            } else {
                self.lane_for(now_ms, message).push(now_ms, message);
            }
            enqueued.persisted |= self.durability.covers(message);
            if refuses {
                self.dispatch(now_ms, fx);
                if fx.permit.is_some() {
                    self.paused = Paused::InRun;
                    enqueued.is_paused = true;
                    return enqueued;
                }
            }
        }
        self.finish(now_ms, fx);
        enqueued.is_full = self.is_full();
        enqueued
    }

    fn consume(
        &mut self,
        now_ms: u64,
        new: NewConsumer,
        limit: Option<ChannelLimit>,
        fx: &mut Effects,
    ) -> Result<(), ConsumeError> {
        self.used_ms = now_ms;
        self.consumers.add(new, limit)?;
        self.finish(now_ms, fx);
        Ok(())
    }

    fn halt(&mut self, consumers: &[ConsumerId]) {
        self.consumers.halt(consumers);
    }

    fn leave(
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
        self.finish(now_ms, fx);
        left > 0 && self.consumers.len() == 0
    }

    fn time_out(
        &mut self,
        now_ms: u64,
        consumer: Option<ConsumerId>,
        leases: &[Lease],
        fx: &mut Effects,
    ) -> usize {
        self.end_due_leases(now_ms);
        let mut returned = 0;
        for lease in leases.iter().filter(|lease| holds(&self.lanes, **lease)) {
            returned += 1;
            if let Some(id) = consumer {
                self.consumers.leave_unanswered(id, *lease);
            }
        }
        for lease in leases {
            self.requeue(now_ms, *lease, Return::ConsumerTimedOut);
        }
        self.finish(now_ms, fx);
        returned
    }

    fn grant(&mut self, now_ms: u64, credit: &[(ConsumerId, Credit)], fx: &mut Effects) {
        for (id, credit) in credit {
            self.consumers.grant(*id, *credit);
        }
        self.finish(now_ms, fx);
    }

    fn permit(&mut self, now_ms: u64, is_granted: bool, fx: &mut Effects) {
        self.consumers.permit(is_granted);
        match self.paused {
            Paused::InRun => self.dispatch(now_ms, fx),
            Paused::AtEnd => self.finish(now_ms, fx),
        }
    }

    fn poke(&mut self, now_ms: u64, limiter: LimiterId, share: u32, fx: &mut Effects) {
        self.consumers.poke(limiter, share);
        self.finish(now_ms, fx);
    }

    fn limit(&mut self, now_ms: u64, limit: ChannelLimit, fx: &mut Effects) {
        self.consumers.limit(limit);
        self.finish(now_ms, fx);
    }

    fn acknowledge(
        &mut self,
        now_ms: u64,
        how: Acknowledgement,
        leases: &[Lease],
        credit: &[(ConsumerId, Credit)],
        fx: &mut Effects,
    ) {
        // Due leases end first, so that whether an acknowledgement is in time does not depend on when the
        // timer runs.
        self.end_due_leases(now_ms);
        for lease in leases {
            self.answered(*lease);
            match how {
                Acknowledgement::Ack => {
                    if let Some(lane) = self.lane_mut(lease.lane) {
                        lane.ack_lease(*lease);
                    }
                }
                Acknowledgement::Requeue => self.requeue(now_ms, *lease, Return::Refused),
                Acknowledgement::RequeueFailed => self.requeue(now_ms, *lease, Return::Failed),
                Acknowledgement::Reject => self.reject(*lease, Returned::Unharmed),
                Acknowledgement::RejectFailed => self.reject(*lease, Returned::Failed),
            }
        }
        self.grant(now_ms, credit, fx);
    }

    fn get(&mut self, now_ms: u64, no_ack: bool, fx: &mut Effects) -> Get {
        self.used_ms = now_ms;
        let is_expired = self.expire(now_ms, Expiry::Due, fx);
        self.left = 0;
        if !is_expired {
            return Get::Loading;
        }
        let Some(next) = self.next() else {
            return Get::Empty;
        };
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
                self.finish(now_ms, fx);
                let (redelivered, counts) = leased.reported();
                Get::Got(Got {
                    lease,
                    message: leased.message,
                    redelivered,
                    counts,
                    enqueued,
                    remaining: self.ready(),
                })
            }
        }
    }

    fn purge(&mut self, now_ms: u64, fx: &mut Effects) -> u64 {
        let ready: u64 = self.lanes.iter_mut().map(|(_, lane)| lane.purge()).sum();
        let delayed = self.delayed.as_deref_mut().map_or(0, Delayed::purge);
        self.returns.clear();
        self.rests.clear();
        self.finish(now_ms, fx);
        ready + delayed
    }

    fn touch(&mut self, now_ms: u64) {
        self.used_ms = now_ms;
    }

    fn tick(&mut self, now_ms: u64, fx: &mut Effects) {
        self.finish(now_ms, fx);
    }

    fn deadline_ms(&mut self, now_ms: u64) -> Option<u64> {
        if self.is_overdue {
            return Some(now_ms);
        }
        // While expiry waits for dead letters, their publication resumes it, not the timer.
        let head = match self.waits_for_letters() {
            true => None,
            false => self.head_expiry().map(|head| head.at_ms),
        };
        let due = self.delayed.as_deref().and_then(Delayed::next_due_ms);
        let expires = self.expires_ms().filter(|expires| *expires > now_ms);
        let lease = self.deadlines.next_ms();
        let kept = self.lanes.iter().filter_map(|(_, lane)| lane.history());
        let kept = kept.filter_map(History::next_drop_ms).min();
        let rest = self.rests.next_ms();
        [head, due, expires, lease, kept, rest]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_full(&self) -> bool {
        self.arguments.overflow == Overflow::BlockPublish && self.would_overflow(1, 0)
    }

    fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms().is_some_and(|expires| expires <= now_ms)
    }

    fn delete(&mut self) {
        self.is_deleted = true;
        self.waiting.clear();
        self.consumers.clear();
    }

    fn counts(&self) -> Counts {
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
        counts.delayed = self.delayed.as_deref().map_or(0, Delayed::len) + self.resting();
        counts.damaged += self.delayed.as_deref().map_or(0, Delayed::damaged);
        counts.resident_bytes = self.resident_bytes();
        counts
    }

    fn consumer_infos(&self) -> Vec<ConsumerInfo> {
        self.consumers.infos()
    }

    fn head_message(&self) -> Option<&Arc<Message>> {
        let mut lanes = self.lanes.iter();
        lanes.find_map(|(_, lane)| lane.head_message())
    }

    fn oldest(&self) -> Vec<Oldest> {
        let lanes = self.lanes.iter();
        lanes.filter_map(|(_, lane)| lane.oldest()).collect()
    }
}

impl WorkQueue {
    /// Refuses a message for which there is no room. With `reject-publish-dlx` the message dies in this
    /// queue, so that its dead letter keeps the order.
    fn refuse(&mut self, now_ms: u64, message: &Arc<Message>) {
        let dead_letters = self.arguments.dead_letter_exchange.is_some();
        if self.arguments.overflow == Overflow::RejectPublishDlx && dead_letters {
            let lane = self.lane_for(now_ms, message);
            let id = MessageId {
                lane: lane.log().lane(),
                offset: lane.push(now_ms, message),
            };
            self.kill(id, DeathReason::MaxLength);
        }
    }

    fn expires_ms(&self) -> Option<u64> {
        let idle = self.consumers.len() == 0 && self.waiting.is_empty();
        self.arguments
            .expires_ms
            .filter(|_| idle)
            .map(|expires| self.used_ms.saturating_add(expires))
    }
}
