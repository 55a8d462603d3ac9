//! `basic.consume` and `basic.cancel`.

use std::sync::Arc;

use super::super::channel::Channel;
use super::super::consumers::{Consumer, Source};
use super::super::credit::{Account, Window};
use super::super::cx::{Cx, Handled};
use super::super::error::{Code, Refusal};
use super::super::limits::{ARGUMENT_LOGGED_MAX, CONSUMERS_PER_CHANNEL_MAX};
use super::super::outbox::sink;
use super::super::replies::REPLY_TO;
use super::ack::credit;
use crate::broker::queue::{ConsumeError, NewConsumer, Outlet, Queue};
use crate::model::arguments::{
    ArgumentError, QueueKind, VISIBILITY_TIMEOUT, integer_value, type_name, visibility_timeout_ms,
};
use crate::model::stream::{
    STREAM_FILTER, STREAM_MATCH_UNFILTERED, STREAM_OFFSET, StreamFault, StreamFilter, StreamOffset,
    StreamStart,
};
use crate::model::{ConsumerId, Name};
use crate::wire::protocol::basic::{AMQPMethod, Cancel, CancelOk, Consume, ConsumeOk};
use crate::wire::{AMQPClass, FieldTable, short_string};

/// Consumer arguments that only streams know.
const STREAM_ARGUMENTS: &[&str] = &[STREAM_OFFSET, STREAM_FILTER, STREAM_MATCH_UNFILTERED];
/// Consumer arguments that streams do not know.
const WORK_ARGUMENTS: &[&str] = &["x-priority", VISIBILITY_TIMEOUT];

impl Channel {
    /// `basic.consume`.
    pub(crate) fn basic_consume(&mut self, cx: &mut Cx<'_>, m: Consume) -> Handled {
        let tag: Name = match m.consumer_tag.as_str() {
            "" => format!("amq.ctag-{}", super::super::random_name()).into(),
            tag => tag.into(),
        };
        if self.consumers.find(&tag).is_some() {
            return Err(Refusal::new(
                Code::NotAllowed,
                format!("attempt to reuse consumer tag '{tag}'"),
            ));
        }
        if self.consumers.len() >= CONSUMERS_PER_CHANNEL_MAX {
            return Err(Refusal::new(
                Code::ResourceError,
                "too many consumers on the channel",
            ));
        }
        if m.queue.as_str() == REPLY_TO {
            return self.consume_replies(cx, &m, tag);
        }
        let name = self.queue_name(m.queue.as_str())?;
        let queue = cx.shared.session.queue_for_consume(&name)?;
        self.check_consume(cx, &m.arguments, &queue)?;
        let stream = self.stream_start(cx, &m, &queue)?;
        let priority = priority(&m.arguments, &queue, cx)?;
        let timeout_ms = timeout_ms(&m.arguments);
        let visibility_timeout_ms = visibility_timeout(&m.arguments, &queue, cx)?;
        let mut account = Account::new(self.prefetch, m.no_ack);
        let initial = account
            .grant(Window::share(cx.consumers.len() + 1), false)
            .unwrap_or_default();
        // Only classic queues know the channel's shared limit.
        let limiter = (queue.spec().arguments.kind == QueueKind::Classic).then(|| self.limiter());
        let id = cx.shared.front.broker.next_consumer();
        let new = NewConsumer {
            id,
            tag: Arc::clone(&tag),
            no_ack: m.no_ack,
            exclusive: m.exclusive,
            priority,
            credit: credit(initial),
            visibility_timeout_ms,
            stream,
            prefetch_count: self.prefetch,
            arguments: m.arguments,
            connection: cx.shared.session.connection,
            channel: self.number,
        };
        let outlet = Outlet {
            sink: sink(&cx.shared.outbox),
            limiter,
        };
        let registered = queue.consume(new, outlet);
        registered.map_err(|error| consume_refused(error, &queue, cx))?;
        let source = Some(Source {
            queue: self.queues.acquire(&queue),
            kind: queue.spec().arguments.kind,
        });
        let consumer = Consumer {
            tag: Arc::clone(&tag),
            no_ack: m.no_ack,
            source,
            account,
            touched: false,
            timeout_ms,
        };
        self.add_consumer(cx, id, consumer);
        self.consume_ok(cx, m.nowait, &tag);
        Ok(())
    }

