//! A small AMQP client on a blocking socket: just enough to publish with confirms and to consume. Every call returns an
//! error when the broker dies.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// The largest payload with the broker's default frame-max of 128 KiB.
const FRAME_PAYLOAD_MAX: usize = 128 * 1024 - 8;
const BASIC: u16 = 60;

/// Class and method id.
type MethodId = (u16, u16);

const CONNECTION_START: MethodId = (10, 10);
const CONNECTION_START_OK: MethodId = (10, 11);
const CONNECTION_TUNE: MethodId = (10, 30);
const CONNECTION_TUNE_OK: MethodId = (10, 31);
const CONNECTION_OPEN: MethodId = (10, 40);
const CONNECTION_OPEN_OK: MethodId = (10, 41);
const CONNECTION_BLOCKED: MethodId = (10, 60);
const CONNECTION_UNBLOCKED: MethodId = (10, 61);
const CHANNEL_OPEN: MethodId = (20, 10);
const CHANNEL_OPEN_OK: MethodId = (20, 11);
const QUEUE_DECLARE: MethodId = (50, 10);
const QUEUE_DECLARE_OK: MethodId = (50, 11);
const BASIC_QOS: MethodId = (BASIC, 10);
const BASIC_QOS_OK: MethodId = (BASIC, 11);
const BASIC_CONSUME: MethodId = (BASIC, 20);
const BASIC_CONSUME_OK: MethodId = (BASIC, 21);
const BASIC_CANCEL: MethodId = (BASIC, 30);
const BASIC_CANCEL_OK: MethodId = (BASIC, 31);
const BASIC_PUBLISH: MethodId = (BASIC, 40);
const BASIC_DELIVER: MethodId = (BASIC, 60);
const BASIC_ACK: MethodId = (BASIC, 80);
const CONFIRM_SELECT: MethodId = (85, 10);
const CONFIRM_SELECT_OK: MethodId = (85, 11);

/// The prefetch of a stream's consumer, which must have one.
const STREAM_PREFETCH: u16 = 500;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A connection with channel 1 open.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

/// A method that the broker sent.
struct Method {
    id: MethodId,
    arguments: Vec<u8>,
}

/// Methods that the broker sends by itself.
pub(crate) enum Event {
    /// `basic.ack`.
    Confirm { tag: u64, multiple: bool },
    /// `basic.deliver`; a stream's messages have an offset.
    Delivery {
        tag: u64,
        offset: Option<u64>,
        body: Vec<u8>,
    },
    /// `connection.blocked`.
    Blocked,
    /// `connection.unblocked`.
    Unblocked,
}

