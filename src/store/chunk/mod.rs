//! The versioned encoding of chunks: the messages that one log got in one group commit. Pure.
//!
//! ```text
//! chunk   = version u8, flags u8 (0), count u32, first enqueue time u64 (ms since the epoch), message * count
//! message = flags u8, time since the previous message, [expiration], [delay], [priority u8], [failures],
//!           [exchange, routing key], properties length, body length, properties, body
//! ```
//! Fixed integers are little-endian; times and lengths are LEB128 variable-length integers, so the
//! usual small message costs 6 bytes beyond its content. Exchange and routing key are left out when they are those
//! of the message before. A body is copied once, here, and decoded as a slice of the chunk.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{Body, Message, Name, Origin};

/// A chunk is closed when it has this many bytes. A larger message is a chunk of its own.
pub const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// A chunk is closed when it has this many messages; readers rely on it to find the chunk of an offset.
pub const CHUNK_MESSAGES_MAX: u32 = 4096;

const VERSION: u8 = 1;
const HEADER_LEN: usize = 14;
const COUNT_AT: std::ops::Range<usize> = 2..6;

const PERSISTENT: u8 = 1;
const EXPIRES: u8 = 1 << 1;
const PRIORITY: u8 = 1 << 2;
const SAME_ORIGIN: u8 = 1 << 3;
const DELAYED: u8 = 1 << 4;
const DEAD_LETTERED: u8 = 1 << 5;
const FAILED: u8 = 1 << 6;
const KNOWN_FLAGS: u8 =
    PERSISTENT | EXPIRES | PRIORITY | SAME_ORIGIN | DELAYED | DEAD_LETTERED | FAILED;

/// Gathers messages into a chunk. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct ChunkEncoder {
    buffer: Vec<u8>,
    count: u32,
    last_ms: u64,
    origin: Option<Arc<Origin>>,
    /// How long the last chunk was: a good guess for the next.
    expected: usize,
}

impl ChunkEncoder {
    /// An empty encoder.
    pub fn new() -> ChunkEncoder {
        ChunkEncoder::default()
    }

    /// Messages so far.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there is no message yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Whether the chunk should be finished before another message is pushed.
    pub fn is_full(&self) -> bool {
        self.count >= CHUNK_MESSAGES_MAX || self.buffer.len() >= CHUNK_BYTES_MAX
    }

    /// Whether a message of this size still belongs into the chunk: an empty chunk takes any.
    pub fn has_room_for(&self, size: usize) -> bool {
        self.is_empty() || (!self.is_full() && self.buffer.len() + size <= CHUNK_BYTES_MAX)
    }

    /// Adds a message that was enqueued at `now_ms`.
    pub fn push(&mut self, now_ms: u64, message: &Message) {
        debug_assert!(
            self.count < CHUNK_MESSAGES_MAX,
            "a full chunk must be finished"
        );
        if self.count == 0 {
            self.start(now_ms, message.size());
        }
        let same_origin = self.origin.as_ref().is_some_and(|origin| {
            Arc::ptr_eq(origin, &message.origin) || **origin == *message.origin
        });
        let mut flags = 0;
        for (bit, on) in [
            (PERSISTENT, message.persistent),
            (EXPIRES, message.expiration_ms.is_some()),
            (DELAYED, message.delay_ms.is_some()),
            (DEAD_LETTERED, message.dead_lettered),
            (PRIORITY, message.priority != 0),
            (FAILED, message.failures != 0),
            (SAME_ORIGIN, same_origin),
        ] {
            if on {
                flags |= bit;
            }
        }
        let out = &mut self.buffer;
        out.push(flags);
        // The clock may step back; the message then counts as enqueued with the one before.
        put_varint(out, now_ms.saturating_sub(self.last_ms));
        self.last_ms = self.last_ms.max(now_ms);
        if let Some(expiration_ms) = message.expiration_ms {
            put_varint(out, expiration_ms);
        }
        if let Some(delay_ms) = message.delay_ms {
            put_varint(out, delay_ms);
        }
        if message.priority != 0 {
            out.push(message.priority);
        }
        if message.failures != 0 {
            put_varint(out, u64::from(message.failures));
        }
        if !same_origin {
            put_string(out, &message.origin.exchange);
            put_string(out, &message.origin.routing_key);
            self.origin = Some(message.origin.clone());
        }
        put_varint(out, message.properties.len() as u64);
        put_varint(out, message.body.len() as u64);
        out.extend_from_slice(&message.properties);
        for slice in message.body.slices() {
            out.extend_from_slice(slice);
        }
        self.count += 1;
    }

