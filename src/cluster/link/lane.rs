//! This node's connection to another on one lane: it connects when there is a request, and again after it was cut.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::dial::Dialer;
use super::error::LinkError;
use super::frame::{FrameReader, Outgoing, Tag};
use super::handshake::Known;
use super::hello::Purpose;
use super::limits::{
    GATHERED_MAX, IDLE_MAX, PAUSE_MAX, PAUSE_MIN, REQUEST_BYTES_MAX, REQUESTS_MAX,
};
use super::service::Lane;
use super::stream::LinkStream;
use crate::clock::monotonic;

/// The unit of the limit of bytes.
const UNIT: usize = 1024;

type Answer = Result<Bytes, LinkError>;

/// Where callers hand in requests.
#[derive(Debug)]
pub(super) struct LaneEnd {
    queue: mpsc::Sender<Request>,
    /// Held while a request waits for room, so that requests leave in the order in which they came.
    turn: tokio::sync::Mutex<()>,
    requests: Arc<Semaphore>,
    units: Arc<Semaphore>,
}

/// A request on its way. Dropping it gives its room to others.
#[derive(Debug)]
struct Request {
    kind: u8,
    parts: Vec<Bytes>,
    /// The node that must answer; `None` for any.
    to: Option<u64>,
    answer: oneshot::Sender<Answer>,
    room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl LaneEnd {
    /// Starts the task of a lane, which ends with the last end.
    pub(super) fn start(dialer: Arc<Dialer>, address: String, lane: Lane) -> LaneEnd {
        let (queue, requests) = mpsc::channel(REQUESTS_MAX);
        let task = LaneTask {
            dialer,
            address,
            purpose: Purpose::Lane(lane),
            pause: PAUSE_MIN,
            failed: None,
        };
        tokio::spawn(task.run(requests));
        LaneEnd {
            queue,
            turn: tokio::sync::Mutex::default(),
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            units: Arc::new(Semaphore::new(REQUEST_BYTES_MAX / UNIT)),
        }
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.free_requests() == REQUESTS_MAX
    }

    pub(super) fn free_requests(&self) -> usize {
        self.requests.available_permits()
    }

    /// The answer to a request. The caller limits the time.
    pub(super) async fn call(&self, to: Option<u64>, kind: u8, parts: Vec<Bytes>) -> Answer {
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        let units = (bytes / UNIT + 1).min(REQUEST_BYTES_MAX / UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let (answer, answered) = oneshot::channel();
        {
            let _turn = self.turn.lock().await;
            let closed = |_| LinkError::Cut;
            let request = Arc::clone(&self.requests).acquire_owned().await;
            let units = Arc::clone(&self.units).acquire_many_owned(units).await;
            let request = Request {
                kind,
                parts,
                to,
                answer,
                room: (request.map_err(closed)?, units.map_err(closed)?),
            };
            // There is room: the queue is as long as there are permits.
            self.queue.send(request).await.map_err(|_| LinkError::Cut)?;
        }
        answered.await.unwrap_or(Err(LinkError::Cut))
    }
}

/// Connects and serves one lane.
struct LaneTask {
    dialer: Arc<Dialer>,
    address: String,
    purpose: Purpose,
    /// The pause after the next failure.
    pause: Duration,
    /// The last failure, until its pause is over.
    failed: Option<(Instant, LinkError)>,
}

impl LaneTask {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.recv().await {
            match self.connect().await {
                Ok((stream, known)) => {
                    let mut conversation = Conversation {
                        address: &self.address,
                        known,
                        unanswered: Unanswered::default(),
                        next: AtomicU64::new(0),
                    };
                    conversation.hold(stream, first, &mut queue).await;
                }
                Err(error) => {
                    refuse(first, &error);
                    while let Ok(request) = queue.try_recv() {
                        refuse(request, &error);
                    }
                }
            }
        }
    }

    /// Shortly after a failure it fails again without a new attempt.
    async fn connect(&mut self) -> Result<(LinkStream, Known), LinkError> {
        if let Some((until, error)) = &self.failed
            && monotonic() < *until
        {
            return Err(error.clone());
        }
        match self.dialer.dial(&self.address, self.purpose).await {
            Ok(connected) => {
                self.failed = None;
                self.pause = PAUSE_MIN;
                Ok(connected)
            }
            Err(error) => {
                self.failed = Some((monotonic() + self.pause, error.clone()));
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Err(error)
            }
        }
    }
}

/// The caller may have stopped waiting.
fn refuse(request: Request, error: &LinkError) {
    request.answer.send(Err(error.clone())).unwrap_or_default();
}

/// One connection of a lane.
struct Conversation<'a> {
    address: &'a str,
    known: Known,
    unanswered: Unanswered,
    next: AtomicU64,
}

