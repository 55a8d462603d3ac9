//! Connections to endpoints: opened to addresses that were checked, kept a while for the next push, bounded per host
//! and port. Follows no redirect: an endpoint must not send the broker elsewhere.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::PushConfig;
use super::request::Push;
use super::resolver::Resolver;
use super::target::Target;
use crate::clock::monotonic;

/// How long a connection is kept that nothing is pushed over.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long, and how many bytes, of an answer's body are read so that its connection can be kept.
const BODY_TIME_MAX: Duration = Duration::from_secs(1);
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Why an endpoint did not take a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in time")]
    Timeout,
    #[error("cannot connect: {0}")]
    Connect(#[from] io::Error),
    #[error("there is no such request")]
    NoRequest,
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the queue is full, or gone")]
    Refused,
}

type Sender = SendRequest<Full<Bytes>>;

/// All hosts and ports that messages are pushed to.
#[derive(Debug)]
pub(super) struct Endpoints {
    by_authority: Mutex<HashMap<String, Arc<Endpoint>>>,
    places: usize,
    kept: Arc<Semaphore>,
    resolver: Arc<Resolver>,
}

/// One host and port.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// One for each push that may be under way.
    pub(super) places: Semaphore,
    idle: Mutex<Vec<Idle>>,
    /// One for each connection to whatever endpoint that may be kept idle.
    kept: Arc<Semaphore>,
    resolver: Arc<Resolver>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
    _kept: OwnedSemaphorePermit,
}

impl Endpoints {
    /// None yet.
    pub(super) fn new(config: &PushConfig, resolver: Arc<Resolver>) -> Endpoints {
        Endpoints {
            by_authority: Mutex::default(),
            places: config.endpoint_connections_max,
            kept: Arc::new(Semaphore::new(config.connections_max)),
            resolver,
        }
    }

    /// The one that a target is at.
    pub(super) fn at(&self, target: &Target) -> Arc<Endpoint> {
        let mut by_authority = self.by_authority.lock();
        let key = target.authority.to_ascii_lowercase();
        let endpoint = by_authority.entry(key).or_insert_with(|| {
            Arc::new(Endpoint {
                places: Semaphore::new(self.places),
                idle: Mutex::default(),
                kept: Arc::clone(&self.kept),
                resolver: Arc::clone(&self.resolver),
            })
        });
        Arc::clone(endpoint)
    }

    /// Closes connections that were not used for long, and forgets endpoints that nobody uses.
    pub(super) fn tidy(&self) {
        let now = monotonic();
        self.by_authority.lock().retain(|_, endpoint| {
            let mut idle = endpoint.idle.lock();
            idle.retain(|idle| !idle.sender.is_closed() && is_fresh(idle, now));
            !idle.is_empty() || Arc::strong_count(endpoint) > 1
        });
    }
}

impl Endpoint {
    /// Pushes; the caller has a place.
    pub(super) async fn push(
        &self,
        target: &Target,
        push: &Push,
        config: &PushConfig,
    ) -> Result<(), Failure> {
        let exchange = timeout(config.timeout, self.exchange(target, push, config));
        let (sender, status, body) = exchange.await.map_err(|_| Failure::Timeout)??;
        if matches!(timeout(BODY_TIME_MAX, read(body)).await, Ok(true)) {
            self.keep(sender);
        }
        match status.is_success() {
            true => Ok(()),
            false => Err(Failure::Status(status)),
        }
    }

    async fn exchange(
        &self,
        target: &Target,
        push: &Push,
        config: &PushConfig,
    ) -> Result<(Sender, StatusCode, Incoming), Failure> {
        if let Some(sender) = self.take_idle()
            && let Some(answered) = send(sender, push).await?
        {
            return Ok(answered);
        }
        // Nothing of the push has left yet: the endpoint had closed the connection that was kept, which is no failure.
        let sender = connect(target, config, &self.resolver).await?;
        let answered = send(sender, push).await?;
        answered.ok_or_else(|| Failure::Connect(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Keeps a connection for the next push, if there is room for that.
    fn keep(&self, sender: Sender) {
        if let Ok(kept) = Arc::clone(&self.kept).try_acquire_owned() {
            let since = monotonic();
            self.idle.lock().push(Idle {
                sender,
                since,
                _kept: kept,
            });
        }
    }

    fn take_idle(&self) -> Option<Sender> {
        let now = monotonic();
        let mut idle = self.idle.lock();
        while let Some(last) = idle.pop() {
            if !last.sender.is_closed() && is_fresh(&last, now) {
                return Some(last.sender);
            }
        }
        None
    }
}

fn is_fresh(idle: &Idle, now: Instant) -> bool {
    now.duration_since(idle.since) < IDLE_MAX
}

/// Connects to the first of the target's addresses that answers. Each has its share of the time.
async fn connect(
    target: &Target,
    config: &PushConfig,
    resolver: &Resolver,
) -> Result<Sender, Failure> {
    let addresses = target.addresses(config, resolver).await?;
    let share = config.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut refused = io::Error::from(io::ErrorKind::TimedOut);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                let (sender, connection) = Builder::new()
                    .max_buf_size(HEAD_BYTES_MAX)
                    .handshake(TokioIo::new(stream))
                    .await?;
                // It ends when the sender is dropped.
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%address, %error, "connection to an endpoint ended");
                    }
                });
                return Ok(sender);
            }
            Ok(Err(error)) => refused = error,
            Err(_) => {}
        }
    }
    Err(refused.into())
}

/// Sends a push, once. `None` if the connection was closed before anything of it was sent; if it was closed later the
/// endpoint may have the message.
async fn send(
    mut sender: Sender,
    push: &Push,
) -> Result<Option<(Sender, StatusCode, Incoming)>, hyper::Error> {
    if sender.ready().await.is_err() {
        return Ok(None);
    }
    match sender.try_send_request(push.request()).await {
        Ok(answer) => Ok(Some((sender, answer.status(), answer.into_body()))),
        Err(mut failed) => match failed.take_message() {
            Some(_unsent) => Ok(None),
            None => Err(failed.into_error()),
        },
    }
}

/// Reads a body to its end; whether it came there.
async fn read(mut body: Incoming) -> bool {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > BODY_BYTES_MAX {
            return false;
        }
    }
    true
}