impl Client {
    /// Logs in and opens a channel.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Client> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut client = Client {
            reader: BufReader::new(writer.try_clone()?),
            writer,
        };
        client.writer.write_all(b"AMQP\x00\x00\x09\x01")?;
        client.expect(CONNECTION_START)?;
        let mut blocked = Vec::new();
        short(&mut blocked, "connection.blocked");
        blocked.extend(b"t\x01");
        let mut properties = Vec::new();
        short(&mut properties, "capabilities");
        properties.push(b'F');
        long(&mut properties, &blocked);
        let mut start_ok = Vec::new();
        long(&mut start_ok, &properties);
        short(&mut start_ok, "PLAIN");
        long(&mut start_ok, b"\0guest\0guest");
        short(&mut start_ok, "en_US");
        client.send(0, CONNECTION_START_OK, &start_ok)?;
        let mut tune = client.expect(CONNECTION_TUNE)?;
        tune.truncate(6);
        tune.extend([0, 0]); // no heartbeat
        client.send(0, CONNECTION_TUNE_OK, &tune)?;
        client.send(0, CONNECTION_OPEN, b"\x01/\x00\x00")?;
        client.expect(CONNECTION_OPEN_OK)?;
        client.send(1, CHANNEL_OPEN, b"\x00")?;
        client.expect(CHANNEL_OPEN_OK)?;
        Ok(client)
    }

    /// Sets the longest wait for a frame of the broker.
    pub(crate) fn set_timeout(&self, time: Duration) -> io::Result<()> {
        self.writer.set_read_timeout(Some(time))
    }

    /// Declares a durable queue; returns its number of ready messages.
    pub(crate) fn declare(&mut self, queue: &str) -> io::Result<u32> {
        self.declare_with(queue, &[])
    }

    /// Declares a stream; returns its number of messages.
    pub(crate) fn declare_stream(&mut self, queue: &str) -> io::Result<u32> {
        self.declare_with(queue, &text_field("x-queue-type", "stream"))
    }

    /// Declares a durable queue with a history of an hour; returns its number of ready messages.
    pub(crate) fn declare_rewindable(&mut self, queue: &str) -> io::Result<u32> {
        let mut table = Vec::new();
        short(&mut table, "x-rewind-seconds");
        table.push(b'I');
        table.extend(3600_i32.to_be_bytes());
        self.declare_with(queue, &table)
    }

    fn declare_with(&mut self, queue: &str, table: &[u8]) -> io::Result<u32> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, queue);
        arguments.push(2); // durable
        long(&mut arguments, table);
        self.send(1, QUEUE_DECLARE, &arguments)?;
        let answer = self.expect(QUEUE_DECLARE_OK)?;
        let mut rest = &answer[..];
        let [name_len] = take(&mut rest)?;
        let mut rest = rest.get(usize::from(name_len)..).unwrap_or_default();
        Ok(u32::from_be_bytes(take(&mut rest)?))
    }

    /// Puts the channel into confirm mode.
    pub(crate) fn confirms(&mut self) -> io::Result<()> {
        self.send(1, CONFIRM_SELECT, &[0])?;
        self.expect(CONFIRM_SELECT_OK).map(drop)
    }

    /// Publishes a persistent message to a queue.
    pub(crate) fn publish(&mut self, queue: &str, body: &[u8]) -> io::Result<()> {
        self.publish_to("", queue, body)
    }

    /// Publishes a persistent message to an exchange.
    pub(crate) fn publish_to(&mut self, exchange: &str, key: &str, body: &[u8]) -> io::Result<()> {
        let mut out = Vec::with_capacity(body.len() + 128);
        let mut arguments = vec![0, 0];
        short(&mut arguments, exchange);
        short(&mut arguments, key);
        arguments.push(0);
        method(&mut out, 1, BASIC_PUBLISH, &arguments);
        let mut header = BASIC.to_be_bytes().to_vec();
        header.extend([0, 0]);
        header.extend((body.len() as u64).to_be_bytes());
        header.extend([0x10, 0, 2]); // delivery-mode 2
        frame(&mut out, HEADER, 1, &header);
        for part in body.chunks(FRAME_PAYLOAD_MAX) {
            frame(&mut out, BODY, 1, part);
        }
        self.writer.write_all(&out)
    }

    /// Consumes from a queue.
    pub(crate) fn consume(&mut self, queue: &str, no_ack: bool) -> io::Result<()> {
        self.consume_with(queue, no_ack, &[])
    }

    /// Consumes a stream from its start.
    pub(crate) fn consume_stream(&mut self, queue: &str) -> io::Result<()> {
        let [high, low] = STREAM_PREFETCH.to_be_bytes();
        self.send(1, BASIC_QOS, &[0, 0, 0, 0, high, low, 0])?;
        self.expect(BASIC_QOS_OK)?;
        self.consume_with(queue, false, &text_field("x-stream-offset", "first"))
    }

    fn consume_with(&mut self, queue: &str, no_ack: bool, table: &[u8]) -> io::Result<()> {
        let mut arguments = vec![0, 0];
        short(&mut arguments, queue);
        short(&mut arguments, "c");
        arguments.push(if no_ack { 2 } else { 0 });
        long(&mut arguments, table);
        self.send(1, BASIC_CONSUME, &arguments)?;
        self.expect(BASIC_CONSUME_OK).map(drop)
    }

    /// Cancels the consumer and drops deliveries that are on their way.
    pub(crate) fn cancel(&mut self) -> io::Result<()> {
        self.send(1, BASIC_CANCEL, b"\x01c\x00")?;
        loop {
            let method = self.method()?;
            match method.id {
                BASIC_CANCEL_OK => return Ok(()),
                BASIC_DELIVER => drop(self.content()?),
                id => return Err(unexpected(id, &method.arguments)),
            }
        }
    }

    /// Acknowledges one delivery.
    pub(crate) fn ack(&mut self, tag: u64) -> io::Result<()> {
        let mut arguments = tag.to_be_bytes().to_vec();
        arguments.push(0);
        self.send(1, BASIC_ACK, &arguments)
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> io::Result<Event> {
        let method = self.method()?;
        let mut rest = &method.arguments[..];
        match method.id {
            BASIC_ACK => Ok(Event::Confirm {
                tag: u64::from_be_bytes(take(&mut rest)?),
                multiple: take::<1>(&mut rest)? != [0],
            }),
            BASIC_DELIVER => {
                let [tag_len] = take(&mut rest)?;
                let mut rest = rest.get(usize::from(tag_len)..).unwrap_or_default();
                let tag = u64::from_be_bytes(take(&mut rest)?);
                let (offset, body) = self.content()?;
                Ok(Event::Delivery { tag, offset, body })
            }
            CONNECTION_BLOCKED => Ok(Event::Blocked),
            CONNECTION_UNBLOCKED => Ok(Event::Unblocked),
            id => Err(unexpected(id, &method.arguments)),
        }
    }

    fn content(&mut self) -> io::Result<(Option<u64>, Vec<u8>)> {
        let (kind, header) = self.frame()?;
        let field = b"\x0fx-stream-offsetl";
        let offset = header
            .windows(field.len() + 8)
            .find(|window| window.starts_with(field))
            .and_then(|window| window.last_chunk())
            .map(|offset| u64::from_be_bytes(*offset));
        let mut rest = header.get(4..).unwrap_or_default();
        let size = u64::from_be_bytes(take(&mut rest)?);
        let mut body = Vec::new();
        while kind == HEADER && (body.len() as u64) < size {
            body.extend(self.frame()?.1);
        }
        Ok((offset, body))
    }

    fn expect(&mut self, id: MethodId) -> io::Result<Vec<u8>> {
        let method = self.method()?;
        if method.id != id {
            return Err(unexpected(method.id, &method.arguments));
        }
        Ok(method.arguments)
    }

    fn method(&mut self) -> io::Result<Method> {
        let (kind, payload) = self.frame()?;
        let mut rest = &payload[..];
        let class = u16::from_be_bytes(take(&mut rest)?);
        let id = (class, u16::from_be_bytes(take(&mut rest)?));
        if kind != METHOD {
            return Err(unexpected(id, &payload));
        }
        Ok(Method {
            id,
            arguments: rest.to_vec(),
        })
    }

    fn frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 7];
        self.reader.read_exact(&mut head)?;
        let [kind, _, _, size @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes(size) as usize + 1];
        self.reader.read_exact(&mut payload)?;
        assert_eq!(payload.pop(), Some(FRAME_END));
        Ok((kind, payload))
    }

    fn send(&mut self, channel: u16, id: MethodId, arguments: &[u8]) -> io::Result<()> {
        let mut out = Vec::new();
        method(&mut out, channel, id, arguments);
        self.writer.write_all(&out)
    }
}

fn unexpected((class, id): MethodId, arguments: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(arguments);
    io::Error::new(
        ErrorKind::InvalidData,
        format!("unexpected method {class}.{id}: {text}"),
    )
}

fn method(out: &mut Vec<u8>, channel: u16, (class, id): MethodId, arguments: &[u8]) {
    let payload = [&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat();
    frame(out, METHOD, channel, &payload);
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend(len_field(payload.len()));
    out.extend(payload);
    out.push(FRAME_END);
}

fn short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("a short string"));
    out.extend(text.as_bytes());
}

fn long(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(len_field(text.len()));
    out.extend(text);
}

fn text_field(name: &str, value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    short(&mut out, name);
    out.push(b'S');
    long(&mut out, value.as_bytes());
    out
}

fn len_field(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a short text").to_be_bytes()
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (bytes, left) = rest
        .split_first_chunk::<N>()
        .ok_or(ErrorKind::UnexpectedEof)?;
    *rest = left;
    Ok(*bytes)
}
