//! `queue.*`: declare, bind, unbind, purge, delete.

use std::sync::Arc;

use super::super::channel::Channel;
use super::super::connection_state::{ConnectionState, then};
use super::super::direct_reply_to::{REPLY_TO, REPLY_TO_PREFIX};
use super::super::error::{Code, Handled, Refusal};
use crate::broker::exchange::Destination;
use crate::broker::session::{DeclareQueue, QueueDeclared};
use crate::model::Name;
use crate::wire::protocol::queue::{
    AMQPMethod, Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Purge, PurgeOk, Unbind,
    UnbindOk,
};
use crate::wire::{AMQPClass, short_string};

impl Channel {
    /// `queue.declare`.
    pub(crate) fn queue_declare(
        &mut self,
        connection: &mut ConnectionState,
        m: Declare,
    ) -> Handled {
        if self.is_reply_address(connection, m.queue.as_str()) {
            let declared = QueueDeclared {
                name: m.queue.as_str().into(),
                messages: 0,
                consumers: 1,
            };
            return self.queue_declared(connection, m.nowait, declared);
        }
        // Clients cannot declare queues under the pseudo queue's name, so such a name must be a present
        // requester.
        let passive = m.passive || m.queue.as_str().starts_with(REPLY_TO);
        let session = Arc::clone(&connection.shared.session);
        connection.wait_for(self, async move {
            let declare = DeclareQueue {
                name: m.queue.as_str(),
                passive,
                durable: m.durable,
                exclusive: m.exclusive,
                auto_delete: m.auto_delete,
                arguments: m.arguments,
            };
            let declared = session.declare_queue(declare).await;
            then(move |channel, connection| channel.queue_declared(connection, m.nowait, declared?))
        });
        Ok(())
    }

    fn queue_declared(
        &mut self,
        connection: &mut ConnectionState,
        nowait: bool,
        declared: QueueDeclared,
    ) -> Handled {
        let queue = short_string(&declared.name);
        self.last_queue = Some(declared.name);
        let ok = DeclareOk {
            queue,
            message_count: count(declared.messages),
            consumer_count: count(declared.consumers),
        };
        self.queue_ok(connection, nowait, AMQPMethod::DeclareOk(ok))
    }

    /// `queue.bind`.
    pub(crate) fn queue_bind(&mut self, connection: &mut ConnectionState, m: Bind) -> Handled {
        let (queue, key) = self.queue_and_key(m.queue.as_str(), m.routing_key.as_str())?;
        let session = Arc::clone(&connection.shared.session);
        connection.wait_for(self, async move {
            let bound = session
                .bind(queue, m.exchange.as_str(), &key, m.arguments)
                .await;
            then(move |channel, connection| {
                bound?;
                channel.queue_ok(connection, m.nowait, AMQPMethod::BindOk(BindOk {}))
            })
        });
        Ok(())
    }

    /// `queue.unbind`.
    pub(crate) fn queue_unbind(&mut self, connection: &mut ConnectionState, m: Unbind) -> Handled {
        let (queue, key) = self.queue_and_key(m.queue.as_str(), m.routing_key.as_str())?;
        let session = Arc::clone(&connection.shared.session);
        connection.wait_for(self, async move {
            let unbound = session
                .unbind(queue, m.exchange.as_str(), &key, m.arguments)
                .await;
            then(move |channel, connection| {
                unbound?;
                channel.queue_ok(connection, false, AMQPMethod::UnbindOk(UnbindOk {}))
            })
        });
        Ok(())
    }

    /// The queue and key of a binding. If both are empty, the key is the name of the queue declared last
    /// (AMQP 0-9-1, queue.bind).
    fn queue_and_key(&self, queue: &str, key: &str) -> Result<(Destination, Name), Refusal> {
        let name = self.queue_name(queue)?;
        if name.starts_with(REPLY_TO_PREFIX) {
            let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
            return Err(Refusal::new(Code::AccessRefused, text));
        }
        let key = match queue.is_empty() && key.is_empty() {
            true => Arc::clone(&name),
            false => key.into(),
        };
        Ok((Destination::Queue(name), key))
    }

    /// `queue.purge`.
    pub(crate) fn queue_purge(&mut self, connection: &mut ConnectionState, m: Purge) -> Handled {
        let queue = self.queue_name(m.queue.as_str())?;
        let session = Arc::clone(&connection.shared.session);
        connection.wait_for(self, async move {
            let purged = session.purge_queue(&queue).await;
            then(move |channel, connection| {
                let ok = PurgeOk {
                    message_count: count(purged?),
                };
                channel.queue_ok(connection, m.nowait, AMQPMethod::PurgeOk(ok))
            })
        });
        Ok(())
    }

    /// `queue.delete`.
    pub(crate) fn queue_delete(&mut self, connection: &mut ConnectionState, m: Delete) -> Handled {
        let queue = self.queue_name(m.queue.as_str())?;
        let session = Arc::clone(&connection.shared.session);
        connection.wait_for(self, async move {
            let deleted = session.delete_queue(&queue, m.if_unused, m.if_empty).await;
            then(move |channel, connection| {
                let ok = DeleteOk {
                    message_count: count(deleted?),
                };
                channel.queue_ok(connection, m.nowait, AMQPMethod::DeleteOk(ok))
            })
        });
        Ok(())
    }

    /// The queue that a method names. An empty name means the queue declared last on this channel.
    pub(crate) fn queue_name(&self, name: &str) -> Result<Name, Refusal> {
        match (name.is_empty(), &self.last_queue) {
            (false, _) => Ok(name.into()),
            (true, Some(last)) => Ok(Arc::clone(last)),
            (true, None) => Err(Refusal::new(Code::NotFound, "no previously declared queue")),
        }
    }

    /// Whether a name is direct reply-to's pseudo queue or the address of a present requester.
    fn is_reply_address(&self, connection: &ConnectionState, name: &str) -> bool {
        name == REPLY_TO
            || name.starts_with(REPLY_TO_PREFIX)
                && connection.shared.front.requesters.contains(name)
    }

    fn queue_ok(
        &mut self,
        connection: &mut ConnectionState,
        nowait: bool,
        ok: AMQPMethod,
    ) -> Handled {
        if !nowait {
            connection.send(self.number, AMQPClass::Queue(ok));
        }
        Ok(())
    }
}

/// A number of messages or consumers as a field of AMQP.
pub(super) fn count(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