    /// The chunk; the encoder is empty again.
    pub fn finish(&mut self) -> Bytes {
        let mut chunk = std::mem::take(&mut self.buffer);
        if let Some(field) = chunk.get_mut(COUNT_AT) {
            field.copy_from_slice(&self.count.to_le_bytes());
        }
        self.count = 0;
        self.origin = None;
        self.expected = chunk.len().min(CHUNK_BYTES_MAX);
        // The chunk lives in the store's write buffer for a while: slack there would be memory nobody counts.
        if chunk.capacity() - chunk.len() > chunk.len() / 8 {
            chunk.shrink_to_fit();
        }
        Bytes::from(chunk)
    }

    fn start(&mut self, now_ms: u64, size: usize) {
        let room = HEADER_LEN + size + 128;
        self.buffer
            .reserve(room.max(self.expected + self.expected / 16));
        self.buffer.push(VERSION);
        self.buffer.push(0);
        self.buffer.extend_from_slice(&0u32.to_le_bytes());
        self.buffer.extend_from_slice(&now_ms.to_le_bytes());
        self.last_ms = now_ms;
    }
}

/// A message as it is read back.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Its offset in the log.
    pub offset: u64,
    /// When it was enqueued, in milliseconds since the epoch.
    pub enqueued_ms: u64,
    /// The message; properties and body are slices of the chunk.
    pub message: Arc<Message>,
}

/// A chunk that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A version that this release does not know.
    #[error("chunk version {0} is not known")]
    Version(u8),
    /// The chunk ends too early.
    #[error("chunk is cut short")]
    Short,
    /// Something in it makes no sense.
    #[error("chunk is malformed")]
    Malformed,
}

/// Reads the header of a chunk and returns an iterator over its messages; the first has offset `first`.
/// The iterator ends after the first error.
pub fn decode(first: u64, data: Bytes) -> Result<ChunkReader, ChunkError> {
    let header = Header::read(&data)?;
    Ok(ChunkReader {
        data,
        at: HEADER_LEN,
        left: header.count,
        offset: first,
        last_ms: header.first_ms,
        origin: None,
    })
}

/// How many messages a chunk says it holds.
pub fn count(data: &[u8]) -> Result<u32, ChunkError> {
    Header::read(data).map(|header| header.count)
}

/// When the first message of a chunk was enqueued, in milliseconds since the epoch.
pub fn first_enqueued_ms(data: &[u8]) -> Result<u64, ChunkError> {
    Header::read(data).map(|header| header.first_ms)
}

struct Header {
    count: u32,
    first_ms: u64,
}

impl Header {
    fn read(data: &[u8]) -> Result<Header, ChunkError> {
        let (&header, _) = data
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(ChunkError::Short)?;
        let [version, flags, c0, c1, c2, c3, time @ ..] = header;
        if version != VERSION {
            return Err(ChunkError::Version(version));
        }
        if flags != 0 {
            return Err(ChunkError::Malformed);
        }
        Ok(Header {
            count: u32::from_le_bytes([c0, c1, c2, c3]),
            first_ms: u64::from_le_bytes(time),
        })
    }
}

/// What stands before the properties of a message.
struct Head {
    flags: u8,
    expiration_ms: Option<u64>,
    delay_ms: Option<u64>,
    priority: u8,
    failures: u32,
    properties_len: usize,
    body_len: usize,
}

