//! `basic.get`.

use std::sync::Arc;

use super::super::channel::{Channel, Phase};
use super::super::connection_state::{ConnectionState, then};
use super::super::error::{Code, Handled, Refusal};
use super::super::message_frames::{AddedHeaders, put_content};
use super::super::unacked::UnackedDelivery;
use super::queue::count;
use crate::broker::queue::{Got, Queue};
use crate::model::Name;
use crate::model::arguments::QueueKind;
use crate::wire::protocol::basic::{AMQPMethod, Get, GetEmpty};
use crate::wire::{self, AMQPClass};

impl Channel {
    /// `basic.get`.
    pub(crate) fn basic_get(&mut self, connection: &mut ConnectionState, m: Get) -> Handled {
        let name = self.queue_name(m.queue.as_str())?;
        let answer = connection.shared.session.ask_read(&name);
        connection.when_permitted(self, answer, move |channel, connection| {
            channel.get_permitted(connection, &m, name)
        })
    }

    fn get_permitted(&mut self, connection: &mut ConnectionState, m: &Get, name: Name) -> Handled {
        let no_ack = m.no_ack;
        let queue = connection.shared.session.queue_to_read(&name)?;
        let vhost = Arc::clone(connection.shared.session.vhost.name());
        let arguments = &queue.spec().arguments;
        if arguments.kind == QueueKind::Stream {
            let text = format!(
                "basic.get not supported by stream queues queue '{name}' in vhost '{vhost}'"
            );
            return Err(Refusal::new(Code::NotImplemented, text));
        }
        if arguments.kind == QueueKind::Quorum && arguments.single_active_consumer {
            let text = format!(
                "cannot obtain access to locked queue '{name}' in vhost '{vhost}'. basic.get operations are not \
                 supported by quorum queues with single active consumer"
            );
            return Err(Refusal::new(Code::ResourceLocked, text));
        }
        connection.wait_for(self, async move {
            let got = queue.get(no_ack).await;
            then(move |channel, connection| match got {
                Ok(Some(got)) => {
                    channel.send_got(connection, &queue, &got, no_ack);
                    Ok(())
                }
                Ok(None) => {
                    channel.message_stats.get_empty += 1;
                    let empty = AMQPMethod::GetEmpty(GetEmpty {});
                    connection.send(channel.number, AMQPClass::Basic(empty));
                    Ok(())
                }
                Err(_) => Err(Refusal::new(
                    Code::NotFound,
                    format!("no queue '{name}' in vhost '{vhost}'"),
                )),
            })
        });
        Ok(())
    }

    /// Sends a message that `basic.get` took from its queue.
    pub(in crate::amqp) fn send_got(
        &mut self,
        connection: &mut ConnectionState,
        queue: &Arc<Queue>,
        got: &Got,
        no_ack: bool,
    ) {
        if self.phase != Phase::Open {
            // The broker has closed the channel meanwhile and returned its deliveries, so this one is
            // returned alone.
            if !no_ack {
                queue.leave(&[], &[got.lease]);
            }
            return;
        }
        let stats = &mut self.message_stats;
        stats.get += u64::from(!no_ack);
        stats.get_no_ack += u64::from(no_ack);
        stats.redeliver += u64::from(got.redelivered);
        let tag = match no_ack {
            true => self.unacked.skip_tag(),
            false => {
                let kind = queue.spec().arguments.kind;
                let timeout_ms = queue.arguments().consumer_timeout_ms;
                let queue = self.queues.acquire(queue);
                self.unacked.push(UnackedDelivery {
                    queue,
                    consumer: None,
                    lease: got.lease,
                    time: Channel::ack_time(connection, kind, timeout_ms),
                })
            }
        };
        let message = &got.message;
        wire::put_get_ok(
            connection.out.buffer(),
            self.number,
            tag,
            got.redelivered,
            &message.origin.exchange,
            &message.origin.routing_key,
            count(got.remaining),
        );
        let kind = queue.spec().arguments.kind;
        let enqueued_ms = got.enqueued.map(|enqueued| connection.wall_ms_at(enqueued));
        let added = AddedHeaders::of(kind, got.counts, got.lease.offset, enqueued_ms);
        let frame_max = connection.shared.frame_max;
        put_content(&mut connection.out, frame_max, self.number, message, added);
        if connection.shared.session.vhost.is_traced() {
            self.trace_got(connection, queue, got, added);
        }
    }
}