/// Requests without an answer. Those whose callers stopped waiting stay until the other node has dealt with them, so
/// that a node that falls behind gets no more.
#[derive(Debug, Default)]
struct Unanswered(Mutex<HashMap<u64, Waiting>>);

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    _room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Conversation<'_> {
    /// Sends requests and takes answers until the connection ends or has been idle for long.
    async fn hold(
        &mut self,
        stream: LinkStream,
        first: Request,
        queue: &mut mpsc::Receiver<Request>,
    ) {
        let (read, write) = split(stream);
        tokio::select! {
            () = self.take_answers(FrameReader::new(read)) => {}
            () = self.send_requests(write, first, queue) => {}
        }
        for (_, waiting) in self.unanswered.0.lock().drain() {
            waiting.answer.send(Err(LinkError::Cut)).unwrap_or_default();
        }
    }

    async fn send_requests(
        &self,
        mut stream: WriteHalf<LinkStream>,
        first: Request,
        queue: &mut mpsc::Receiver<Request>,
    ) {
        let mut outgoing = Outgoing::default();
        let mut gathered = vec![first];
        loop {
            for request in gathered.drain(..) {
                self.prepare(request, &mut outgoing);
            }
            if let Err(error) = outgoing.write_to(&mut stream).await {
                tracing::debug!(address = self.address, %error, "a link was cut");
                return;
            }
            let more = queue.recv_many(&mut gathered, GATHERED_MAX);
            match timeout(IDLE_MAX, more).await {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) if self.unanswered.0.lock().is_empty() => return,
                Err(_) => {}
            }
        }
    }

    fn prepare(&self, request: Request, outgoing: &mut Outgoing) {
        if request.answer.is_closed() {
            return;
        }
        if let Some(expected) = request.to
            && expected != self.known.node
        {
            let error = LinkError::AnotherNode {
                address: self.address.to_owned(),
                expected,
                found: self.known.node,
            };
            return refuse(request, &error);
        }
        let Request {
            kind,
            parts,
            answer,
            room,
            ..
        } = request;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting {
            answer,
            _room: room,
        };
        self.unanswered.0.lock().insert(id, waiting);
        outgoing.push(id, Tag::Request(kind), parts);
    }

    async fn take_answers(&self, mut frames: FrameReader<ReadHalf<LinkStream>>) {
        loop {
            let (id, answer) = match next_answer(&mut frames).await {
                Ok(Some(answer)) => answer,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(address = self.address, %error, "a link was cut");
                    return;
                }
            };
            if let Some(waiting) = self.unanswered.0.lock().remove(&id) {
                waiting.answer.send(answer).unwrap_or_default();
            }
        }
    }
}

async fn next_answer(
    frames: &mut FrameReader<ReadHalf<LinkStream>>,
) -> std::io::Result<Option<(u64, Answer)>> {
    let Some(head) = frames.head().await? else {
        return Ok(None);
    };
    let body = frames.body(head.length).await?;
    let answer = match head.tag {
        Tag::Answer => Ok(body),
        Tag::Refusal => Err(LinkError::Failed(
            String::from_utf8_lossy(&body).into_owned(),
        )),
        Tag::Request(_) | Tag::Open(_) => {
            return Err(std::io::Error::other("a frame that is no answer"));
        }
    };
    Ok(Some((head.id, answer)))
}