/// Iterates over the messages of a chunk.
#[derive(Clone, Debug)]
pub struct ChunkReader {
    data: Bytes,
    at: usize,
    left: u32,
    offset: u64,
    last_ms: u64,
    origin: Option<Arc<Origin>>,
}

impl ChunkReader {
    /// Messages not yet read.
    pub fn remaining(&self) -> u32 {
        self.left
    }

    /// Passes over the next message, which costs less than to read it. False if there is none.
    ///
    /// # Errors
    /// When it cannot be read; then nothing comes after it.
    pub fn skip_message(&mut self) -> Result<bool, ChunkError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(false);
        };
        self.left = left;
        let skipped = self.head().and_then(|head| self.pass(&head));
        if skipped.is_err() {
            self.left = 0;
        }
        skipped.map(|()| true)
    }

    /// The offset of the next message.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn message(&mut self) -> Result<StoredMessage, ChunkError> {
        let head = self.head()?;
        let origin = self.origin.clone().ok_or(ChunkError::Malformed)?;
        let body_at = self.at.checked_add(head.properties_len);
        let properties = self.slice(self.at, body_at)?;
        let body_at = body_at.unwrap_or(self.at);
        let body = self.slice(body_at, body_at.checked_add(head.body_len))?;
        let offset = self.offset;
        self.pass(&head)?;
        let message = Message {
            origin,
            properties,
            body: Body::Whole(body),
            persistent: head.flags & PERSISTENT != 0,
            priority: head.priority,
            expiration_ms: head.expiration_ms,
            delay_ms: head.delay_ms,
            dead_lettered: head.flags & DEAD_LETTERED != 0,
            failures: head.failures,
        };
        Ok(StoredMessage {
            offset,
            enqueued_ms: self.last_ms,
            message: Arc::new(message),
        })
    }

    /// Reads what stands before the properties of a message.
    fn head(&mut self) -> Result<Head, ChunkError> {
        let flags = self.byte()?;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(ChunkError::Malformed);
        }
        let delta = self.varint()?;
        self.last_ms = self
            .last_ms
            .checked_add(delta)
            .ok_or(ChunkError::Malformed)?;
        let expiration_ms = (flags & EXPIRES != 0).then(|| self.varint()).transpose()?;
        let delay_ms = (flags & DELAYED != 0).then(|| self.varint()).transpose()?;
        let priority = if flags & PRIORITY != 0 {
            self.byte()?
        } else {
            0
        };
        let failures = match flags & FAILED {
            0 => 0,
            _ => u32::try_from(self.varint()?).map_err(|_| ChunkError::Malformed)?,
        };
        self.read_origin(flags & SAME_ORIGIN != 0)?;
        Ok(Head {
            flags,
            expiration_ms,
            delay_ms,
            priority,
            failures,
            properties_len: self.length()?,
            body_len: self.length()?,
        })
    }

    /// Goes on to the message after the one of which `head` was read.
    fn pass(&mut self, head: &Head) -> Result<(), ChunkError> {
        let end = self.at.checked_add(head.properties_len);
        let end = end.and_then(|at| at.checked_add(head.body_len));
        self.at = end
            .filter(|end| *end <= self.data.len())
            .ok_or(ChunkError::Short)?;
        self.offset = self.offset.checked_add(1).ok_or(ChunkError::Malformed)?;
        Ok(())
    }

    fn read_origin(&mut self, same: bool) -> Result<(), ChunkError> {
        if !same {
            let exchange = self.string()?;
            let routing_key = self.string()?;
            self.origin = Some(Arc::new(Origin {
                exchange,
                routing_key,
            }));
        }
        match &self.origin {
            Some(_) => Ok(()),
            None => Err(ChunkError::Malformed),
        }
    }

    fn byte(&mut self) -> Result<u8, ChunkError> {
        let byte = *self.data.get(self.at).ok_or(ChunkError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, ChunkError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(ChunkError::Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ChunkError::Malformed)
    }

    fn length(&mut self) -> Result<usize, ChunkError> {
        usize::try_from(self.varint()?).map_err(|_| ChunkError::Malformed)
    }

    fn slice(&self, at: usize, end: Option<usize>) -> Result<Bytes, ChunkError> {
        let end = end.filter(|end| *end <= self.data.len());
        Ok(self.data.slice(at..end.ok_or(ChunkError::Short)?))
    }

    fn string(&mut self) -> Result<Name, ChunkError> {
        let len = self.length()?;
        let end = self.at.checked_add(len);
        let bytes = self.slice(self.at, end)?;
        self.at += len;
        let text = std::str::from_utf8(&bytes).map_err(|_| ChunkError::Malformed)?;
        Ok(Name::from(text))
    }
}

