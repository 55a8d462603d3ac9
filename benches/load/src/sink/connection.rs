//! A connection to the sink: confirms what it publishes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::{Bytes, BytesMut};
use leveret::wire::protocol::{basic, channel, confirm, connection, queue};
use leveret::wire::{
    AMQPClass, AMQPValue, FieldTable, Frame, FrameKind, Hot, decode_header, decode_method,
    encode_method, method, put_ack, split,
};

use super::deliveries::Deliveries;
use super::queue::{Queue, QueueState, Queues};
use crate::client::{CHANNEL, FRAME_MAX};
use crate::stamp::{STAMP_LEN, Stamp};

/// Size of reads.
const READ_BYTES: usize = 256 * 1024;

pub(super) struct Connection<'a> {
    queues: &'a Queues,
    socket: TcpStream,
    out: BytesMut,
    open: Arc<AtomicBool>,
    prefetch: u64,
    /// Published and confirmed messages of this connection.
    published: u64,
    confirmed: u64,
    /// The queue of the last message, by routing key, and its new messages.
    to: Option<(String, Arc<Queue>)>,
    fresh: QueueState,
    /// Missing bytes of the current body.
    missing: u64,
    /// The queue of the consumer.
    from: Option<Arc<Queue>>,
}

impl Connection<'_> {
    pub(super) fn serve(socket: TcpStream, queues: &Queues) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut connection = Connection {
            queues,
            socket,
            out: BytesMut::new(),
            open: Arc::new(AtomicBool::new(true)),
            prefetch: 0,
            published: 0,
            confirmed: 0,
            to: None,
            fresh: QueueState::default(),
            missing: 0,
            from: None,
        };
        let result = connection.run();
        connection.open.store(false, Ordering::Relaxed);
        result
    }

    fn run(&mut self) -> io::Result<()> {
        self.socket.read_exact(&mut [0; 8])?;
        let mut properties = FieldTable::default();
        properties.insert("product".into(), AMQPValue::LongString("sink".into()));
        properties.insert(
            "version".into(),
            AMQPValue::LongString(env!("CARGO_PKG_VERSION").into()),
        );
        self.answer(
            0,
            &AMQPClass::Connection(connection::AMQPMethod::Start(connection::Start {
                version_major: 0,
                version_minor: 9,
                server_properties: properties,
                mechanisms: "PLAIN".into(),
                locales: "en_US".into(),
            })),
        );
        let (mut read, mut buffer) = (vec![0; READ_BYTES], BytesMut::new());
        loop {
            self.socket.write_all(&self.out)?;
            self.out.clear();
            let count = self.socket.read(&mut read)?;
            if count == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(read.get(..count).unwrap_or_default());
            while let Some(frame) = split(&mut buffer, FRAME_MAX).map_err(io::Error::other)? {
                self.take(frame)?;
            }
            self.flush();
            if self.published > self.confirmed {
                put_ack(&mut self.out, CHANNEL, self.published, true);
                self.confirmed = self.published;
            }
        }
    }

    fn take(&mut self, frame: Frame) -> io::Result<()> {
        match frame.kind {
            FrameKind::Method => self.take_method(&frame.payload)?,
            FrameKind::Header => {
                let header = decode_header(frame.payload).map_err(io::Error::other)?;
                (self.fresh.size, self.missing) = (header.body_size, header.body_size);
            }
            FrameKind::Body => self.take_body(&frame.payload),
            FrameKind::Heartbeat => {}
        }
        Ok(())
    }

    fn take_method(&mut self, payload: &Bytes) -> io::Result<()> {
        match method::decode_hot(payload).map_err(io::Error::other)? {
            Hot::Publish(publish) => {
                let key = publish.routing_key;
                if self.to.as_ref().is_none_or(|(name, _)| name != key) {
                    self.flush();
                    self.to = Some((key.to_owned(), self.queues.get(key)));
                }
            }
            Hot::Ack { delivery_tag, .. } => {
                if let Some(queue) = &self.from {
                    queue.state.lock().acked = delivery_tag;
                    queue.changed.notify_all();
                }
            }
            Hot::Nack { .. } | Hot::Reject { .. } => {}
            Hot::Other(_) => {
                let method = decode_method(payload).map_err(io::Error::other)?;
                self.control(&method)?;
            }
        }
        Ok(())
    }

    fn take_body(&mut self, payload: &Bytes) {
        if self.missing == self.fresh.size
            && let Some(stamp) = payload.first_chunk::<STAMP_LEN>()
        {
            self.fresh.latest = Stamp::decode(stamp);
        }
        self.missing = self.missing.saturating_sub(payload.len() as u64);
        if self.missing == 0 {
            self.published += 1;
            self.fresh.published += 1;
        }
    }

    /// Adds the new messages to their queue.
    fn flush(&mut self) {
        if let (Some((_, queue)), 1..) = (&self.to, self.fresh.published) {
            let mut state = queue.state.lock();
            (state.latest, state.size) = (self.fresh.latest, self.fresh.size);
            state.published += self.fresh.published;
            self.fresh.published = 0;
            queue.changed.notify_all();
        }
    }

    fn control(&mut self, method: &AMQPClass) -> io::Result<()> {
        use basic::AMQPMethod as Basic;
        use connection::AMQPMethod as Conn;
        use queue::AMQPMethod as Q;
        let answer = match method {
            AMQPClass::Connection(Conn::StartOk(_)) => {
                AMQPClass::Connection(Conn::Tune(connection::Tune {
                    channel_max: 0,
                    frame_max: FRAME_MAX,
                    heartbeat: 0,
                }))
            }
            AMQPClass::Connection(Conn::TuneOk(_)) => return Ok(()),
            AMQPClass::Connection(Conn::Open(_)) => {
                AMQPClass::Connection(Conn::OpenOk(connection::OpenOk {}))
            }
            AMQPClass::Connection(Conn::Close(_)) => {
                AMQPClass::Connection(Conn::CloseOk(connection::CloseOk {}))
            }
            AMQPClass::Channel(channel::AMQPMethod::Open(_)) => {
                AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {}))
            }
            AMQPClass::Queue(Q::Declare(declare)) => {
                AMQPClass::Queue(Q::DeclareOk(queue::DeclareOk {
                    queue: declare.queue.clone(),
                    message_count: 0,
                    consumer_count: 0,
                }))
            }
            AMQPClass::Queue(Q::Delete(delete)) => {
                self.queues.remove(delete.queue.as_str());
                AMQPClass::Queue(Q::DeleteOk(queue::DeleteOk { message_count: 0 }))
            }
            AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => {
                AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))
            }
            AMQPClass::Basic(Basic::Qos(qos)) => {
                self.prefetch = u64::from(qos.prefetch_count);
                AMQPClass::Basic(Basic::QosOk(basic::QosOk {}))
            }
            AMQPClass::Basic(Basic::Consume(consume)) => return self.start_deliveries(consume),
            other => {
                return Err(io::Error::other(format!(
                    "the sink does not support {other:?}"
                )));
            }
        };
        let channel = if matches!(answer, AMQPClass::Connection(_)) {
            0
        } else {
            CHANNEL
        };
        self.answer(channel, &answer);
        Ok(())
    }

    fn start_deliveries(&mut self, consume: &basic::Consume) -> io::Result<()> {
        let queue = self.queues.get(consume.queue.as_str());
        self.from = Some(queue.clone());
        let deliveries = Deliveries {
            queue,
            socket: self.socket.try_clone()?,
            open: self.open.clone(),
            window: if consume.no_ack || self.prefetch == 0 {
                u64::MAX
            } else {
                self.prefetch
            },
            tag: consume.consumer_tag.to_string(),
            name: consume.queue.to_string(),
            lost: self.queues.lost,
        };
        thread::Builder::new().spawn(move || deliveries.run())?;
        Ok(())
    }

    fn answer(&mut self, channel: u16, method: &AMQPClass) {
        encode_method(&mut self.out, channel, method);
    }
}
