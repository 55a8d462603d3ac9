//! One channel: its state, the frames that come for it, and its end. What each method does is in `methods`, deliveries
//! are in `deliver`. Owned by its connection's task, so nothing here is locked.

use std::sync::Arc;

use bytes::Bytes;

use super::assembly::{Assembly, Content};
use super::confirms::Confirms;
use super::consumers::{Consumers, Queues};
use super::cx::Cx;
use super::error::{Code, Failure, MethodId, Refusal};
use super::leaving::Leaving;
use super::methods::ack::Answers;
use super::methods::publish::Publishing;
use super::methods::tx::Transaction;
use super::misread::{undecodable, unexpected};
use super::replies::ReplyAddress;
use super::unacked::Ledger;
use super::writer::Writer;
use crate::broker::connections::ChannelStatus;
use crate::broker::queue::ChannelLimiter;
use crate::model::{ConsumerId, Name, Ticket};
use crate::wire::{self, Hot};

/// What publishes and acknowledgements mean on the channel.
#[derive(Debug, Default)]
pub(crate) enum Mode {
    /// They are done, and nothing is said.
    #[default]
    Plain,
    /// Publishes are confirmed.
    Confirm(Confirms),
    /// They wait for the commit.
    Tx(Box<Transaction>),
}

/// Whether the channel still does what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// `channel.close` was sent. Frames are followed, but have no effect until the client has answered.
    Closing,
    /// The client has closed it as well, before it knew. Its answer may come, or the channel may be opened anew.
    Crossed,
}

/// A channel.
pub(crate) struct Channel {
    pub(crate) number: u16,
    pub(crate) phase: Phase,
    pub(crate) assembly: Assembly<usize>,
    pub(crate) mode: Mode,
    pub(crate) ledger: Ledger,
    pub(crate) consumers: Consumers,
    pub(crate) queues: Queues,
    pub(crate) publishing: Publishing,
    pub(crate) answers: Answers,
    /// Consumers whose account has changed.
    pub(crate) touched: Vec<ConsumerId>,
    /// Consumers with deliveries that the socket has not taken.
    pub(crate) under_way: Vec<ConsumerId>,
    /// Its last consumers were parked because of too many unanswered deliveries.
    pub(crate) parked: bool,
    /// `basic.qos` for consumers to come; 0 is no limit.
    pub(crate) prefetch: u16,
    /// `basic.qos` for the channel as a whole; 0 is no limit.
    pub(crate) global_prefetch: u16,
    /// The limit that its consumers share, from the first consumer on.
    pub(crate) limiter: Option<Arc<ChannelLimiter>>,
    /// The queue declared last, which an empty name means.
    pub(crate) last_queue: Option<Name>,
    /// Its consumer on the direct reply-to pseudo queue.
    pub(crate) reply: Option<(ConsumerId, ReplyAddress)>,
    /// It is on the connection's list of channels with confirms to come.
    pub(crate) waits_for_confirms: bool,
    /// It is on the connection's list of channels with work left for the end of the batch.
    pub(crate) is_dirty: bool,
}

impl Channel {
    /// A fresh channel.
    pub(crate) fn new(number: u16) -> Channel {
        Channel {
            number,
            phase: Phase::Open,
            assembly: Assembly::Idle,
            mode: Mode::Plain,
            ledger: Ledger::default(),
            consumers: Consumers::default(),
            queues: Queues::default(),
            publishing: Publishing::default(),
            answers: Answers::default(),
            touched: Vec::new(),
            under_way: Vec::new(),
            parked: false,
            prefetch: 0,
            global_prefetch: 0,
            limiter: None,
            last_queue: None,
            reply: None,
            waits_for_confirms: false,
            is_dirty: false,
        }
    }

    /// Handles a method frame.
    pub(crate) fn method(&mut self, cx: &mut Cx<'_>, payload: &[u8]) -> Result<(), Failure> {
        self.assembly.method().map_err(|unexpected| {
            Refusal::new(Code::UnexpectedFrame, unexpected.text()).about(60, 40)
        })?;
        if self.phase != Phase::Open {
            return self.method_while_closing(payload);
        }
        if payload.starts_with(&[0, 60, 0, 40])
            && let Some(route) = self.publishing.routes.find(payload)
        {
            self.assembly.begin(route);
            return Ok(self.may_publish(cx, route)?);
        }
        let hot = wire::decode_hot(payload).map_err(undecodable)?;
        Ok(match hot {
            Hot::Publish(publish) => self.basic_publish(cx, payload, publish),
            Hot::Ack {
                delivery_tag,
                multiple,
            } => self.basic_ack(cx, delivery_tag, multiple),
            Hot::Nack {
                delivery_tag,
                multiple,
                requeue,
            } => self.basic_nack(cx, delivery_tag, multiple, requeue),
            Hot::Reject {
                delivery_tag,
                requeue,
            } => self.basic_nack(cx, delivery_tag, false, requeue),
            Hot::Other(method) => self.other_method(cx, payload, method),
        }?)
    }

    /// Handles a content header frame.
    pub(crate) fn header(&mut self, cx: &mut Cx<'_>, payload: Bytes) -> Result<(), Failure> {
        // A header that cannot be read is none.
        let header =
            wire::decode_header(payload).map_err(|_| unexpected(self.assembly.header_missing()))?;
        let limit = cx.shared.front.settings.message_bytes_max;
        let size = header.body_size;
        let is_open = self.phase == Phase::Open;
        let properties = if is_open {
            header.properties
        } else {
            Bytes::new()
        };
        let content = self
            .assembly
            .header(header.class_id, size, properties)
            .map_err(unexpected)?;
        if content.is_none() {
            cx.assembling.begin(self.number);
            cx.assembling.change(0, self.assembly.held());
        }
        if size > limit && is_open {
            let text = format!("message size {size} is larger than configured max size {limit}");
            return Err(Refusal::new(Code::PreconditionFailed, text)
                .about(60, 40)
                .into());
        }
        self.content(cx, content)
    }

