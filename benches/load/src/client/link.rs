//! One connection with one channel: handshake, calls and replies. Knows nothing of loads.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use leveret::wire::protocol::{basic, channel, confirm, connection, exchange, queue};
use leveret::wire::{AMQPClass, AMQPValue, FieldTable, ShortString, encode_method, short_string};

use super::incoming::{Event, FRAME_MAX, Incoming};
use super::target::Target;
use super::tls_relay;
use crate::error::BenchError;

/// The one channel of each connection.
pub(crate) const CHANNEL: u16 = 1;
/// How long a reply may take. A broker that recovers a large backlog answers slowly.
const REPLY_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a read returns without data, so that its thread sees the end of the run.
const POLL: Duration = Duration::from_millis(100);

pub(crate) struct QueueToDeclare<'a> {
    pub(crate) name: &'a str,
    pub(crate) durable: bool,
    pub(crate) arguments: &'a FieldTable,
}

pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    pub(crate) incoming: Incoming,
    /// Negotiated size of a whole frame, in bytes.
    pub(crate) frame_max: u32,
    out: BytesMut,
    server: FieldTable,
}

impl Link {
    /// Connects, logs in and opens the channel.
    pub(crate) fn open(target: &Target) -> Result<Link, BenchError> {
        let connected = match target.tls {
            true => tls_relay::connect(&target.host, target.port),
            false => TcpStream::connect((target.host.as_str(), target.port)),
        };
        let stream = connected.map_err(BenchError::io("connecting"))?;
        stream
            .set_nodelay(true)
            .map_err(BenchError::io("connecting"))?;
        let mut link = Link {
            stream,
            incoming: Incoming::new(),
            frame_max: FRAME_MAX,
            out: BytesMut::new(),
            server: FieldTable::default(),
        };
        link.set_read_timeout(REPLY_TIMEOUT)?;
        link.log_in(target)?;
        link.call(AMQPClass::Channel(channel::AMQPMethod::Open(
            channel::Open {},
        )))?;
        Ok(link)
    }

    fn log_in(&mut self, target: &Target) -> Result<(), BenchError> {
        use connection::AMQPMethod as Method;
        self.stream
            .write_all(b"AMQP\x00\x00\x09\x01")
            .map_err(BenchError::io("writing to the broker"))?;
        match self.reply()? {
            AMQPClass::Connection(Method::Start(start)) => self.server = start.server_properties,
            other => return Err(surprise(&other)),
        }
        let response = format!("\0{}\0{}", target.user, target.password);
        self.send(
            0,
            &AMQPClass::Connection(Method::StartOk(connection::StartOk {
                client_properties: client_properties(),
                mechanism: ShortString::from("PLAIN"),
                response: response.as_str().into(),
                locale: ShortString::from("en_US"),
            })),
        )?;
        let tune = match self.reply()? {
            AMQPClass::Connection(Method::Tune(tune)) => tune,
            other => return Err(surprise(&other)),
        };
        if tune.frame_max != 0 {
            self.frame_max = FRAME_MAX.min(tune.frame_max);
        }
        // No heartbeats: they would interrupt a thread that measures.
        self.send(
            0,
            &AMQPClass::Connection(Method::TuneOk(connection::TuneOk {
                channel_max: tune.channel_max,
                frame_max: self.frame_max,
                heartbeat: 0,
            })),
        )?;
        let vhost = short_string(&target.vhost);
        self.send(
            0,
            &AMQPClass::Connection(Method::Open(connection::Open {
                virtual_host: vhost,
            })),
        )?;
        match self.reply()? {
            AMQPClass::Connection(Method::OpenOk(_)) => Ok(()),
            other => Err(surprise(&other)),
        }
    }

    /// Product and version of the broker, for example "RabbitMQ 4.0.5".
    pub(crate) fn server_name(&self) -> String {
        let text = |key: &str| match self.server.inner().get(key) {
            Some(AMQPValue::LongString(text)) => {
                String::from_utf8_lossy(text.as_bytes()).into_owned()
            }
            _ => "?".to_owned(),
        };
        format!("{} {}", text("product"), text("version"))
    }

    /// Sends a method on the channel and waits for its reply.
    pub(crate) fn call(&mut self, method: AMQPClass) -> Result<AMQPClass, BenchError> {
        self.send(CHANNEL, &method)?;
        self.reply()
    }

