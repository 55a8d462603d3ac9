//! A connection that another node has opened: its requests go to the service, whose answers go back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::callers::Callers;
use super::frame::{FrameReader, Outgoing, Tag, read_open};
use super::handshake::{HandshakeError, Own};
use super::hello::Purpose;
use super::limits::{
    ANSWERS_MAX, ASKED_AFTER, FRAME_MAX, GATHERED_MAX, HANDSHAKE_WITHIN, RECEIVED_BYTES_MAX,
    SILENT_MAX, TOGETHER_MAX,
};
use super::refused::RefusalLog;
use super::service::{Caller, Lane, Refusal, Service};
use super::stream::LinkStream;
use crate::net::{SocketPermit, Transport};

/// The unit of the limit of bytes.
const UNIT: usize = 1024;

/// Serves what other nodes ask.
pub(super) struct Accepting {
    pub(super) own: Arc<Own>,
    pub(super) refusals: Arc<RefusalLog>,
    pub(super) callers: Arc<Callers>,
    pub(super) service: Arc<dyn Service>,
}

impl Accepting {
    /// One connection, from its first byte to its last; a stream is given away.
    pub(super) async fn serve(
        self: Arc<Accepting>,
        transport: Transport,
        address: SocketAddr,
        permit: SocketPermit,
    ) {
        let options = transport
            .set_nodelay()
            .and_then(|()| transport.watch_peer(SILENT_MAX, ASKED_AFTER));
        if let Err(error) = options {
            tracing::debug!(%address, %error, "cannot set the options of a link's socket");
        }
        let mut stream = LinkStream::from(transport);
        // Boxed, since a connection outlives its handshake.
        let shaken = Box::pin(timeout(HANDSHAKE_WITHIN, self.own.accept(&mut stream))).await;
        let (known, purpose) = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => return self.log_refused(address, &error),
            Err(_) => return tracing::debug!(%address, "a link's handshake took too long"),
        };
        if !permit.admit() {
            return;
        }
        let caller = Caller {
            node: known.node,
            name: known.name,
            set: known.set,
            address,
            version: known.version,
        };
        let ended = match purpose {
            Purpose::Stream => self.give_away(caller, stream).await,
            Purpose::Lane(lane) => {
                let open = self.callers.enter(caller.node);
                let served = Served {
                    caller,
                    service: Arc::clone(&self.service),
                };
                let ended = served.converse(stream, lane).await;
                if open.end() {
                    self.service.left(&served.caller);
                }
                ended
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "a link was cut");
        }
    }

    async fn give_away(&self, caller: Caller, mut stream: LinkStream) -> io::Result<()> {
        let (kind, header) = timeout(HANDSHAKE_WITHIN, read_open(&mut stream)).await??;
        self.service.stream(&caller, kind, header, stream);
        Ok(())
    }

    /// A connection that ends without a word is a health check.
    fn log_refused(&self, address: SocketAddr, error: &HandshakeError) {
        let ip = address.ip().to_canonical().to_string();
        match error {
            HandshakeError::Io(error) => {
                tracing::debug!(%address, %error, "a link's handshake failed");
            }
            HandshakeError::Protocol
            | HandshakeError::Versions { .. }
            | HandshakeError::Unproven
            | HandshakeError::Refused(_) => self.refusals.note(&ip, &error.to_string()),
        }
    }
}

/// One lane of another node.
struct Served {
    caller: Caller,
    service: Arc<dyn Service>,
}

/// A request, and its part of the memory for requests.
struct Received {
    id: u64,
    kind: u8,
    body: Bytes,
    room: OwnedSemaphorePermit,
}

type Answered = (u64, Result<Bytes, Refusal>);

