//! Connections to endpoints: opened only to allowed addresses, kept for the next push, and bounded per host and port.
//! Follows no redirects, so that an endpoint cannot send the broker elsewhere.
//!
//! The pool is our own, since hyper-util's client has no common bound over the idle connections of all hosts.

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

use super::config::PushConfig;
use super::request::Push;
use super::resolver::Resolver;
use super::target::Target;
use crate::clock::monotonic;

/// How long an idle connection is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Time that a response's body may take. A connection is kept only after a whole body.
const BODY_TIME_MAX: Duration = Duration::from_secs(1);
/// Size of such a body in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Size of a response's head in bytes.
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
    #[error("this node does not lead its set any more")]
    NotLeading,
    #[error("the queue is full, or gone")]
    Refused,
}

type Sender = SendRequest<Full<Bytes>>;

/// The connections to all hosts and ports.
#[derive(Debug)]
pub(super) struct Connections {
    by_authority: Mutex<HashMap<String, Arc<HostConnections>>>,
    pushes_max: usize,
    idle_permits: Arc<Semaphore>,
    resolver: Arc<Resolver>,
}

/// The connections to one host and port.
#[derive(Debug)]
pub(super) struct HostConnections {
    /// One for each concurrent push.
    pub(super) push_permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
    /// One for each idle connection to any host.
    idle_permits: Arc<Semaphore>,
    resolver: Arc<Resolver>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(config: &PushConfig, resolver: Arc<Resolver>) -> Connections {
        Connections {
            by_authority: Mutex::default(),
            pushes_max: config.endpoint_connections_max,
            idle_permits: Arc::new(Semaphore::new(config.connections_max)),
            resolver,
        }
    }

    /// The connections to a target's host and port.
    pub(super) fn to(&self, target: &Target) -> Arc<HostConnections> {
        let mut by_authority = self.by_authority.lock();
        let key = target.authority.to_ascii_lowercase();
        let host = by_authority.entry(key).or_insert_with(|| {
            Arc::new(HostConnections {
                push_permits: Semaphore::new(self.pushes_max),
                idle: Mutex::default(),
                idle_permits: Arc::clone(&self.idle_permits),
                resolver: Arc::clone(&self.resolver),
            })
        });
        Arc::clone(host)
    }

    /// Closes connections that were not used for long, and forgets hosts that no push uses.
    pub(super) fn tidy(&self) {
        let now = monotonic();
        self.by_authority.lock().retain(|_, host| {
            let mut idle = host.idle.lock();
            idle.retain(|idle| !idle.sender.is_closed() && is_fresh(idle, now));
            !idle.is_empty() || Arc::strong_count(host) > 1
        });
    }
}

impl HostConnections {
    /// Pushes a message. The caller has one of the `push_permits`.
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
        // Nothing of the push has left yet: that the endpoint had closed the idle connection is no failure.
        let sender = connect(target, config, &self.resolver).await?;
        let answered = send(sender, push).await?;
        answered.ok_or_else(|| Failure::Connect(io::ErrorKind::ConnectionAborted.into()))
    }

    /// Keeps a connection for the next push, unless too many are idle.
    fn keep(&self, sender: Sender) {
        if let Ok(permit) = Arc::clone(&self.idle_permits).try_acquire_owned() {
            let since = monotonic();
            self.idle.lock().push(Idle {
                sender,
                since,
                _permit: permit,
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

/// Connects to the first of the target's addresses that accepts. Each has an equal share of the timeout.
async fn connect(
    target: &Target,
    config: &PushConfig,
    resolver: &Resolver,
) -> Result<Sender, Failure> {
    let addresses = target.addresses(config, resolver).await?;
    let share = config.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last_error = io::Error::from(io::ErrorKind::TimedOut);
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                let (sender, connection) = Builder::new()
                    .max_buf_size(HEAD_BYTES_MAX)
                    .handshake(TokioIo::new(stream))
                    .await?;
                // The task ends when the sender is dropped.
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%address, %error, "connection to an endpoint ended");
                    }
                });
                return Ok(sender);
            }
            Ok(Err(error)) => last_error = error,
            Err(_) => {}
        }
    }
    Err(last_error.into())
}

/// Sends a push once. Returns `None` if the connection was closed before anything was sent. If it was closed later, the
/// endpoint may have the message, and the result is an error.
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

/// Reads a body to its end. Returns false if it is too large or breaks off.
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
