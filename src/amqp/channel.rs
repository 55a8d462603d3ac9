//! One channel: its state, and the parts of it that need no connection. The methods are in `methods`, frames
//! in `channel_frames`, deliveries in `deliver`. The connection's task owns it, so nothing here is locked.

use std::sync::Arc;

use super::assembly::Assembly;
use super::confirms::Confirms;
use super::consumers::Consumers;
use super::direct_reply_to::ReplyAddress;
use super::gathered_acks::GatheredAcks;
use super::leaving::Leaving;
use super::publishing::Publishing;
use super::queue_handles::QueueHandles;
use super::transaction::Transaction;
use super::unacked::{Unacked, UnackedDelivery};
use super::writer::Writer;
use crate::broker::connections::ChannelStatus;
use crate::broker::queue::ChannelLimiter;
use crate::broker::stats::MessageStats;
use crate::model::{ConsumerId, Name, Ticket};
use crate::wire;

/// Whether publishes are confirmed, and whether publishes and acknowledgements wait for a commit.
#[derive(Debug, Default)]
pub(crate) enum Mode {
    #[default]
    Plain,
    Confirm(Confirms),
    Tx(Box<Transaction>),
}

/// Whether methods take effect on the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// `channel.close` was sent. Frames have no effect until `channel.close-ok`, but contents are followed.
    Closing,
    /// Both sides sent `channel.close`. The client's `channel.close-ok` or a new `channel.open` may come.
    Crossed,
}

pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) phase: Phase,
    /// The content that arrives, with the index of its publish in the route cache.
    pub(crate) assembly: Assembly<usize>,
    pub(crate) mode: Mode,
    pub(crate) unacked: Unacked,
    pub(crate) consumers: Consumers,
    pub(crate) queues: QueueHandles,
    pub(crate) publishing: Publishing,
    pub(crate) message_stats: MessageStats,
    pub(crate) acks: GatheredAcks,
    /// Buffer for acknowledged deliveries; empty between methods.
    pub(crate) acknowledged: Vec<(u64, UnackedDelivery)>,
    /// Consumers whose account has changed.
    pub(crate) touched: Vec<ConsumerId>,
    /// Consumers with deliveries that the socket has not taken.
    pub(crate) under_way: Vec<ConsumerId>,
    /// Its consumers get no credit because of too many unacked deliveries.
    pub(crate) parked: bool,
    /// `basic.qos` per consumer, for consumers to come; 0 is no limit.
    pub(crate) prefetch: u16,
    /// `basic.qos` for the channel as a whole; 0 is no limit.
    pub(crate) global_prefetch: u16,
    /// The limit that its consumers share, from the first consumer on.
    pub(crate) limiter: Option<Arc<ChannelLimiter>>,
    /// The queue declared last, which an empty queue name means.
    pub(crate) last_queue: Option<Name>,
    /// Its consumer of direct reply-to.
    pub(crate) reply_consumer: Option<(ConsumerId, ReplyAddress)>,
    /// It is on the connection's list of channels with confirms to come.
    pub(crate) is_confirming: bool,
    /// It is on the connection's list of channels with work left for the end of the batch.
    pub(crate) is_dirty: bool,
}

impl Channel {
    pub(crate) fn new(number: u16) -> Channel {
        Channel {
            number,
            phase: Phase::Open,
            assembly: Assembly::Idle,
            mode: Mode::Plain,
            unacked: Unacked::default(),
            consumers: Consumers::default(),
            queues: QueueHandles::default(),
            publishing: Publishing::default(),
            message_stats: MessageStats::default(),
            acks: GatheredAcks::default(),
            acknowledged: Vec::new(),
            touched: Vec::new(),
            under_way: Vec::new(),
            parked: false,
            prefetch: 0,
            global_prefetch: 0,
            limiter: None,
            last_queue: None,
            reply_consumer: None,
            is_confirming: false,
            is_dirty: false,
        }
    }

    /// Sends the confirms that are due. Returns the ticket that the next confirm waits for.
    pub(crate) fn send_confirms(&mut self, out: &mut Writer, durable: Ticket) -> Option<Ticket> {
        let waits_for = match &mut self.mode {
            Mode::Plain | Mode::Tx(_) => None,
            Mode::Confirm(confirms) => {
                let mut unanswered = confirms.outstanding();
                while let Some(confirm) = confirms.pop(durable) {
                    let answered = unanswered - confirms.outstanding();
                    unanswered -= answered;
                    self.message_stats.confirm += if confirm.ack { answered } else { 0 };
                    let (seq, multiple) = (confirm.seq, confirm.multiple);
                    match confirm.ack {
                        true => wire::put_ack(out.buffer(), self.number, seq, multiple),
                        // The requeue bit means nothing here; RabbitMQ sets it.
                        false => wire::put_nack(out.buffer(), self.number, seq, multiple, true),
                    }
                }
                confirms.waits_for()
            }
        };
        self.is_confirming = waits_for.is_some();
        waits_for
    }

    /// Adds the consumers to `leaving`: all of them are halted before the channel ends.
    pub(crate) fn leave_consumers(&self, leaving: &mut Leaving) {
        for (id, consumer) in self.consumers.iter() {
            if let Some(source) = consumer.source
                && let Some(queue) = self.queues.get(source.queue)
            {
                leaving.add_consumer(queue, id);
            }
        }
    }

    /// Adds all unacked deliveries to `leaving`, in order, those of an open transaction included.
    pub(crate) fn leave_deliveries(&mut self, leaving: &mut Leaving) {
        if let Mode::Tx(transaction) = std::mem::take(&mut self.mode) {
            self.unacked.put_back(transaction.into_acknowledged());
        }
        let mut deliveries = Vec::new();
        self.unacked.take_all(&mut deliveries);
        for (_, delivery) in deliveries {
            if let Some(queue) = self.queues.get(delivery.queue) {
                leaving.add_lease(queue, delivery.lease);
            }
        }
    }

    pub(crate) fn status(&self) -> ChannelStatus {
        let (unconfirmed, uncommitted) = match &self.mode {
            Mode::Plain => (0, 0),
            Mode::Confirm(confirms) => (
                usize::try_from(confirms.outstanding()).unwrap_or(usize::MAX),
                0,
            ),
            Mode::Tx(transaction) => (0, transaction.len()),
        };
        ChannelStatus {
            number: self.number,
            consumers: self.consumers.len(),
            unacknowledged: self.unacked.len(),
            unconfirmed,
            uncommitted,
            prefetch: self.prefetch,
            global_prefetch: self.global_prefetch,
            confirm: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Tx(_)),
            message_stats: self.message_stats,
            active_ms: 0,
        }
    }
}