impl Served {
    /// Reads requests, handles them and writes answers until one of these ends.
    async fn converse(&self, stream: LinkStream, lane: Lane) -> io::Result<()> {
        let (read, write) = split(stream);
        let (requests, received) = mpsc::channel(TOGETHER_MAX);
        let (answers, answered) = mpsc::channel(ANSWERS_MAX);
        let handled = async {
            match lane {
                Lane::Raft => self.handle_in_order(received, answers).await,
                Lane::Control => self.handle_together(received, answers).await,
            }
        };
        // The other side never closes one direction alone: at its end, answers have no reader.
        tokio::select! {
            read = read_requests(FrameReader::new(read), requests) => read,
            ((), written) = async { tokio::join!(handled, write_answers(write, answered)) } => written,
        }
    }

    /// Each call begins when the one before has begun: it is polled once before the next one is made.
    async fn handle_in_order(
        &self,
        mut received: mpsc::Receiver<Received>,
        answers: mpsc::Sender<Answered>,
    ) {
        let mut handling = FuturesOrdered::new();
        let mut is_open = true;
        while is_open || !handling.is_empty() {
            tokio::select! {
                biased;
                Some((answered, room)) = handling.next() => {
                    drop::<OwnedSemaphorePermit>(room);
                    if answers.send(answered).await.is_err() {
                        return;
                    }
                }
                request = received.recv(), if is_open && handling.len() < TOGETHER_MAX => {
                    let Some(request) = request else {
                        is_open = false;
                        continue;
                    };
                    let answer = self.service.call(&self.caller, request.kind, request.body);
                    handling.push_back(async move { ((request.id, answer.await), request.room) });
                }
            }
        }
    }

    async fn handle_together(
        &self,
        mut received: mpsc::Receiver<Received>,
        answers: mpsc::Sender<Answered>,
    ) {
        let mut handling = JoinSet::new();
        loop {
            let request = tokio::select! {
                Some(ended) = handling.join_next() => {
                    log_panic(ended);
                    continue;
                }
                request = received.recv(), if handling.len() < TOGETHER_MAX => request,
            };
            let Some(request) = request else { break };
            let answer = self.service.call(&self.caller, request.kind, request.body);
            let answers = answers.clone();
            handling.spawn(async move {
                let answer = answer.await;
                drop(request.room);
                // Fails only if the connection has ended.
                answers.send((request.id, answer)).await.unwrap_or_default();
            });
        }
        while let Some(ended) = handling.join_next().await {
            log_panic(ended);
        }
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an answer to another node ended by a panic");
    }
}

async fn read_requests(
    mut frames: FrameReader<ReadHalf<LinkStream>>,
    requests: mpsc::Sender<Received>,
) -> io::Result<()> {
    let units = Arc::new(Semaphore::new(RECEIVED_BYTES_MAX / UNIT));
    while let Some(head) = frames.head().await? {
        let Tag::Request(kind) = head.tag else {
            return Err(io::Error::other("a frame that is no request"));
        };
        let wanted = (head.length / UNIT + 1).min(RECEIVED_BYTES_MAX / UNIT);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let room = Arc::clone(&units).acquire_many_owned(wanted).await;
        let received = Received {
            id: head.id,
            kind,
            body: frames.body(head.length).await?,
            room: room.map_err(io::Error::other)?,
        };
        if requests.send(received).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn write_answers(
    mut stream: WriteHalf<LinkStream>,
    mut answered: mpsc::Receiver<Answered>,
) -> io::Result<()> {
    let mut outgoing = Outgoing::default();
    let mut gathered = Vec::new();
    while answered.recv_many(&mut gathered, GATHERED_MAX).await > 0 {
        for (id, answer) in gathered.drain(..) {
            match answer {
                Ok(body) if body.len() <= FRAME_MAX => outgoing.push(id, Tag::Answer, [body]),
                Ok(_) => outgoing.push(id, Tag::Refusal, ["an answer that is too large".into()]),
                Err(Refusal(text)) => outgoing.push(id, Tag::Refusal, [text.into()]),
            }
        }
        outgoing.write_to(&mut stream).await?;
    }
    Ok(())
}
