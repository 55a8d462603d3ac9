//! One channel: its state, the dispatcher of its methods, its deliveries, and its end. What each method does is in
//! `methods`. Owned by its connection's task, so nothing here is locked.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::assembly::{Assembling, Assembly, Content};
use super::confirms::Confirms;
use super::connection::Context;
use super::consumers::{Consumers, Queues, parts};
use super::error::{Code, Failure, MethodId, Refusal};
use super::methods::ack::Answers;
use super::methods::get::{Extra, put_content};
use super::methods::publish::Publishing;
use super::methods::tx::Transaction;
use super::replies::ReplyAddress;
use super::unacked::{ConsumerRef, Ledger, Unacked};
use super::unsynced::Unsynced;
use super::writer::Writer;
use crate::broker::connections::ChannelStatus;
use crate::broker::queue::{ChannelLimiter, Delivery, Settle};
use crate::model::{Name, Ticket};
use crate::wire::protocol::{access, basic, channel, confirm, exchange, queue, tx};
use crate::wire::{self, AMQPClass, Fault, Hot, MethodError};

/// What handling a method comes to.
pub(crate) type Handled = Result<(), Refusal>;

/// What remains to be done on a channel when something that had to be waited for is there.
pub(crate) type Done = Box<dyn FnOnce(&mut Channel, &mut Cx<'_>) -> Handled + Send>;

/// Something that a method waits for. Until it is there, the connection handles no further frame.
pub(crate) struct Later {
    pub(crate) channel: u16,
    pub(crate) method: MethodId,
    pub(crate) future: Pin<Box<dyn Future<Output = Done> + Send>>,
}

/// What a handler may use besides its channel.
pub(crate) struct Cx<'a> {
    /// What all channels of the connection share.
    pub(crate) shared: &'a Context,
    /// Output.
    pub(crate) out: &'a mut Writer,
    /// What has to be waited for.
    pub(crate) later: &'a mut Option<Later>,
    /// The method being handled.
    pub(crate) method: MethodId,
    /// Counts the consumers of the connection.
    pub(crate) serial: &'a mut u32,
    /// Consumers of the connection.
    pub(crate) consumers: &'a mut usize,
    /// Seconds since the connection was opened.
    pub(crate) now_secs: u32,
    /// Channels with work left for the end of the batch.
    pub(crate) dirty: &'a mut Vec<u16>,
    /// Channels with confirms to come.
    pub(crate) confirming: &'a mut Vec<u16>,
    /// Channels with deliveries among the output.
    pub(crate) delivering: &'a mut Vec<u16>,
    /// The client publishes.
    pub(crate) has_published: &'a mut bool,
    /// What the connection has published that may not be on disk.
    pub(crate) unsynced: &'a mut Unsynced,
    /// What has arrived in part, on all channels.
    pub(crate) assembling: &'a mut Assembling,
    /// Size of the buffer that the frames at hand were read into.
    pub(crate) read_buffer: usize,
}

impl Cx<'_> {
    /// Sends a method.
    pub(crate) fn send(&mut self, channel: u16, method: AMQPClass) {
        wire::encode_method(self.out.buffer(), channel, &method);
    }

    /// Waits for `future` and goes on with what it gives.
    pub(crate) fn later(
        &mut self,
        channel: &Channel,
        future: impl Future<Output = Done> + Send + 'static,
    ) {
        debug_assert!(self.later.is_none(), "one thing is waited for at a time");
        *self.later = Some(Later {
            channel: channel.number,
            method: self.method,
            future: Box::pin(future),
        });
    }
}