    /// What the queue's type does not allow.
    fn check_consume(&self, cx: &Cx<'_>, arguments: &FieldTable, queue: &Queue) -> Handled {
        let kind = queue.spec().arguments.kind;
        if kind == QueueKind::Quorum && self.is_limited() {
            let text = format!("{} does not support global qos", described(queue, cx));
            return Err(Refusal::new(Code::NotImplemented, text));
        }
        let unknown = match kind {
            QueueKind::Classic | QueueKind::Quorum => STREAM_ARGUMENTS,
            QueueKind::Stream => WORK_ARGUMENTS,
        };
        for argument in unknown {
            if arguments.contains_key(argument) {
                let queue = described(queue, cx);
                let text = format!(
                    "invalid arg '{argument}' for {queue} of queue type {}",
                    kind.long_name()
                );
                return Err(Refusal::new(Code::PreconditionFailed, text));
            }
        }
        Ok(())
    }

    /// Where a consumer begins if the queue is a stream, and what is refused there; in RabbitMQ's order.
    fn stream_start(
        &self,
        cx: &Cx<'_>,
        m: &Consume,
        queue: &Queue,
    ) -> Result<Option<StreamStart>, Refusal> {
        if queue.spec().arguments.kind != QueueKind::Stream {
            return Ok(None);
        }
        let wall_ms = cx.clock().wall_ms();
        let offset = StreamOffset::parse(&m.arguments, wall_ms).map_err(|fault| match fault {
            StreamFault::Invalid(fault) => {
                let queue = described(queue, cx);
                let text = format!("invalid arg '{STREAM_OFFSET}' for {queue}: {fault}");
                Refusal::new(Code::PreconditionFailed, text)
            }
            senseless @ StreamFault::Senseless { .. } => stumble(&senseless, queue, cx),
        })?;
        if self.prefetch == 0 {
            let text = format!(
                "consumer prefetch count is not set for stream {}",
                described(queue, cx)
            );
            return Err(Refusal::new(Code::PreconditionFailed, text));
        }
        if m.no_ack {
            let text = format!(
                "automatic acknowledgement not supported by stream {}",
                described(queue, cx)
            );
            return Err(Refusal::new(Code::NotImplemented, text));
        }
        let filter =
            StreamFilter::parse(&m.arguments).map_err(|fault| stumble(&fault, queue, cx))?;
        Ok(Some(StreamStart { offset, filter }))
    }

    /// `basic.cancel`. Deliveries that are on their way come before the answer, and stay to be answered.
    pub(crate) fn basic_cancel(&mut self, cx: &mut Cx<'_>, m: Cancel) -> Handled {
        if let Some(id) = self.consumers.find(m.consumer_tag.as_str()) {
            self.cancel_consumer(cx, id);
        }
        if !m.nowait {
            let ok = CancelOk {
                consumer_tag: m.consumer_tag,
            };
            cx.send(self.number, AMQPClass::Basic(AMQPMethod::CancelOk(ok)));
        }
        Ok(())
    }

    /// Cancels the consumers of queues that the user may no longer read from.
    pub(crate) fn cancel_unreadable(&mut self, cx: &mut Cx<'_>) {
        let may_read = |consumer: &Consumer| {
            let queue = consumer
                .source
                .and_then(|source| self.queues.get(source.queue));
            queue.is_none_or(|queue| cx.shared.session.may_read(queue.name()))
        };
        let lost: Vec<(ConsumerId, Name)> = self
            .consumers
            .iter()
            .filter(|(_, consumer)| !may_read(consumer))
            .map(|(id, consumer)| (id, Arc::clone(&consumer.tag)))
            .collect();
        for (id, tag) in lost {
            self.cancel_consumer(cx, id);
            self.tell_cancelled(cx, &tag);
        }
    }

    fn cancel_consumer(&mut self, cx: &mut Cx<'_>, id: ConsumerId) {
        if self.reply.as_ref().is_some_and(|(own, _)| *own == id) {
            self.reply = None;
        }
        if let Some(source) = self.consumers.get(id).and_then(|consumer| consumer.source)
            && let Some(queue) = self.queues.get(source.queue)
        {
            queue.cancel(id);
        }
        // Nothing more comes; what has come is on this channel's side of the outbox or in it.
        for delivery in cx.shared.outbox.take_for(id) {
            self.deliver(cx, &delivery);
        }
        if let Some(consumer) = self.consumers.remove(id) {
            cx.consumers.remove(id);
            if let Some(source) = consumer.source {
                self.queues.release(source.queue, 1);
            }
        }
    }