impl Iterator for ChunkReader {
    type Item = Result<StoredMessage, ChunkError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let message = self.message();
        if message.is_err() {
            self.left = 0;
        }
        Some(message)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(exchange: &str, routing_key: &str) -> Arc<Origin> {
        Arc::new(Origin {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        })
    }

    fn message(body: &'static [u8]) -> Message {
        Message {
            origin: origin("", "q"),
            properties: Bytes::from_static(b"\0\0"),
            body: Body::Whole(Bytes::from_static(body)),
            persistent: true,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
        }
    }

    fn same(read: &Message, written: &Message) {
        assert_eq!(read.origin, written.origin);
        assert_eq!(read.properties, written.properties);
        assert_eq!(read.body.slices().concat(), written.body.slices().concat());
        assert_eq!(read.persistent, written.persistent);
        assert_eq!(read.priority, written.priority);
        assert_eq!(read.expiration_ms, written.expiration_ms);
        assert_eq!(read.delay_ms, written.delay_ms);
        assert_eq!(read.dead_lettered, written.dead_lettered);
        assert_eq!(read.failures, written.failures);
    }

    #[test]
    fn bodies_are_slices_of_the_chunk() {
        let mut encoder = ChunkEncoder::new();
        encoder.push(5, &message(b"hello"));
        let chunk = encoder.finish();
        let read = decode(0, chunk.clone()).unwrap().next().unwrap().unwrap();
        let body = read.message.body.slices()[0].as_ptr_range();
        assert!(chunk.as_ptr_range().contains(&body.start));
    }

    #[test]
    fn a_repeated_origin_costs_nothing() {
        let mut encoder = ChunkEncoder::new();
        encoder.push(5, &message(b""));
        let first = encoder.bytes();
        encoder.push(6, &message(b""));
        assert_eq!(
            encoder.bytes() - first,
            6,
            "flags, time, two lengths, two bytes of properties"
        );
        let origins: Vec<_> = decode(0, encoder.finish())
            .unwrap()
            .map(|read| read.unwrap().message.origin.clone())
            .collect();
        assert!(Arc::ptr_eq(&origins[0], &origins[1]));
    }

    #[test]
    fn finish_starts_over() {
        let mut encoder = ChunkEncoder::new();
        encoder.push(5, &message(b"one"));
        let chunk = encoder.finish();
        assert!(encoder.is_empty() && encoder.bytes() == 0 && encoder.has_room_for(usize::MAX));
        encoder.push(5, &message(b"one"));
        assert_eq!(encoder.finish(), chunk);
        assert_eq!(count(&chunk), Ok(1));
        assert_eq!(first_enqueued_ms(&chunk), Ok(5));
    }

    #[test]
    fn a_chunk_fills_up_by_bytes_and_by_messages() {
        let mut encoder = ChunkEncoder::new();
        for _ in 0..CHUNK_MESSAGES_MAX {
            assert!(!encoder.is_full());
            encoder.push(5, &message(b""));
        }
        assert!(encoder.is_full());
        let mut encoder = ChunkEncoder::new();
        encoder.push(5, &message(b"x"));
        assert!(encoder.has_room_for(60_000));
        assert!(!encoder.has_room_for(CHUNK_BYTES_MAX));
    }

