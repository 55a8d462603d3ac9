//! Reads the messages of a chunk. Never panics on any bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::format::{
    ChunkError, DEAD_LETTERED, DELAYED, EXPIRES, FAILED, HEADER_LEN, Header, KNOWN_FLAGS,
    PERSISTENT, PRIORITY, SAME_ORIGIN,
};
use crate::model::{Body, Message, Name, Origin};

/// A message read from a chunk.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Offset in the log.
    pub offset: u64,
    /// When it was enqueued, in milliseconds on the broker's time line.
    pub enqueued_ms: u64,
    /// Properties and body are slices of the chunk.
    pub message: Arc<Message>,
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

/// The fields before the properties of a message.
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

    /// Skips the next message, which is cheaper than reading it. False at the end. After an error the reader
    /// is at its end.
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

    /// Offset of the next message.
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
            handed_out: false,
        };
        Ok(StoredMessage {
            offset,
            enqueued_ms: self.last_ms,
            message: Arc::new(message),
        })
    }

    /// Reads the fields before the properties of a message.
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

    /// Advances past the properties and body that `head` announces.
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