    /// Consuming from direct reply-to's pseudo queue.
    fn consume_replies(&mut self, cx: &mut Cx<'_>, m: &Consume, tag: Name) -> Handled {
        if self.reply.is_some() {
            return Err(Refusal::new(
                Code::PreconditionFailed,
                "reply consumer already set",
            ));
        }
        if !m.no_ack {
            return Err(Refusal::new(
                Code::PreconditionFailed,
                "reply consumer cannot acknowledge",
            ));
        }
        let front = &cx.shared.front;
        let id = front.broker.next_consumer();
        let address = front.replies.register(&cx.shared.outbox, id);
        self.reply = Some((id, address));
        let consumer = Consumer {
            tag: Arc::clone(&tag),
            no_ack: true,
            source: None,
            account: Account::new(0, true),
            touched: false,
            timeout_ms: None,
        };
        self.add_consumer(cx, id, consumer);
        self.consume_ok(cx, m.nowait, &tag);
        Ok(())
    }

    fn add_consumer(&mut self, cx: &mut Cx<'_>, id: ConsumerId, consumer: Consumer) {
        self.consumers.insert(id, consumer);
        cx.consumers.insert(id, self.number);
    }

    fn consume_ok(&mut self, cx: &mut Cx<'_>, nowait: bool, tag: &str) {
        if !nowait {
            let ok = ConsumeOk {
                consumer_tag: short_string(tag),
            };
            cx.send(self.number, AMQPClass::Basic(AMQPMethod::ConsumeOk(ok)));
        }
    }
}

fn described(queue: &Queue, cx: &Cx<'_>) -> String {
    let vhost = cx.shared.session.vhost.name();
    format!("queue '{}' in vhost '{vhost}'", queue.name())
}

/// The refusal says nothing, so the log names what cannot be read.
fn stumble(fault: &StreamFault, queue: &Queue, cx: &Cx<'_>) -> Refusal {
    if let StreamFault::Senseless { argument, value } = fault {
        let connection = &cx.shared.name;
        let value: String = value.chars().take(ARGUMENT_LOGGED_MAX).collect();
        tracing::info!(%connection, queue = %queue.name(), argument, ?value, "unreadable consumer argument");
    }
    Refusal::senseless()
}

fn consume_refused(error: ConsumeError, queue: &Queue, cx: &Cx<'_>) -> Refusal {
    let queue = described(queue, cx);
    match error {
        ConsumeError::ExclusiveUse => {
            Refusal::new(Code::AccessRefused, format!("{queue} in exclusive use"))
        }
        ConsumeError::Gone => Refusal::new(Code::NotFound, format!("no {queue}")),
    }
}

/// `x-priority`; any integer, cut to what fits.
fn priority(arguments: &FieldTable, queue: &Queue, cx: &Cx<'_>) -> Result<i32, Refusal> {
    let Some(value) = arguments.inner().get("x-priority") else {
        return Ok(0);
    };
    let Some(priority) = integer_value(value) else {
        let (queue, found) = (described(queue, cx), type_name(value));
        let text =
            format!("invalid arg 'x-priority' for {queue}: \"expected integer, got {found}\"");
        return Err(Refusal::new(Code::PreconditionFailed, text));
    };
    let furthest = if priority < 0 { i32::MIN } else { i32::MAX };
    Ok(i32::try_from(priority).unwrap_or(furthest))
}

/// `x-visibility-timeout` in milliseconds, which takes the place of the queue's.
fn visibility_timeout(
    arguments: &FieldTable,
    queue: &Queue,
    cx: &Cx<'_>,
) -> Result<Option<u64>, Refusal> {
    visibility_timeout_ms(arguments).map_err(|ArgumentError { argument, fault }| {
        let queue = described(queue, cx);
        let text = format!("invalid arg '{argument}' for {queue}: {fault}");
        Refusal::new(Code::PreconditionFailed, text)
    })
}

/// `x-consumer-timeout` in milliseconds; what is no positive integer does not count, as in RabbitMQ.
fn timeout_ms(arguments: &FieldTable) -> Option<u64> {
    let value = arguments
        .inner()
        .get("x-consumer-timeout")
        .and_then(integer_value)?;
    u64::try_from(value).ok().filter(|timeout| *timeout > 0)
}
