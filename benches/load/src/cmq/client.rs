//! One connection to CMQ's API, with one request under way: signs and writes requests, and reads of the answers what
//! it needs. Shares the machine with the broker it measures, so it allocates nothing per request. Knows no load.

use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use memchr::memmem;
use sha1::Sha1;

use super::{BATCH, CmqPlan, Endpoint};
use crate::BenchError;

/// How long a request may take before the run is given up.
const REQUEST_MAX: Duration = Duration::from_secs(60);
const PATH: &str = "/v2/index.php";
/// What bodies are made of: nothing that a form has to escape.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";
/// Room for an answer at first.
const ANSWER_BYTES: usize = 64 * 1024;
/// How an answer of success begins.
const SUCCESS: &[u8] = b"{\"code\":0,";
/// What stands before each handle.
const HANDLE: &str = "\"receiptHandle\":\"";

/// One connection.
pub(super) struct Client {
    stream: TcpStream,
    endpoint: Endpoint,
    keyed: Hmac<Sha1>,
    nonce: u64,
    /// The parameters of a send, of a receive and of a delete that follow those that every request has.
    messages: Vec<u8>,
    wanted: Vec<u8>,
    handles: Vec<u8>,
    /// The parameters that every request has.
    common: Vec<u8>,
    signature: String,
    request: Vec<u8>,
    answer: Answer,
}

impl Client {
    pub(super) fn connect(plan: &CmqPlan, nth: usize) -> Result<Client, BenchError> {
        let endpoint = plan.endpoint.clone();
        let open = || {
            let stream = TcpStream::connect(&endpoint.host)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(REQUEST_MAX))?;
            Ok(stream)
        };
        let stream = open().map_err(BenchError::io("connecting"))?;
        let keyed = Hmac::new_from_slice(endpoint.key.as_bytes())
            .map_err(|_| BenchError::Usage("a key of no length".to_owned()))?;
        let queue = plan.queues.get(nth % plan.queues.len().max(1));
        let queue = queue.cloned().unwrap_or_default();
        Ok(Client {
            stream,
            endpoint,
            keyed,
            // So that no two connections sign alike, of an earlier run neither.
            nonce: u64::try_from(since_epoch().as_micros()).unwrap_or(0) << 10 | nth as u64,
            messages: messages(plan.size, nth, &queue).into_bytes(),
            wanted: format!("&numOfMsg={BATCH}&queueName={queue}").into_bytes(),
            handles: format!("&queueName={queue}").into_bytes(),
            common: Vec::new(),
            signature: String::new(),
            request: Vec::new(),
            answer: Answer::default(),
        })
    }

    /// Sends a batch; returns how many messages that are.
    pub(super) fn send(&mut self) -> Result<u64, BenchError> {
        let messages = std::mem::take(&mut self.messages);
        let sent = self.call("BatchSendMessage", &messages);
        self.messages = messages;
        sent.map(|()| BATCH as u64)
    }

    /// Receives a batch and deletes it; returns how many messages there were. An empty queue is no error.
    pub(super) fn receive_and_delete(&mut self) -> Result<u64, BenchError> {
        let wanted = std::mem::take(&mut self.wanted);
        let received = self.call("BatchReceiveMessage", &wanted);
        self.wanted = wanted;
        match received {
            Ok(()) => {}
            // Others have the rest, or will.
            Err(BenchError::Closed { code: 7000, .. }) => {
                std::thread::sleep(Duration::from_millis(1));
                return Ok(0);
            }
            Err(error) => return Err(error),
        }
        let mut deleted = std::mem::take(&mut self.handles);
        let queue = deleted.len();
        let count = name_handles(self.answer.body(), &mut deleted);
        let done = self.call("BatchDeleteMessage", &deleted);
        deleted.truncate(queue);
        self.handles = deleted;
        done.map(|()| count)
    }

    /// Sends an action and reads its answer. `parameters` follow the common ones in the order of bytes, and need no
    /// escaping.
    pub(super) fn call(&mut self, action: &str, parameters: &[u8]) -> Result<(), BenchError> {
        self.sign(action, parameters);
        let length = self.common.len() + parameters.len() + self.signature.len();
        self.request.clear();
        write!(
            self.request,
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
            self.endpoint.host
        )
        .map_err(BenchError::io("writing a request"))?;
        for part in [&self.common, parameters, self.signature.as_bytes()] {
            self.request.extend_from_slice(part);
        }
        self.stream
            .write_all(&self.request)
            .map_err(BenchError::io("sending a request"))?;
        self.answer.read(&mut self.stream)?;
        if self.answer.body().starts_with(SUCCESS) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(self.answer.body()).into_owned();
        let code = text
            .strip_prefix("{\"code\":")
            .and_then(|rest| rest.split(',').next()?.parse().ok());
        match code {
            Some(code) => Err(BenchError::Closed { code, text }),
            None => Err(BenchError::Unexpected(text)),
        }
    }

    /// Leaves the common parameters in `common`, and the last one in `signature`.
    fn sign(&mut self, action: &str, parameters: &[u8]) {
        self.nonce += 1 << 10;
        self.common.clear();
        let (nonce, id, now) = (self.nonce, &self.endpoint.id, since_epoch().as_secs());
        // Writing to memory does not fail.
        write!(
            self.common,
            "Action={action}&Nonce={nonce}&SecretId={id}&Timestamp={now}"
        )
        .unwrap_or_default();
        let mut mac = self.keyed.clone();
        for part in ["POST", &self.endpoint.host, PATH, "?"] {
            mac.update(part.as_bytes());
        }
        mac.update(&self.common);
        mac.update(parameters);
        let mut text = [0; 32]; // 20 bytes in base64 are 28
        let length = BASE64_STANDARD.encode_slice(mac.finalize().into_bytes(), &mut text);
        let text = text.get(..length.unwrap_or(0)).unwrap_or_default();
        self.signature.clear();
        self.signature.push_str("&Signature=");
        self.signature.extend(form_urlencoded::byte_serialize(text));
    }
}

