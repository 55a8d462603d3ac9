//! CMQ's HTTP API as a load: batches sent, and batches received and deleted, over so many connections with one request
//! under way on each. Signs and reads what it must and no more, so that the broker is measured and not its client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::BenchError;
use super::histogram::Histogram;
use super::load::{Outcome, Usage};
use super::order::Findings;
use super::process;
use super::setup::Setup;

/// Messages and handles in one request: the most that the API takes unless it is told otherwise.
const BATCH: usize = 16;
/// How long a request may take before the run is given up.
const REQUEST_MAX: Duration = Duration::from_secs(60);
const PATH: &str = "/v2/index.php";
/// What bodies are made of: nothing that a form has to escape.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.";

/// Where the API is and with which key, from `http://SECRETID:SECRETKEY@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    host: String,
    id: String,
    key: String,
}

impl Endpoint {
    pub(super) fn parse(uri: &str) -> Result<Endpoint, BenchError> {
        let login = uri
            .strip_prefix("http://")
            .and_then(|rest| rest.trim_end_matches('/').rsplit_once('@'));
        let parts = login.and_then(|(login, host)| Some((login.split_once(':')?, host)));
        match parts {
            Some(((id, key), host)) => Ok(Endpoint {
                host: host.to_owned(),
                id: id.to_owned(),
                key: key.to_owned(),
            }),
            None => Err(BenchError::Usage(format!(
                "{uri}: expected http://SECRETID:SECRETKEY@HOST:PORT"
            ))),
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub(super) struct CmqPlan {
    pub(super) endpoint: Endpoint,
    pub(super) connections: usize,
    pub(super) queues: Vec<String>,
    /// Length of bodies in bytes.
    pub(super) size: usize,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
}

/// What one connection does over and over; it returns how many messages it moved.
type Step = fn(&mut Client) -> Result<u64, BenchError>;

impl CmqPlan {
    /// Makes the queues anew.
    pub(super) fn prepare(&self) -> Result<(), BenchError> {
        self.clean_up()?;
        let mut client = Client::connect(self, 0)?;
        for queue in &self.queues {
            client.call(
                "CreateQueue",
                &format!("&maxMsgSize=1048576&queueName={queue}"),
            )?;
        }
        Ok(())
    }

    /// Deletes the queues.
    pub(super) fn clean_up(&self) -> Result<(), BenchError> {
        let mut client = Client::connect(self, 0)?;
        for queue in &self.queues {
            match client.call("DeleteQueue", &format!("&queueName={queue}")) {
                Ok(()) | Err(BenchError::Closed { code: 4440, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends for the time of the plan.
    pub(super) fn send(&self, setup: &Setup) -> Result<Outcome, BenchError> {
        let (outcome, _) = self.run(setup, Client::send, self.warm_up, None)?;
        Ok(outcome)
    }

    /// Sends so many messages, then receives and deletes them all; only the second is in the outcome.
    pub(super) fn receive(&self, setup: &Setup, count: u64) -> Result<Outcome, BenchError> {
        let at_once = Duration::ZERO;
        let (_, sent) = self.run(setup, Client::send, at_once, Some(count))?;
        let step = Client::receive_and_delete;
        let (mut outcome, received) = self.run(setup, step, at_once, Some(sent))?;
        outcome.received = std::mem::take(&mut outcome.published);
        outcome.findings = Some(Findings {
            missing: sent.saturating_sub(received),
            repeated_or_late: received.saturating_sub(sent),
            astray: 0,
            redelivered: 0,
        });
        Ok(outcome)
    }

    /// Lets all connections do their step, until the time of the plan is over or so many messages are moved. Beside
    /// what was measured it returns how many were moved all in all.
    fn run(
        &self,
        setup: &Setup,
        step: Step,
        warm_up: Duration,
        count: Option<u64>,
    ) -> Result<(Outcome, u64), BenchError> {
        let crew = Crew::start(self, step)?;
        let warm_until = Instant::now() + warm_up;
        while Instant::now() < warm_until && crew.is_at_work() {
            thread::sleep(Duration::from_millis(5));
        }
        let (begun, first) = (Instant::now(), crew.snapshot(setup));
        crew.begin();
        let done = |moved: u64| match count {
            Some(count) => moved >= count,
            None => begun.elapsed() >= self.time,
        };
        while !done(crew.moved()) && crew.is_at_work() {
            thread::sleep(Duration::from_millis(1));
        }
        let (ended, last) = (begun.elapsed(), crew.snapshot(setup));
        let (request_ns, total) = crew.end()?;
        let outcome = Outcome {
            seconds: ended.as_secs_f64().max(1e-6),
            published: last.moved - first.moved,
            confirm_ns: request_ns,
            usage: first.until(&last, setup),
            ..Outcome::default()
        };
        Ok((outcome, total))
    }
}

/// What a thread shows while it works.
#[derive(Default)]
struct Meter {
    thread: AtomicU32,
    moved: AtomicU64,
}

struct Crew {
    measuring: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    meters: Vec<Arc<Meter>>,
    threads: Vec<JoinHandle<Result<Histogram, BenchError>>>,
}

impl Crew {
    fn start(plan: &CmqPlan, step: Step) -> Result<Crew, BenchError> {
        let mut crew = Crew {
            measuring: Arc::default(),
            stopped: Arc::default(),
            meters: Vec::new(),
            threads: Vec::new(),
        };
        for nth in 0..plan.connections {
            let mut client = Client::connect(plan, nth)?;
            let meter = Arc::<Meter>::default();
            crew.meters.push(meter.clone());
            let (measuring, stopped) = (crew.measuring.clone(), crew.stopped.clone());
            crew.threads.push(thread::spawn(move || {
                let id = process::thread_id().unwrap_or(0);
                meter.thread.store(id, Ordering::Relaxed);
                let mut request_ns = Histogram::default();
                while !stopped.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let moved = step(&mut client)?;
                    if measuring.load(Ordering::Relaxed) && moved > 0 {
                        let took = u64::try_from(begun.elapsed().as_nanos());
                        request_ns.record(took.unwrap_or(u64::MAX));
                    }
                    meter.moved.fetch_add(moved, Ordering::Relaxed);
                }
                Ok(request_ns)
            }));
        }
        Ok(crew)
    }

    fn begin(&self) {
        self.measuring.store(true, Ordering::Relaxed);
    }

    /// False once one has failed.
    fn is_at_work(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    fn moved(&self) -> u64 {
        let moved = |meter: &Arc<Meter>| meter.moved.load(Ordering::Relaxed);
        self.meters.iter().map(moved).sum()
    }

    fn snapshot(&self, setup: &Setup) -> Snapshot {
        let cpu = |meter: &Arc<Meter>| {
            process::thread_cpu_seconds(meter.thread.load(Ordering::Relaxed)).unwrap_or(0.0)
        };
        Snapshot {
            moved: self.moved(),
            broker_cpu: setup.broker_cpu(),
            written: setup.broker_written(),
            threads: self.meters.iter().map(cpu).collect(),
            machine: process::machine_cpu_seconds().unwrap_or(0.0),
        }
    }

    /// Ends the threads. Returns how long their requests took, and how many messages they moved.
    fn end(mut self) -> Result<(Histogram, u64), BenchError> {
        self.stopped.store(true, Ordering::Relaxed);
        // All are joined before an error is looked at, so that none is left behind.
        let threads = std::mem::take(&mut self.threads);
        let joined: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        let mut all = Histogram::default();
        for one in joined {
            all.merge(&one.unwrap_or(Err(BenchError::Panicked))?);
        }
        Ok((all, self.moved()))
    }
}

/// Everything that is measured, at one moment.
struct Snapshot {
    moved: u64,
    broker_cpu: Option<f64>,
    written: Option<u64>,
    threads: Vec<f64>,
    machine: f64,
}

impl Snapshot {
    fn until(&self, later: &Snapshot, setup: &Setup) -> Usage {
        let broker_cpu = self.broker_cpu.zip(later.broker_cpu);
        let written = self.written.zip(later.written);
        let threads = self.threads.iter().zip(&later.threads);
        let threads: Vec<f64> = threads.map(|(from, to)| to - from).collect();
        Usage {
            broker_cpu: broker_cpu.map(|(from, to)| to - from),
            broker_rss_peak: setup.broker_rss(),
            broker_written: written.map(|(from, to)| to - from),
            client_cpu: threads.iter().sum(),
            busiest_thread_cpu: threads.iter().copied().fold(0.0, f64::max),
            machine_cpu: later.machine - self.machine,
        }
    }
}

/// One connection.
struct Client {
    stream: TcpStream,
    endpoint: Endpoint,
    keyed: Hmac<Sha1>,
    queue: String,
    /// The parameters of a send that follow those that every request has.
    messages: String,
    nonce: u64,
    request: Vec<u8>,
    answer: Vec<u8>,
    handles: String,
}

impl Client {
    fn connect(plan: &CmqPlan, nth: usize) -> Result<Client, BenchError> {
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
            messages: messages(plan.size, nth, &queue),
            queue,
            // So that no two connections sign alike, of an earlier run neither.
            nonce: u64::try_from(since_epoch().as_micros()).unwrap_or(0) << 10 | nth as u64,
            request: Vec::new(),
            answer: Vec::new(),
            handles: String::new(),
        })
    }

    fn send(&mut self) -> Result<u64, BenchError> {
        let messages = std::mem::take(&mut self.messages);
        let sent = self.call("BatchSendMessage", &messages);
        self.messages = messages;
        sent.map(|()| BATCH as u64)
    }

    fn receive_and_delete(&mut self) -> Result<u64, BenchError> {
        let wanted = format!("&numOfMsg={BATCH}&queueName={}", self.queue);
        match self.call("BatchReceiveMessage", &wanted) {
            Ok(()) => {}
            // Others have the rest, or will.
            Err(BenchError::Closed { code: 7000, .. }) => {
                thread::sleep(Duration::from_millis(1));
                return Ok(0);
            }
            Err(error) => return Err(error),
        }
        let answer = String::from_utf8_lossy(&self.answer);
        let mut handles: Vec<&str> = answer
            .split("\"receiptHandle\":\"")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once('"')?.0))
            .collect();
        // They count from nought in the order of bytes, which is how they are signed.
        let mut names: Vec<String> = (0..handles.len()).map(|n| n.to_string()).collect();
        names.sort_unstable();
        self.handles.clear();
        let received = handles.len();
        self.handles.push_str(&format!("&queueName={}", self.queue));
        for (name, handle) in names.iter().zip(handles.drain(..)) {
            self.handles
                .push_str(&format!("&receiptHandle.{name}={handle}"));
        }
        let deleted = std::mem::take(&mut self.handles);
        let done = self.call("BatchDeleteMessage", &deleted);
        self.handles = deleted;
        done.map(|()| received as u64)
    }

    /// Sends an action and reads its answer. `parameters` follow the common ones in the order of bytes, and need no
    /// escaping.
    fn call(&mut self, action: &str, parameters: &str) -> Result<(), BenchError> {
        let now = since_epoch();
        self.nonce += 1 << 10;
        let common = format!(
            "Action={action}&Nonce={}&SecretId={}&Timestamp={}",
            self.nonce,
            self.endpoint.id,
            now.as_secs()
        );
        let mut mac = self.keyed.clone();
        for part in ["POST", &self.endpoint.host, PATH, "?", &common, parameters] {
            mac.update(part.as_bytes());
        }
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        let length = common.len() + parameters.len() + "&Signature=".len() + signature.len();
        self.request.clear();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n\r\n",
            self.endpoint.host
        );
        for part in [&head, &common, parameters, "&Signature=", &signature] {
            self.request.extend_from_slice(part.as_bytes());
        }
        self.stream
            .write_all(&self.request)
            .map_err(BenchError::io("sending a request"))?;
        self.read_answer()?;
        if self.answer.starts_with(b"{\"code\":0,") {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&self.answer).into_owned();
        let code = text
            .strip_prefix("{\"code\":")
            .and_then(|rest| rest.split(',').next()?.parse().ok());
        match code {
            Some(code) => Err(BenchError::Closed { code, text }),
            None => Err(BenchError::Unexpected(text)),
        }
    }

    /// Reads one answer whole and leaves its body in `answer`.
    fn read_answer(&mut self) -> Result<(), BenchError> {
        self.answer.clear();
        let mut piece = [0; 64 * 1024];
        let mut end = None;
        loop {
            let read = self
                .stream
                .read(&mut piece)
                .map_err(BenchError::io("reading an answer"))?;
            let got = piece.get(..read).unwrap_or_default();
            if got.is_empty() {
                return Err(BenchError::Unexpected(
                    "the connection was closed".to_owned(),
                ));
            }
            self.answer.extend_from_slice(got);
            if end.is_none() {
                end = body_end(&self.answer)?;
            }
            if let Some((from, to)) = end
                && self.answer.len() >= to
            {
                self.answer.drain(..from);
                return Ok(());
            }
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Where the body of an answer begins and ends; `None` as long as its head is not whole.
fn body_end(answer: &[u8]) -> Result<Option<(usize, usize)>, BenchError> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_lowercase();
    let length = text
        .split("\r\n")
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|length| length.trim().parse::<usize>().ok());
    match length {
        Some(length) => Ok(Some((head + 4, head + 4 + length))),
        None => Err(BenchError::Unexpected(text)),
    }
}

/// The parameters of a batch: bodies that do not compress, other ones for each connection.
fn messages(size: usize, nth: usize, queue: &str) -> String {
    let mut names: Vec<String> = (0..BATCH).map(|n| n.to_string()).collect();
    names.sort_unstable();
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
    fn endpoints() {
        let endpoint = Endpoint::parse("http://AKIDx:k:1@127.0.0.1:5680/").unwrap();
        let (id, key, host) = (endpoint.id, endpoint.key, endpoint.host);
        assert_eq!((&*id, &*key, &*host), ("AKIDx", "k:1", "127.0.0.1:5680"));
        for uri in ["127.0.0.1:5680", "http://127.0.0.1:5680", "http://id@h:1"] {
            assert!(Endpoint::parse(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn answers_are_found_in_their_pieces() {
        assert_eq!(body_end(b"HTTP/1.1 200 OK\r\nContent-").unwrap(), None);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{}";
        assert_eq!(body_end(answer).unwrap(), Some((39, 51)));
        assert!(body_end(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
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
}
