//! Answers of CMQ's API. Parsed by hand, since the load generator allocates nothing per request.

use std::io::Read;
use std::net::TcpStream;
use std::ops::Range;

use memchr::memmem;

use crate::error::BenchError;

/// Initial size of the buffer.
const ANSWER_BYTES: usize = 64 * 1024;

/// A buffer for answers.
#[derive(Default)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    /// Range of the body, once its head is complete.
    body: Option<Range<usize>>,
}

impl Answer {
    /// The body of the last answer.
    pub(super) fn body(&self) -> &[u8] {
        let body = self.body.clone().and_then(|body| self.bytes.get(body));
        body.unwrap_or_default()
    }

    /// Reads one whole answer.
    pub(super) fn read(&mut self, stream: &mut TcpStream) -> Result<(), BenchError> {
        let mut filled = 0;
        self.body = None;
        loop {
            if filled == self.bytes.len() {
                self.bytes.resize((filled * 2).max(ANSWER_BYTES), 0);
            }
            let room = self.bytes.get_mut(filled..).unwrap_or_default();
            let read = stream.read(room);
            let read = read.map_err(BenchError::io("reading an answer"))?;
            if read == 0 {
                return Err(BenchError::unexpected("the connection was closed"));
            }
            filled += read;
            if self.body.is_none() {
                self.body = body(self.bytes.get(..filled).unwrap_or_default())?;
            }
            if self.body.as_ref().is_some_and(|body| filled >= body.end) {
                return Ok(());
            }
        }
    }
}

/// Range of the body; `None` while the head is incomplete.
fn body(answer: &[u8]) -> Result<Option<Range<usize>>, BenchError> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = answer.get(..end).unwrap_or_default();
    let length = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        let value = name.eq_ignore_ascii_case(LENGTH).then_some(value)?;
        std::str::from_utf8(value)
            .ok()?
            .trim()
            .parse::<usize>()
            .ok()
    });
    match length {
        Some(length) => Ok(Some(end + 4..end + 4 + length)),
        None => Err(BenchError::Unexpected(
            String::from_utf8_lossy(head).into_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_found_once_the_head_is_complete() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-").unwrap(), None);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}";
        assert_eq!(body(answer).unwrap(), Some(39..51));
        assert!(body(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
