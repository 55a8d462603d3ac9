//! A broker that keeps nothing, inside this process: messages are safe for it when it has seen them, and what it
//! delivers it makes up. Against it the load generator shows what it can do itself. It knows only the default exchange,
//! one stream per queue and one queue per consumer. Its threads do not count as the load generator's.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::{Condvar, Mutex};

use super::link::CHANNEL;
use super::scan::FRAME_MAX;
use super::stamp::{STAMP_LEN, Stamp};
use leveret::wire::protocol::{basic, channel, confirm, connection, queue};
use leveret::wire::{
    AMQPClass, AMQPValue, FieldTable, Frame, FrameKind, Hot, decode_header, decode_method,
    encode_method, method, put_ack, put_body_frame, put_content_header, put_deliver, split,
};

/// Deliveries that are made up at once.
const RUN: u64 = 250;
/// How often a thread without work looks whether its connection is still there.
const LOOK: Duration = Duration::from_millis(100);
/// Size of reads.
const READ_BYTES: usize = 256 * 1024;
/// Where the delivery tag is in a delivery, after the consumer tag: frame head, method ids, length of the tag.
const DELIVERY_TAG_AT: usize = 7 + 4 + 1;

/// A running sink. It ends with the process.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) port: u16,
}

impl Sink {
    /// Starts listening. For tests of the load generator's own checks, the message with the sequence number `lost` is
    /// not delivered.
    pub(super) fn start(lost: Option<u64>) -> io::Result<Sink> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let queues = Arc::new(Queues {
            lost,
            ..Queues::default()
        });
        thread::Builder::new()
            .name("sink".to_owned())
            .spawn(move || {
                for socket in listener.incoming().flatten() {
                    let queues = queues.clone();
                    // A connection that cannot be served is closed, which its client will tell.
                    drop(thread::Builder::new().spawn(move || Connection::serve(socket, &queues)));
                }
            })?;
        Ok(Sink { port })
    }
}

#[derive(Debug, Default)]
struct Queues {
    by_name: Mutex<HashMap<String, Arc<Queue>>>,
    lost: Option<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

/// How far a queue is; it holds no message.
#[derive(Clone, Copy, Debug, Default)]
struct QueueState {
    /// The stamp and size of the latest message.
    latest: Stamp,
    size: u64,
    published: u64,
    delivered: u64,
    acked: u64,
}

impl Queues {
    fn get(&self, name: &str) -> Arc<Queue> {
        self.by_name
            .lock()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }
}

struct Connection<'a> {
    queues: &'a Queues,
    socket: TcpStream,
    out: BytesMut,
    open: Arc<AtomicBool>,
    prefetch: u64,
    /// Messages published on this connection, and how many of them are confirmed.
    published: u64,
    confirmed: u64,
    /// Where messages go, and what has come since the queue was told.
    to: Option<(String, Arc<Queue>)>,
    fresh: QueueState,
    /// A message whose body is still to come.
    missing: u64,
    /// The queue that is consumed.
    from: Option<Arc<Queue>>,
}