    pub(crate) fn declare_queue(&mut self, queue: &QueueToDeclare<'_>) -> Result<(), BenchError> {
        let declare = queue::Declare {
            queue: short_string(queue.name),
            passive: false,
            durable: queue.durable,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: queue.arguments.clone(),
        };
        self.call(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))?;
        Ok(())
    }

    /// Deletes a queue if it exists.
    pub(crate) fn delete_queue(&mut self, name: &str) -> Result<(), BenchError> {
        let delete = queue::Delete {
            queue: short_string(name),
            if_unused: false,
            if_empty: false,
            nowait: false,
        };
        self.call(AMQPClass::Queue(queue::AMQPMethod::Delete(delete)))?;
        Ok(())
    }

    /// Declares a durable exchange.
    pub(crate) fn declare_exchange(&mut self, name: &str, kind: &str) -> Result<(), BenchError> {
        let declare = exchange::Declare {
            exchange: short_string(name),
            kind: short_string(kind),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.call(AMQPClass::Exchange(exchange::AMQPMethod::Declare(declare)))?;
        Ok(())
    }

    /// Deletes an exchange if it exists.
    pub(crate) fn delete_exchange(&mut self, name: &str) -> Result<(), BenchError> {
        let delete = exchange::Delete {
            exchange: short_string(name),
            if_unused: false,
            nowait: false,
        };
        self.call(AMQPClass::Exchange(exchange::AMQPMethod::Delete(delete)))?;
        Ok(())
    }

    pub(crate) fn bind(
        &mut self,
        queue: &str,
        exchange: &str,
        key: &str,
    ) -> Result<(), BenchError> {
        let bind = queue::Bind {
            queue: short_string(queue),
            exchange: short_string(exchange),
            routing_key: short_string(key),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.call(AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))?;
        Ok(())
    }

    pub(crate) fn select_confirms(&mut self) -> Result<(), BenchError> {
        let select = confirm::Select { nowait: false };
        self.call(AMQPClass::Confirm(confirm::AMQPMethod::Select(select)))?;
        Ok(())
    }

    /// Limits the unacknowledged messages of each consumer; 0 is no limit.
    pub(crate) fn prefetch(&mut self, prefetch_count: u16) -> Result<(), BenchError> {
        let qos = basic::Qos {
            prefetch_count,
            global: false,
        };
        self.call(AMQPClass::Basic(basic::AMQPMethod::Qos(qos)))?;
        Ok(())
    }

    /// Starts a consumer without waiting for a reply: deliveries may come before it. Deliveries name their
    /// queue by the consumer tag, which is a number.
    pub(crate) fn start_consuming(
        &mut self,
        queue: &str,
        tag: usize,
        no_ack: bool,
        arguments: &FieldTable,
    ) -> Result<(), BenchError> {
        let consume = basic::Consume {
            queue: short_string(queue),
            consumer_tag: short_string(&tag.to_string()),
            no_local: false,
            no_ack,
            exclusive: false,
            nowait: true,
            arguments: arguments.clone(),
        };
        self.send(
            CHANNEL,
            &AMQPClass::Basic(basic::AMQPMethod::Consume(consume)),
        )
    }

    /// Makes reads return every 100 ms, for loops that watch the phase of a run.
    pub(crate) fn poll_reads(&mut self) -> Result<(), BenchError> {
        self.set_read_timeout(POLL)
    }

    /// Closes the connection. After the reply the broker has processed everything that was sent before.
    pub(crate) fn close(mut self) -> Result<(), BenchError> {
        self.set_read_timeout(REPLY_TIMEOUT)?;
        let close = connection::Close {
            reply_code: 200,
            reply_text: ShortString::from("done"),
            class_id: 0,
            method_id: 0,
        };
        self.send(
            0,
            &AMQPClass::Connection(connection::AMQPMethod::Close(close)),
        )?;
        loop {
            if let Some(event) = self.incoming.next()? {
                if let Event::Method(AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))) =
                    event
                {
                    return Ok(());
                }
            } else if !self.incoming.fill(&mut self.stream)? {
                return Err(no_reply());
            }
        }
    }

    /// Keeps only the socket, to hold many connections in little memory.
    pub(crate) fn into_idle(self) -> TcpStream {
        self.stream
    }

    fn send(&mut self, channel: u16, method: &AMQPClass) -> Result<(), BenchError> {
        self.out.clear();
        encode_method(&mut self.out, channel, method);
        self.stream
            .write_all(&self.out)
            .map_err(BenchError::io("writing to the broker"))
    }

    fn reply(&mut self) -> Result<AMQPClass, BenchError> {
        loop {
            match self.incoming.next()? {
                Some(Event::Method(AMQPClass::Connection(
                    connection::AMQPMethod::Blocked(_) | connection::AMQPMethod::Unblocked(_),
                ))) => {}
                Some(Event::Method(method)) => {
                    refuse_close(&method)?;
                    return Ok(method);
                }
                Some(event) => return Err(BenchError::Unexpected(format!("{event:?}"))),
                None if self.incoming.fill(&mut self.stream)? => {}
                None => return Err(no_reply()),
            }
        }
    }

    fn set_read_timeout(&mut self, timeout: Duration) -> Result<(), BenchError> {
        self.stream
            .set_read_timeout(Some(timeout))
            .map_err(BenchError::io("setting a timeout"))
    }
}

/// Connects to ask for the product and version of the broker.
pub(crate) fn server_name(target: &Target) -> Result<String, BenchError> {
    let link = Link::open(target)?;
    let name = link.server_name();
    link.close()?;
    Ok(name)
}

/// Checks a method that may come at any time between messages. A close or cancel is an error, others have no
/// effect.
pub(crate) fn refuse_close(method: &AMQPClass) -> Result<(), BenchError> {
    let (code, text) = match method {
        AMQPClass::Connection(connection::AMQPMethod::Close(close)) => {
            (close.reply_code, &close.reply_text)
        }
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            (close.reply_code, &close.reply_text)
        }
        AMQPClass::Basic(basic::AMQPMethod::Cancel(_)) => {
            return Err(BenchError::unexpected("a consumer was cancelled"));
        }
        _ => return Ok(()),
    };
    Err(BenchError::Closed {
        code,
        text: text.to_string(),
    })
}

/// RabbitMQ confirms only to clients with the capability `basic.nack`.
fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "publisher_confirms",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "authentication_failure_close",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert(
        "product".into(),
        AMQPValue::LongString("leveret-bench".into()),
    );
    properties.insert(
        "version".into(),
        AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()),
    );
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

fn surprise(method: &AMQPClass) -> BenchError {
    BenchError::Unexpected(format!("{method:?}"))
}

fn no_reply() -> BenchError {
    BenchError::Stalled {
        seconds: REPLY_TIMEOUT.as_secs(),
        what: "a reply".to_owned(),
    }
}