/// Makes a [`Done`] of a closure.
pub(crate) fn done(
    next: impl FnOnce(&mut Channel, &mut Cx<'_>) -> Handled + Send + 'static,
) -> Done {
    Box::new(next)
}

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
    pub(crate) touched: Vec<ConsumerRef>,
    /// Consumers with deliveries that the socket has not taken.
    pub(crate) under_way: Vec<ConsumerRef>,
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
    pub(crate) reply: Option<(ConsumerRef, ReplyAddress)>,
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
            return Ok(());
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
        let content = self
            .assembly
            .header(header.class_id, size, header.properties)
            .map_err(unexpected)?;
        if size > limit && self.phase == Phase::Open {
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
        let content = self.assembly.body(payload).map_err(unexpected)?;
        if !cx.assembling.change(before, self.assembly.held()) {
            return Err(
                Refusal::new(Code::ResourceError, "too many messages half sent")
                    .about(60, 40)
                    .into(),
            );
        }
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

    /// Handles all methods but those of the message path. Work that was put off is done first: what follows may
    /// depend on it.
    fn other_method(&mut self, cx: &mut Cx<'_>, payload: &[u8], method: AMQPClass) -> Handled {
        self.flush(cx);
        match method {
            AMQPClass::Access(method) => match method {
                access::AMQPMethod::Request(_) => {
                    cx.send(
                        self.number,
                        AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
                    );
                    Ok(())
                }
                access::AMQPMethod::RequestOk(_) => unimplemented(),
            },
            AMQPClass::Channel(method) => self.channel_method(cx, method),
            AMQPClass::Exchange(method) => self.exchange_method(cx, method),
            AMQPClass::Queue(method) => self.queue_method(cx, method),
            AMQPClass::Basic(method) => self.basic_method(cx, payload, method),
            AMQPClass::Confirm(method) => match method {
                confirm::AMQPMethod::Select(m) => self.confirm_select(cx, m),
                confirm::AMQPMethod::SelectOk(_) => unimplemented(),
            },
            AMQPClass::Tx(method) => match method {
                tx::AMQPMethod::Select(_) => self.tx_select(cx),
                tx::AMQPMethod::Commit(_) => self.tx_commit(cx),
                tx::AMQPMethod::Rollback(_) => self.tx_rollback(cx),
                tx::AMQPMethod::SelectOk(_)
                | tx::AMQPMethod::CommitOk(_)
                | tx::AMQPMethod::RollbackOk(_) => unimplemented(),
            },
            AMQPClass::Connection(_) => unimplemented(),
        }
    }

    fn channel_method(&mut self, cx: &mut Cx<'_>, method: channel::AMQPMethod) -> Handled {
        match method {
            channel::AMQPMethod::Open(_) => Err(Refusal::new(
                Code::ChannelError,
                "second 'channel.open' seen",
            )),
            channel::AMQPMethod::Flow(m) if m.active => {
                let ok = channel::FlowOk { active: true };
                cx.send(
                    self.number,
                    AMQPClass::Channel(channel::AMQPMethod::FlowOk(ok)),
                );
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(Refusal::new(Code::NotImplemented, "active=false")),
            channel::AMQPMethod::Close(_)
            | channel::AMQPMethod::CloseOk(_)
            | channel::AMQPMethod::OpenOk(_)
            | channel::AMQPMethod::FlowOk(_) => unimplemented(),
        }
    }

    fn exchange_method(&mut self, cx: &mut Cx<'_>, method: exchange::AMQPMethod) -> Handled {
        match method {
            exchange::AMQPMethod::Declare(m) => self.exchange_declare(cx, m),
            exchange::AMQPMethod::Delete(m) => self.exchange_delete(cx, m),
            exchange::AMQPMethod::Bind(m) => self.exchange_bind(cx, m),
            exchange::AMQPMethod::Unbind(m) => self.exchange_unbind(cx, m),
            exchange::AMQPMethod::DeclareOk(_)
            | exchange::AMQPMethod::DeleteOk(_)
            | exchange::AMQPMethod::BindOk(_)
            | exchange::AMQPMethod::UnbindOk(_) => unimplemented(),
        }
    }

    fn queue_method(&mut self, cx: &mut Cx<'_>, method: queue::AMQPMethod) -> Handled {
        match method {
            queue::AMQPMethod::Declare(m) => self.queue_declare(cx, m),
            queue::AMQPMethod::Bind(m) => self.queue_bind(cx, m),
            queue::AMQPMethod::Unbind(m) => self.queue_unbind(cx, m),
            queue::AMQPMethod::Purge(m) => self.queue_purge(cx, m),
            queue::AMQPMethod::Delete(m) => self.queue_delete(cx, m),
            queue::AMQPMethod::DeclareOk(_)
            | queue::AMQPMethod::BindOk(_)
            | queue::AMQPMethod::UnbindOk(_)
            | queue::AMQPMethod::PurgeOk(_)
            | queue::AMQPMethod::DeleteOk(_) => unimplemented(),
        }
    }

    fn basic_method(
        &mut self,
        cx: &mut Cx<'_>,
        payload: &[u8],
        method: basic::AMQPMethod,
    ) -> Handled {
        match method {
            basic::AMQPMethod::Qos(m) => self.basic_qos(cx, payload, m),
            basic::AMQPMethod::Consume(m) => self.basic_consume(cx, m),
            basic::AMQPMethod::Cancel(m) => self.basic_cancel(cx, m),
            basic::AMQPMethod::Get(m) => self.basic_get(cx, m),
            basic::AMQPMethod::Recover(m) => self.basic_recover(cx, m.requeue, true),
            basic::AMQPMethod::RecoverAsync(m) => self.basic_recover(cx, m.requeue, false),
            basic::AMQPMethod::CancelOk(_)
            | basic::AMQPMethod::Publish(_)
            | basic::AMQPMethod::Ack(_)
            | basic::AMQPMethod::Nack(_)
            | basic::AMQPMethod::Reject(_)
            | basic::AMQPMethod::QosOk(_)
            | basic::AMQPMethod::ConsumeOk(_)
            | basic::AMQPMethod::Return(_)
            | basic::AMQPMethod::Deliver(_)
            | basic::AMQPMethod::GetOk(_)
            | basic::AMQPMethod::GetEmpty(_)
            | basic::AMQPMethod::RecoverOk(_) => unimplemented(),
        }
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
    pub(crate) fn timed_out(&self, now_secs: u32, default_ms: Option<u64>) -> Option<u64> {
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
        let waited_ms = u64::from(now_secs.saturating_sub(oldest.at_secs)) * 1_000;
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

    /// Sends a delivery to the client, or, if the channel is closing, only notes it so that it goes back.
    pub(crate) fn deliver(&mut self, cx: &mut Cx<'_>, delivery: &Delivery) {
        let (_, reference) = parts(delivery.key);
        let Some(consumer) = self.consumers.get_mut(reference) else {
            return;
        };
        let message = &delivery.message;
        if !consumer.account.is_under_way() {
            if self.under_way.is_empty() {
                cx.delivering.push(self.number);
            }
            self.under_way.push(reference);
        }
        consumer
            .account
            .delivered(message.size() as u64, !consumer.no_ack);
        let mut extra = Extra::Nothing;
        let tag = match consumer.source {
            Some(source) if !consumer.no_ack => {
                self.queues.reuse(source.queue);
                self.ledger.push(Unacked {
                    queue: source.queue,
                    consumer: Some(reference),
                    lease: delivery.lease,
                    at_secs: cx.now_secs,
                })
            }
            Some(_) => self.ledger.skip(),
            None => {
                if let Some((_, address)) = &mut self.reply {
                    address.hand_out(message.size());
                }
                self.ledger.next_tag()
            }
        };
        if let Some(source) = consumer.source {
            extra = Extra::of(
                source.kind,
                delivery.delivery_count,
                delivery.lease.offset,
                delivery.enqueued_ms,
            );
        }
        if self.phase != Phase::Open {
            return;
        }
        let origin = &message.origin;
        wire::put_deliver(
            cx.out.buffer(),
            self.number,
            &consumer.tag,
            tag,
            delivery.redelivered,
            &origin.exchange,
            &origin.routing_key,
        );
        put_content(cx.out, cx.shared.frame_max, self.number, message, extra);
    }

    /// The queue of a consumer is gone: the consumer as well.
    pub(crate) fn consumer_cancelled(&mut self, cx: &mut Cx<'_>, reference: ConsumerRef) {
        let Some(consumer) = self.consumers.remove(reference) else {
            return;
        };
        *cx.consumers = cx.consumers.saturating_sub(1);
        if let Some(source) = consumer.source {
            self.queues.release(source.queue, 1);
        }
        self.tell_cancelled(cx, &consumer.tag);
    }

    /// Tells the client that a consumer has been cancelled from this side, if it understands that.
    pub(crate) fn tell_cancelled(&self, cx: &mut Cx<'_>, tag: &str) {
        if cx.shared.client.consumer_cancel_notify && self.phase == Phase::Open {
            let cancel = basic::Cancel {
                consumer_tag: wire::short_string(tag),
                nowait: true,
            };
            cx.send(
                self.number,
                AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)),
            );
        }
    }

    /// The first half of its end: nothing new comes from its queues after this.
    pub(crate) fn stop(&mut self, cx: &mut Cx<'_>) {
        self.flush_run(cx);
        self.flush_answers(cx);
        self.phase = Phase::Closing;
        for (_, consumer) in self.consumers.iter() {
            if let Some(source) = consumer.source
                && let Some(queue) = self.queues.get(source.queue)
            {
                queue.cancel(source.id);
            }
        }
    }

    /// The second half, after the deliveries that were on their way have arrived: what was not answered goes back,
    /// in order.
    pub(crate) fn wind_up(&mut self, cx: &mut Cx<'_>) {
        let mut open = Vec::new();
        if let Mode::Tx(transaction) = std::mem::take(&mut self.mode) {
            open = transaction.into_answers();
        }
        self.ledger.put_back(std::mem::take(&mut open));
        self.ledger.take_all(&mut open);
        *cx.consumers = cx.consumers.saturating_sub(self.consumers.len());
        self.consumers = Consumers::default();
        self.settle_now(Settle::Requeue, &open);
        self.queues = Queues::default();
        self.publishing = Publishing::default();
        self.reply = None;
        self.limiter = None;
        self.touched = Vec::new();
        self.under_way = Vec::new();
        cx.assembling.change(self.assembly.held(), 0);
        self.assembly.forget_body();
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

/// A method that only a server sends, or one that belongs to another channel.
pub(crate) fn unimplemented() -> Handled {
    Err(Refusal::new(Code::CommandInvalid, "unimplemented method"))
}

/// What a method that cannot be decoded leads to. RabbitMQ's reader dies over a bad table or an unknown method, and
/// its connection with it.
pub(crate) fn undecodable(error: MethodError) -> Failure {
    match error {
        MethodError::Unknown { .. } | MethodError::NoIds | MethodError::Table { .. } => {
            Failure::Drop
        }
        MethodError::Malformed {
            fault: Fault::NotUtf8,
            text,
            ..
        } => Refusal::new(Code::FrameError, text).about_nothing().into(),
        MethodError::Malformed {
            class_id,
            method_id,
            text,
            ..
        } => Refusal::new(Code::FrameError, text)
            .about(class_id, method_id)
            .into(),
    }
}

/// The same on channel 0.
pub(crate) fn undecodable_on_zero(error: MethodError) -> Failure {
    match error {
        MethodError::Unknown { .. } | MethodError::NoIds => Failure::Drop,
        MethodError::Malformed {
            fault: Fault::NotUtf8,
            class_id,
            method_id,
            text,
        } => Refusal::new(Code::FrameError, text)
            .about(class_id, method_id)
            .into(),
        MethodError::Malformed { .. } | MethodError::Table { .. } => {
            Refusal::new(Code::InternalError, "").about_nothing().into()
        }
    }
}

/// What a frame out of turn leads to. RabbitMQ names the publish that waits for it, if there is one.
pub(crate) fn unexpected(unexpected: super::assembly::Unexpected) -> Failure {
    use super::assembly::Unexpected;
    let refusal = |code| Refusal::new(code, unexpected.text());
    match unexpected {
        Unexpected::NotMethod => refusal(Code::UnexpectedFrame).about_nothing(),
        Unexpected::NotHeader | Unexpected::WrongClass(_) | Unexpected::NotBody => {
            refusal(Code::UnexpectedFrame).about(60, 40)
        }
    }
    .into()
}