impl Connection<'_> {
    fn serve(socket: TcpStream, queues: &Queues) -> io::Result<()> {
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
            self.tell_queue();
            if self.published > self.confirmed {
                put_ack(&mut self.out, CHANNEL, self.published, true);
                self.confirmed = self.published;
            }
        }
    }

    fn take(&mut self, frame: Frame) -> io::Result<()> {
        match frame.kind {
            FrameKind::Method => {
                match method::decode_hot(&frame.payload).map_err(io::Error::other)? {
                    Hot::Publish(publish) => {
                        if self
                            .to
                            .as_ref()
                            .is_none_or(|(name, _)| name != publish.routing_key)
                        {
                            self.tell_queue();
                            let name = publish.routing_key.to_owned();
                            self.to = Some((name, self.queues.get(publish.routing_key)));
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
                        let method = decode_method(&frame.payload).map_err(io::Error::other)?;
                        self.control(&method)?;
                    }
                }
            }
            FrameKind::Header => {
                let header = decode_header(frame.payload).map_err(io::Error::other)?;
                (self.fresh.size, self.missing) = (header.body_size, header.body_size);
            }
            FrameKind::Body => self.take_body(&frame.payload),
            FrameKind::Heartbeat => {}
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

    /// Lets the queue have what has come for it.
    fn tell_queue(&mut self) {
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
                self.queues.by_name.lock().remove(delete.queue.as_str());
                AMQPClass::Queue(Q::DeleteOk(queue::DeleteOk { message_count: 0 }))
            }
            AMQPClass::Confirm(confirm::AMQPMethod::Select(_)) => {
                AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}))
            }
            AMQPClass::Basic(Basic::Qos(qos)) => {
                self.prefetch = u64::from(qos.prefetch_count);
                AMQPClass::Basic(Basic::QosOk(basic::QosOk {}))
            }
            AMQPClass::Basic(Basic::Consume(consume)) => return self.deliver(consume),
            other => {
                return Err(io::Error::other(format!(
                    "{other:?} means nothing to the sink"
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

    /// Starts a thread that makes up deliveries.
    fn deliver(&mut self, consume: &basic::Consume) -> io::Result<()> {
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

/// Makes up the deliveries of a queue.
struct Deliveries {
    queue: Arc<Queue>,
    socket: TcpStream,
    open: Arc<AtomicBool>,
    /// Deliveries that may be unacknowledged.
    window: u64,
    tag: String,
    name: String,
    lost: Option<u64>,
}

impl Deliveries {
    fn run(mut self) -> io::Result<()> {
        let mut block = BytesMut::new();
        while let Some((first, count, state)) = self.next_run() {
            if block.is_empty() {
                block = self.block(state.size);
            }
            let one = block.len() / usize::try_from(RUN).unwrap_or(1);
            let count = usize::try_from(count).unwrap_or(0);
            let stamp_at = one - 1 - usize::try_from(state.size).unwrap_or(0);
            let tag_at = DELIVERY_TAG_AT + self.tag.len();
            for (sequence, message) in (first..).zip(block.chunks_exact_mut(one).take(count)) {
                let skipped = u64::from(self.lost.is_some_and(|lost| lost <= sequence));
                let stamp = Stamp {
                    sequence: sequence + skipped,
                    ..state.latest
                };
                for (at, bytes) in [
                    (tag_at, &(sequence + 1).to_be_bytes()[..]),
                    (stamp_at, &stamp.encode()[..]),
                ] {
                    if let Some(place) = message.get_mut(at..at + bytes.len()) {
                        place.copy_from_slice(bytes);
                    }
                }
            }
            self.socket
                .write_all(block.get(..one * count).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Waits until something may be delivered: the number of the first message, how many, and what they look like.
    /// `None`: the connection has gone.
    fn next_run(&self) -> Option<(u64, u64, QueueState)> {
        let mut state = self.queue.state.lock();
        loop {
            let there = state.published
                - u64::from(self.lost.is_some()).min(state.published)
                - state.delivered;
            let room = self
                .window
                .saturating_sub(state.delivered - state.acked.min(state.delivered));
            let count = RUN.min(there).min(room);
            if !self.open.load(Ordering::Relaxed) {
                return None;
            }
            if count > 0 {
                let first = state.delivered;
                state.delivered += count;
                return Some((first, count, *state));
            }
            self.queue.changed.wait_for(&mut state, LOOK);
        }
    }

    fn block(&self, size: u64) -> BytesMut {
        let mut block = BytesMut::new();
        let body = vec![b'x'; usize::try_from(size).unwrap_or(0)];
        for _ in 0..RUN {
            put_deliver(&mut block, CHANNEL, &self.tag, 0, false, "", &self.name);
            put_content_header(&mut block, CHANNEL, &[0, 0], size);
            put_body_frame(&mut block, CHANNEL, &body);
        }
        block
    }
}