    #[test]
    fn a_clock_that_steps_back_does_not_underflow() {
        let mut encoder = ChunkEncoder::new();
        for now in [100, 90, 101] {
            encoder.push(now, &message(b""));
        }
        let times: Vec<_> = decode(0, encoder.finish())
            .unwrap()
            .map(|m| m.unwrap().enqueued_ms)
            .collect();
        assert_eq!(times, [100, 100, 101]);
    }

    #[test]
    fn damage_is_named() {
        let mut encoder = ChunkEncoder::new();
        encoder.push(5, &message(b"hello"));
        let chunk = encoder.finish();
        let cut = decode(0, chunk.slice(..chunk.len() - 1)).unwrap().next();
        assert_eq!(cut.unwrap().unwrap_err(), ChunkError::Short);
        assert_eq!(
            decode(0, chunk.slice(..HEADER_LEN - 1)).unwrap_err(),
            ChunkError::Short
        );
        let mut later = chunk.to_vec();
        later[0] = 2;
        assert_eq!(decode(0, later.into()).unwrap_err(), ChunkError::Version(2));
        let mut same_as_nothing = chunk.to_vec();
        same_as_nothing[HEADER_LEN] |= SAME_ORIGIN;
        let read = decode(0, same_as_nothing.into()).unwrap().next().unwrap();
        assert_eq!(read.unwrap_err(), ChunkError::Malformed);
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let body = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..3);
        (
            prop::sample::select(vec!["", "amq.topic", "x"]),
            prop::sample::select(vec!["", "a.b", "ключ"]),
            prop::collection::vec(any::<u8>(), 0..40),
            body,
            any::<bool>(),
            any::<u8>(),
            any::<(Option<u64>, Option<u64>)>(),
        )
            .prop_map(
                |(
                    exchange,
                    key,
                    properties,
                    body,
                    persistent,
                    priority,
                    (expiration_ms, delay_ms),
                )| Message {
                    origin: origin(exchange, key),
                    properties: properties.into(),
                    body: Body::Parts(body.into_iter().map(Bytes::from).collect()),
                    persistent,
                    priority,
                    expiration_ms,
                    delay_ms,
                    dead_lettered: persistent,
                    failures: u32::from(priority) << 9,
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn chunks_come_back(
            messages in prop::collection::vec((any_message(), 0u64..5000), 1..40),
            first in 0u64..1 << 40,
        ) {
            let mut encoder = ChunkEncoder::new();
            let mut now = 1_700_000_000_000;
            for (message, delta) in &messages {
                now += delta;
                encoder.push(now, message);
            }
            prop_assert_eq!(encoder.len() as usize, messages.len());
            let chunk = encoder.finish();
            let read: Vec<_> = decode(first, chunk).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), messages.len());
            let mut now = 1_700_000_000_000;
            for (at, (read, (written, delta))) in read.iter().zip(&messages).enumerate() {
                now += delta;
                prop_assert_eq!(read.offset, first + at as u64);
                prop_assert_eq!(read.enqueued_ms, now);
                same(&read.message, written);
            }
        }

        #[test]
        fn no_bytes_make_decoding_panic(
            messages in prop::collection::vec(any_message(), 1..5),
            hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut encoder = ChunkEncoder::new();
            messages.iter().for_each(|message| encoder.push(9, message));
            let mut chunk = encoder.finish().to_vec();
            for (at, byte) in hits {
                let at = at.index(chunk.len());
                chunk[at] = byte;
            }
            chunk.truncate(1 + cut.index(chunk.len()));
            if let Ok(reader) = decode(u64::MAX - 2, chunk.into()) {
                prop_assert!(reader.count() < 10_000);
            }
        }
    }
}