/// An answer, and room for the next.
#[derive(Default)]
struct Answer {
    bytes: Vec<u8>,
    /// Where its body is, when that is known.
    body: Option<Range<usize>>,
}

impl Answer {
    /// The body of the answer that was read last.
    fn body(&self) -> &[u8] {
        let body = self.body.clone().and_then(|body| self.bytes.get(body));
        body.unwrap_or_default()
    }

    /// Reads one answer whole.
    fn read(&mut self, stream: &mut TcpStream) -> Result<(), BenchError> {
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
                return Err(BenchError::Unexpected(
                    "the connection was closed".to_owned(),
                ));
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

/// Where the body of an answer is; `None` as long as its head is not whole.
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

/// Adds the handles in an answer to the parameters of a delete, and returns how many there are. They count from nought
/// in the order of bytes, which is how they are signed.
fn name_handles(answer: &[u8], parameters: &mut Vec<u8>) -> u64 {
    let handles = || memmem::find_iter(answer, HANDLE);
    let count = handles().count();
    let mut names: Vec<usize> = (0..count).collect();
    names.sort_unstable_by_key(|name| text_order(*name));
    for (name, at) in names.iter().zip(handles()) {
        let handle = answer.get(at + HANDLE.len()..).unwrap_or_default();
        let end = memchr::memchr(b'"', handle).unwrap_or(0);
        // Writing to memory does not fail.
        write!(parameters, "&receiptHandle.{name}=").unwrap_or_default();
        parameters.extend_from_slice(handle.get(..end).unwrap_or_default());
    }
    count as u64
}

/// Orders numbers of up to three digits as their texts are ordered.
fn text_order(number: usize) -> (usize, usize) {
    match number {
        0..10 => (number * 100, 1),
        10..100 => (number * 10, 2),
        _ => (number, 3),
    }
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The parameters of a batch: bodies that do not compress, other ones for each connection.
fn messages(size: usize, nth: usize, queue: &str) -> String {
    let mut names: Vec<usize> = (0..BATCH).collect();
    names.sort_unstable_by_key(|name| text_order(*name));
    let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ (nth as u64 + 1);
    let mut letter = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let at = usize::try_from(random >> 58).unwrap_or(0);
        LETTERS.get(at).copied().map_or('A', char::from)
    };
    let mut form = String::with_capacity(BATCH * (size + 16));
    for name in names {
        form.push_str(&format!("&msgBody.{name}="));
        form.extend((0..size).map(|_| letter()));
    }
    form.push_str(&format!("&queueName={queue}"));
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_in_their_pieces() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-").unwrap(), None);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}";
        assert_eq!(body(answer).unwrap(), Some(39..51));
        assert!(body(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn batches_are_in_the_order_of_bytes() {
        let form = messages(3, 0, "q");
        let names: Vec<&str> = form
            .split('&')
            .skip(1)
            .map(|pair| pair.split('=').next().unwrap())
            .collect();
        assert_eq!(names.len(), BATCH + 1);
        assert!(names.is_sorted() && names[2] == "msgBody.10");
    }

    #[test]
    fn handles_are_named_in_the_order_of_bytes() {
        let items: Vec<String> = (0..120)
            .map(|n| format!(r#"{{"msgBody":"x","receiptHandle":"{n}","dequeueCount":1}}"#))
            .collect();
        let answer = format!(r#"{{"code":0,"msgInfoList":[{}]}}"#, items.join(","));
        let mut form = Vec::new();
        assert_eq!(name_handles(answer.as_bytes(), &mut form), 120);
        let form = String::from_utf8(form).unwrap();
        let pairs: Vec<_> = form
            .split('&')
            .skip(1)
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        assert!(pairs.is_sorted() && pairs.len() == 120);
        assert_eq!(
            pairs[..3],
            [
                ("receiptHandle.0", "0"),
                ("receiptHandle.1", "1"),
                ("receiptHandle.10", "2")
            ]
        );
    }
}
