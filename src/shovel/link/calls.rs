//! Methods with a reply: declarations, and what prepares a channel for messages.

use std::time::Duration;

use tokio::time::timeout;

use super::CHANNEL;
use super::error::LinkError;
use super::frames::{Link, closed};
use super::handshake::unexpected;
use crate::wire::method_ids::channel as ids;
use crate::wire::protocol::{basic, channel, confirm, queue};
use crate::wire::{AMQPClass, FieldTable, FrameKind, decode_method, short_string};

/// How long a reply may take. A broker that recovers a large queue answers slowly.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// The channel for declarations that may fail, since a failure closes it.
const TRIAL_CHANNEL: u16 = 2;
const NOT_FOUND: u16 = 404;

pub struct QueueToDeclare<'a> {
    pub name: &'a str,
    pub durable: bool,
    pub exclusive: bool,
    pub arguments: &'a FieldTable,
}

pub struct Consume<'a> {
    pub queue: &'a str,
    pub consumer_tag: &'a str,
    pub no_ack: bool,
    pub arguments: &'a FieldTable,
}

impl Link {
    /// Sends a method and waits for its reply. Contents that come meanwhile are an error, so calls end before
    /// [`Link::consume`].
    pub async fn call(&mut self, channel: u16, method: &AMQPClass) -> Result<AMQPClass, LinkError> {
        self.send(channel, method);
        let reply = timeout(REPLY_TIMEOUT, self.reply(channel)).await;
        reply.unwrap_or(Err(LinkError::Timeout("a reply")))
    }

    async fn reply(&mut self, channel: u16) -> Result<AMQPClass, LinkError> {
        loop {
            let Some(frame) = self.next_frame()? else {
                self.moved().await?;
                continue;
            };
            if frame.kind != FrameKind::Method || frame.channel != channel {
                return Err(LinkError::Protocol("an unexpected frame".to_owned()));
            }
            match decode_method(&frame.payload)? {
                AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                    let close_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
                    self.send(channel, &AMQPClass::Channel(close_ok));
                    return Err(closed(close.reply_code, close.reply_text.as_str()));
                }
                reply => return Ok(reply),
            }
        }
    }

    pub(super) async fn open_channel(&mut self, channel: u16) -> Result<(), LinkError> {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        match self.call(channel, &open).await? {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Declares a queue, and returns its name and number of ready messages.
    pub async fn declare_queue(
        &mut self,
        queue: &QueueToDeclare<'_>,
    ) -> Result<(String, u32), LinkError> {
        let declare = queue::Declare {
            queue: short_string(queue.name),
            passive: false,
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: false,
            nowait: false,
            arguments: queue.arguments.clone(),
        };
        self.declared(CHANNEL, declare).await
    }

    /// The number of ready messages of a queue, or `None` if there is no such queue. The refusal does not close the
    /// channel for messages.
    pub async fn find_queue(&mut self, name: &str) -> Result<Option<u32>, LinkError> {
        self.open_channel(TRIAL_CHANNEL).await?;
        let passive = queue::Declare {
            queue: short_string(name),
            passive: true,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        let found = match self.declared(TRIAL_CHANNEL, passive).await {
            Ok((_, ready)) => ready,
            Err(error) if error.reply_code() == NOT_FOUND => return Ok(None),
            Err(error) => return Err(error),
        };
        let close = AMQPClass::Channel(channel::AMQPMethod::Close(channel::Close {
            reply_code: 200,
            reply_text: "Goodbye".into(),
            class_id: ids::CLASS,
            method_id: ids::CLOSE,
        }));
        match self.call(TRIAL_CHANNEL, &close).await? {
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => Ok(Some(found)),
            other => Err(unexpected(&other)),
        }
    }

    async fn declared(
        &mut self,
        channel: u16,
        declare: queue::Declare,
    ) -> Result<(String, u32), LinkError> {
        let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
        match self.call(channel, &declare).await? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => {
                Ok((ok.queue.to_string(), ok.message_count))
            }
            other => Err(unexpected(&other)),
        }
    }

    pub async fn bind(
        &mut self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), LinkError> {
        let bind = AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
            queue: short_string(queue),
            exchange: short_string(exchange),
            routing_key: short_string(routing_key),
            nowait: false,
            arguments: FieldTable::default(),
        }));
        match self.call(CHANNEL, &bind).await? {
            AMQPClass::Queue(queue::AMQPMethod::BindOk(_)) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for confirms of all publishes from now on.
    pub async fn select_confirms(&mut self) -> Result<(), LinkError> {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        match self.call(CHANNEL, &AMQPClass::Confirm(select)).await? {
            AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Limits the unacked messages; 0 is no limit.
    pub async fn limit_unacked(&mut self, prefetch_count: u16) -> Result<(), LinkError> {
        let qos = basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count,
            global: false,
        });
        match self.call(CHANNEL, &AMQPClass::Basic(qos)).await? {
            AMQPClass::Basic(basic::AMQPMethod::QosOk(_)) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts a consumer. Deliveries follow its reply.
    pub async fn consume(&mut self, consume: &Consume<'_>) -> Result<(), LinkError> {
        let consume = basic::AMQPMethod::Consume(basic::Consume {
            queue: short_string(consume.queue),
            consumer_tag: short_string(consume.consumer_tag),
            no_local: false,
            no_ack: consume.no_ack,
            exclusive: false,
            nowait: false,
            arguments: consume.arguments.clone(),
        });
        match self.call(CHANNEL, &AMQPClass::Basic(consume)).await? {
            AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_)) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}
