//! `basic.consume` and `basic.cancel`.

use std::sync::Arc;

use super::super::channel::Channel;
use super::super::connection_state::ConnectionState;
use super::super::consumers::{Consumer, Source};
use super::super::credit::{Account, Window};
use super::super::direct_reply_to::REPLY_TO;
use super::super::error::{Code, Handled, Refusal};
use super::super::generated_name::generated_name;
use super::super::limits::CONSUMERS_PER_CHANNEL_MAX;
use super::super::outbox::sink;
use super::consume_arguments::{ConsumeArguments, described};
use crate::broker::queue::{ConsumeError, NewConsumer, Outlet, Queue};
use crate::broker::users::Answer;
use crate::model::arguments::QueueKind;
use crate::model::{ConsumerId, Name};
use crate::wire::protocol::basic::{AMQPMethod, Cancel, CancelOk, Consume, ConsumeOk};
use crate::wire::{AMQPClass, short_string};

impl Channel {
    /// `basic.consume`.
    pub(crate) fn basic_consume(
        &mut self,
        connection: &mut ConnectionState,
        m: Consume,
    ) -> Handled {
        let tag: Name = match m.consumer_tag.as_str() {
            "" => format!("amq.ctag-{}", generated_name()).into(),
            tag => tag.into(),
        };
        if self.consumers.find(&tag).is_some() {
            let text = format!("attempt to reuse consumer tag '{tag}'");
            return Err(Refusal::new(Code::NotAllowed, text));
        }
        if self.consumers.len() >= CONSUMERS_PER_CHANNEL_MAX {
            let text = "too many consumers on the channel";
            return Err(Refusal::new(Code::ResourceError, text));
        }
        let nowait = m.nowait;
        if m.queue.as_str() == REPLY_TO {
            self.consume_replies(connection, &m, &tag)?;
            self.consume_ok(connection, &tag, nowait);
            return Ok(());
        }
        let name = self.queue_name(m.queue.as_str())?;
        let answer = connection.shared.session.ask_read(&name);
        connection.when_permitted(self, answer, move |channel, connection| {
            channel.consume_queue(connection, m, &name, &tag)?;
            channel.consume_ok(connection, &tag, nowait);
            Ok(())
        })
    }

    fn consume_ok(&self, connection: &mut ConnectionState, tag: &Name, nowait: bool) {
        if !nowait {
            let ok = AMQPMethod::ConsumeOk(ConsumeOk {
                consumer_tag: short_string(tag),
            });
            connection.send(self.number, AMQPClass::Basic(ok));
        }
    }

    fn consume_queue(
        &mut self,
        connection: &mut ConnectionState,
        m: Consume,
        name: &str,
        tag: &Name,
    ) -> Handled {
        let queue = connection.shared.session.queue_to_read(name)?;
        let kind = queue.spec().arguments.kind;
        if kind == QueueKind::Quorum && self.is_limited() {
            let queue = described(&queue, connection);
            let text = format!("{queue} does not support global qos");
            return Err(Refusal::new(Code::NotImplemented, text));
        }
        let arguments = ConsumeArguments::check(&m, self.prefetch, &queue, connection)?;
        let mut account = Account::new(self.prefetch, m.no_ack);
        let window = Window::share(connection.consumers.len() + 1);
        let credit = account.grant(window, false).unwrap_or_default();
        let id = connection.shared.front.broker.next_consumer();
        let new = NewConsumer {
            id,
            tag: Arc::clone(tag),
            no_ack: m.no_ack,
            exclusive: m.exclusive,
            priority: arguments.priority,
            credit,
            visibility_timeout_ms: arguments.visibility_timeout_ms,
            stream: arguments.stream,
            prefetch_count: self.prefetch,
            arguments: m.arguments,
            connection: connection.shared.session.connection,
            channel: self.number,
        };
        let outlet = Outlet {
            sink: sink(&connection.shared.outbox),
            // Only classic queues know the channel's shared limit.
            limiter: (kind == QueueKind::Classic).then(|| self.limiter()),
        };
        let registered = queue.consume(new, outlet);
        registered.map_err(|error| consume_refused(error, &queue, connection))?;
        let consumer = Consumer {
            tag: Arc::clone(tag),
            no_ack: m.no_ack,
            source: Some(Source {
                queue: self.queues.acquire(&queue),
                kind,
            }),
            account,
            touched: false,
            timeout_ms: arguments.timeout_ms.or(match kind {
                QueueKind::Quorum => queue.arguments().consumer_timeout_ms,
                QueueKind::Classic | QueueKind::Stream => None,
            }),
        };
        self.add_consumer(connection, id, consumer);
        Ok(())
    }