    /// Handles a body frame.
    pub(crate) fn body(&mut self, cx: &mut Cx<'_>, payload: Bytes) -> Result<(), Failure> {
        if self.phase != Phase::Open {
            return self.assembly.skip_body(payload.len()).map_err(unexpected);
        }
        let before = self.assembly.held();
        let content = self
            .assembly
            .body(payload, cx.read_buffer)
            .map_err(unexpected)?;
        cx.assembling.change(before, self.assembly.held());
        self.content(cx, content)
    }

    fn content(&mut self, cx: &mut Cx<'_>, content: Option<Content<usize>>) -> Result<(), Failure> {
        match content {
            Some(content) if self.phase == Phase::Open => {
                cx.method = MethodId {
                    class: 60,
                    method: 40,
                };
                Ok(self
                    .publish_content(cx, content)
                    .map_err(|refusal| match refusal.about {
                        Some(_) => refusal,
                        None => refusal.about(60, 40),
                    })?)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// After `channel.close` was sent only content is followed, to know where the next method begins.
    fn method_while_closing(&mut self, payload: &[u8]) -> Result<(), Failure> {
        if payload.starts_with(&[0, 60, 0, 40]) {
            self.assembly.begin(0);
        }
        Ok(())
    }

    /// Does what was put off to the end of a batch: publishes, then answers, then credit.
    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) {
        self.flush_run(cx);
        self.flush_answers(cx);
        self.flush_credit(cx);
    }

    /// Puts the channel on the list of those with work left for the end of the batch.
    pub(crate) fn mark_dirty(&mut self, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.is_dirty, true) {
            cx.dirty.push(self.number);
        }
    }

    /// Puts the channel on the list of those with confirms to come.
    pub(crate) fn expect_confirms(&mut self, cx: &mut Cx<'_>) {
        if !std::mem::replace(&mut self.waits_for_confirms, true) {
            cx.confirming.push(self.number);
        }
    }

    /// The ticket that the next confirm waits for.
    pub(crate) fn waits_for(&self) -> Option<Ticket> {
        match &self.mode {
            Mode::Confirm(confirms) => confirms.waits_for(),
            Mode::Plain | Mode::Tx(_) => None,
        }
    }

    /// The time that the oldest unanswered delivery has had, in milliseconds, if that is over.
    pub(crate) fn timed_out(&self, now_ms: u64, default_ms: Option<u64>) -> Option<u64> {
        if self.phase != Phase::Open {
            return None;
        }
        let oldest = self.ledger.oldest()?;
        let of_consumer = oldest
            .consumer
            .and_then(|consumer| self.consumers.get(consumer)?.timeout_ms);
        let of_queue = self
            .queues
            .get(oldest.queue)
            .and_then(|queue| queue.spec().arguments.consumer_timeout_ms);
        let timeout_ms = of_consumer.or(of_queue).or(default_ms)?;
        let waited_ms = now_ms.saturating_sub(oldest.at_ms);
        (waited_ms >= timeout_ms).then_some(timeout_ms)
    }

    /// Sends the confirms that are due.
    pub(crate) fn send_confirms(&mut self, out: &mut Writer, durable: Ticket) {
        let Mode::Confirm(confirms) = &mut self.mode else {
            return;
        };
        while let Some(confirm) = confirms.pop(durable) {
            match confirm.ack {
                true => wire::put_ack(out.buffer(), self.number, confirm.seq, confirm.multiple),
                // The requeue bit means nothing here; RabbitMQ sets it.
                false => wire::put_nack(
                    out.buffer(),
                    self.number,
                    confirm.seq,
                    confirm.multiple,
                    true,
                ),
            }
        }
    }

    /// The first step of its end: its consumers, which are to be halted before anything else.
    pub(crate) fn leave(&self, leaving: &mut Leaving) {
        for (id, consumer) in self.consumers.iter() {
            if let Some(source) = consumer.source
                && let Some(queue) = self.queues.get(source.queue)
            {
                leaving.consumer(queue, id);
            }
        }
    }

    /// The second: what it was told before takes effect.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_>) {
        self.flush_run(cx);
        self.flush_answers(cx);
        self.phase = Phase::Closing;
    }

    /// The third, after the deliveries that were on their way have arrived: what was not answered goes back, in order.
    pub(crate) fn wind_up(&mut self, cx: &mut Cx<'_>, leaving: &mut Leaving) {
        let mut open = Vec::new();
        if let Mode::Tx(transaction) = std::mem::take(&mut self.mode) {
            open = transaction.into_answers();
        }
        self.ledger.put_back(std::mem::take(&mut open));
        self.ledger.take_all(&mut open);
        for (_, entry) in open {
            if let Some(queue) = self.queues.get(entry.queue) {
                leaving.lease(queue, entry.lease);
            }
        }
        for (id, _) in self.consumers.iter() {
            cx.consumers.remove(id);
        }
        self.consumers = Consumers::default();
        self.queues = Queues::default();
        self.publishing = Publishing::default();
        self.reply = None;
        self.limiter = None;
        self.touched = Vec::new();
        self.under_way = Vec::new();
        cx.assembling.change(self.assembly.held(), 0);
        self.assembly.forget();
    }

    /// What operators see.
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
            unacknowledged: self.ledger.len(),
            unconfirmed,
            uncommitted,
            prefetch: self.prefetch,
            global_prefetch: self.global_prefetch,
            confirm: matches!(self.mode, Mode::Confirm(_)),
            transactional: matches!(self.mode, Mode::Tx(_)),
        }
    }
}
