//! One connection to CMQ's API with one request at a time: signs and sends requests. Allocates nothing per
//! request, since it shares the machine with the broker.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::answer::Answer;
use super::endpoint::Endpoint;
use super::form::{BATCH, add_handles, messages};
use crate::error::BenchError;

/// How long a request may take.
const REQUEST_MAX: Duration = Duration::from_secs(60);
const PATH: &str = "/v2/index.php";
/// The beginning of a successful answer.
const SUCCESS: &[u8] = b"{\"code\":0,";
/// The code of a receive from an empty queue, and the time until the next try.
const NO_MESSAGE: u16 = 7000;
const NO_MESSAGE_WAIT: Duration = Duration::from_millis(1);

pub(super) struct Client {
    stream: TcpStream,
    endpoint: Endpoint,
    keyed: Hmac<Sha1>,
    nonce: u64,
    /// Own parameters of a send, of a receive and of a delete.
    messages: Vec<u8>,
    wanted: Vec<u8>,
    handles: Vec<u8>,
    /// Parameters of every request.
    common: Vec<u8>,
    signature: String,
    request: Vec<u8>,
    answer: Answer,
}

impl Client {
    /// The `nth` connection, for messages of `size` bytes and one queue.
    pub(super) fn connect(
        endpoint: &Endpoint,
        nth: usize,
        queue: &str,
        size: usize,
    ) -> Result<Client, BenchError> {
        let open = || {
            let stream = TcpStream::connect(&endpoint.host)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(REQUEST_MAX))?;
            Ok(stream)
        };
        let stream = open().map_err(BenchError::io("connecting"))?;
        let keyed = Hmac::new_from_slice(endpoint.key.as_bytes())
            .map_err(|_| BenchError::usage("the key is empty"))?;
        Ok(Client {
            stream,
            endpoint: endpoint.clone(),
            keyed,
            // Unique among the connections of this run and of earlier ones.
            nonce: u64::try_from(since_epoch().as_micros()).unwrap_or(0) << 10 | nth as u64,
            messages: messages(size, nth, queue).into_bytes(),
            wanted: format!("&numOfMsg={BATCH}&queueName={queue}").into_bytes(),
            handles: format!("&queueName={queue}").into_bytes(),
            common: Vec::new(),
            signature: String::new(),
            request: Vec::new(),
            answer: Answer::default(),
        })
    }

    /// Sends a batch. Returns the number of messages.
    pub(super) fn send(&mut self) -> Result<u64, BenchError> {
        let messages = std::mem::take(&mut self.messages);
        let sent = self.call("BatchSendMessage", &messages);
        self.messages = messages;
        sent.map(|()| BATCH as u64)
    }

    /// Receives a batch and deletes it. Returns the number of messages, 0 for an empty queue.
    pub(super) fn receive_and_delete(&mut self) -> Result<u64, BenchError> {
        let wanted = std::mem::take(&mut self.wanted);
        let received = self.call("BatchReceiveMessage", &wanted);
        self.wanted = wanted;
        match received {
            Ok(()) => {}
            Err(BenchError::Closed {
                code: NO_MESSAGE, ..
            }) => {
                thread::sleep(NO_MESSAGE_WAIT);
                return Ok(0);
            }
            Err(error) => return Err(error),
        }
        let mut deleted = std::mem::take(&mut self.handles);
        let queue = deleted.len();
        let count = add_handles(self.answer.body(), &mut deleted);
        let done = self.call("BatchDeleteMessage", &deleted);
        deleted.truncate(queue);
        self.handles = deleted;
        done.map(|()| count)
    }

    /// Sends an action and reads its answer. In the order of bytes `parameters` follow the common ones, and
    /// they need no escaping.
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

    /// Writes the common parameters to `common` and the signature to `signature`.
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

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