    /// Registers a requester of direct reply-to.
    fn consume_replies(
        &mut self,
        connection: &mut ConnectionState,
        m: &Consume,
        tag: &Name,
    ) -> Handled {
        let refused = |text| Err(Refusal::new(Code::PreconditionFailed, text));
        if self.reply_consumer.is_some() {
            return refused("reply consumer already set");
        }
        if !m.no_ack {
            return refused("reply consumer cannot acknowledge");
        }
        let front = &connection.shared.front;
        let id = front.broker.next_consumer();
        let address = front.requesters.register(&connection.shared.outbox, id);
        self.reply_consumer = Some((id, address));
        let consumer = Consumer {
            tag: Arc::clone(tag),
            no_ack: true,
            source: None,
            account: Account::new(0, true),
            touched: false,
            timeout_ms: None,
        };
        self.add_consumer(connection, id, consumer);
        Ok(())
    }

    /// `basic.cancel`. Deliveries under way come before the reply, and stay unacked.
    pub(crate) fn basic_cancel(&mut self, connection: &mut ConnectionState, m: Cancel) -> Handled {
        if let Some(id) = self.consumers.find(m.consumer_tag.as_str()) {
            self.cancel_consumer(connection, id);
        }
        if !m.nowait {
            let ok = AMQPMethod::CancelOk(CancelOk {
                consumer_tag: m.consumer_tag,
            });
            connection.send(self.number, AMQPClass::Basic(ok));
        }
        Ok(())
    }

    /// Cancels the consumers of queues that the user may no longer read from.
    pub(crate) fn cancel_unreadable(&mut self, connection: &mut ConnectionState) {
        let may_read = |consumer: &Consumer| {
            let queue = consumer
                .source
                .and_then(|source| self.queues.get(source.queue));
            queue.is_none_or(|queue| {
                match connection.shared.session.ask_read(queue.name()) {
                    Answer::Known(permitted) => permitted.is_ok(),
                    // Not refused by a backend that no new secret changes.
                    Answer::Asked(_) => true,
                }
            })
        };
        let unreadable: Vec<(ConsumerId, Name)> = self
            .consumers
            .iter()
            .filter(|(_, consumer)| !may_read(consumer))
            .map(|(id, consumer)| (id, Arc::clone(&consumer.tag)))
            .collect();
        for (id, tag) in unreadable {
            self.cancel_consumer(connection, id);
            self.send_cancel(connection, &tag);
        }
    }

    fn cancel_consumer(&mut self, connection: &mut ConnectionState, id: ConsumerId) {
        self.reply_consumer.take_if(|(own, _)| *own == id);
        if let Some(source) = self.consumers.get(id).and_then(|consumer| consumer.source)
            && let Some(queue) = self.queues.get(source.queue)
        {
            queue.cancel(id);
        }
        // The queue delivers nothing more, so the last deliveries are in the outbox.
        let is_traced = connection.shared.session.vhost.is_traced();
        for delivery in connection.shared.outbox.take_for(id) {
            self.deliver(connection, &delivery);
            if is_traced {
                self.trace_delivery(connection, &delivery);
            }
        }
        self.remove_consumer(connection, id);
    }

    fn add_consumer(
        &mut self,
        connection: &mut ConnectionState,
        id: ConsumerId,
        consumer: Consumer,
    ) {
        self.consumers.insert(id, consumer);
        connection.consumers.insert(id, self.number);
    }

    /// Removes a consumer. Returns its tag.
    pub(crate) fn remove_consumer(
        &mut self,
        connection: &mut ConnectionState,
        id: ConsumerId,
    ) -> Option<Name> {
        let consumer = self.consumers.remove(id)?;
        connection.consumers.remove(id);
        if let Some(source) = consumer.source {
            self.queues.release(source.queue, 1);
        }
        Some(consumer.tag)
    }
}

fn consume_refused(error: ConsumeError, queue: &Queue, connection: &ConnectionState) -> Refusal {
    let queue = described(queue, connection);
    match error {
        ConsumeError::ExclusiveUse => {
            Refusal::new(Code::AccessRefused, format!("{queue} in exclusive use"))
        }
        ConsumeError::Gone => Refusal::new(Code::NotFound, format!("no {queue}")),
    }
}
