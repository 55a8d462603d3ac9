//! The broker's side of the socket: accepts, reads one request, carries it out, writes the events. Only the owner of
//! the data directory can connect.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::args::EX_DATAERR;
use super::handle::{self, Failure, Reply};
use super::protocol::{Event, LINE_BYTES_MAX, Request, SOCKET};
use super::verbs::{VERBS, Verb, changes};
use crate::broker::alarms::Alarms;
use crate::broker::broker::Broker;
use crate::broker::connections::Connections;
use crate::broker::limits::Limits;
use crate::broker::users::Users;
use crate::memory::MemoryMonitor;
use crate::model::Name;

/// Commands that may be carried out at once; more wait to be accepted.
const CLIENTS_AT_ONCE: usize = 16;
/// Time that a client has to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Events are written in pieces of about this many bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// What an operator asks of the process as a whole.
#[derive(Debug)]
pub enum NodeCommand {
    /// Close listeners and connections.
    StopApp(oneshot::Sender<()>),
    /// Open the listeners again; the text is why that failed.
    StartApp(oneshot::Sender<Result<(), String>>),
    /// End the process in good order.
    Stop,
    /// Close listeners and connections for good; the process is about to end.
    End(oneshot::Sender<()>),
}

/// The process as operators see it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Taken by the server's main task.
    pub commands: mpsc::Sender<NodeCommand>,
    /// Whether clients are served.
    pub running: watch::Receiver<bool>,
    /// Addresses that are listened on for AMQP.
    pub listeners: Arc<[std::net::SocketAddr]>,
    /// Addresses that are listened on for CMQ's HTTP API.
    pub cmq_listeners: Arc<[std::net::SocketAddr]>,
    /// The data directory.
    pub data_dir: Arc<Path>,
    /// When the process started.
    pub started: Instant,
}

impl Node {
    pub(super) fn is_running(&self) -> bool {
        *self.running.borrow()
    }
}

/// Everything that verbs act on.
pub struct Context {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The process.
    pub node: Node,
    /// The alarms.
    pub alarms: Arc<Alarms>,
    /// The watch over memory.
    pub memory: Arc<MemoryMonitor>,
}

impl Context {
    pub(super) fn users(&self) -> &Users {
        self.broker.users()
    }

    pub(super) fn limits(&self) -> &Limits {
        self.broker.limits()
    }

    pub(super) fn connections(&self) -> &Connections {
        self.broker.connections()
    }

    pub(super) fn vhost_names(&self) -> Vec<Name> {
        self.broker
            .vhost_list()
            .iter()
            .map(|vhost| vhost.name().clone())
            .collect()
    }

    pub(super) fn has_vhost(&self, name: &str) -> bool {
        self.broker.vhost(name).is_some()
    }
}

/// Takes the socket of a data directory that the caller holds the lock of: one that is there is left over.
pub fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves commands until it is dropped.
pub async fn serve(listener: UnixListener, ctx: Arc<Context>) {
    let slots = Arc::new(Semaphore::new(CLIENTS_AT_ONCE));
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let ctx = Arc::clone(&ctx);
                clients.spawn(async move {
                    if let Err(error) = converse(stream, &ctx).await {
                        warn!(%error, "a ctl command was cut off");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "cannot accept a ctl command");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, ctx: &Context) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = Vec::new();
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut read = BufReader::new(read.take(bound));
    tokio::time::timeout(REQUEST_TIMEOUT, read.read_until(b'\n', &mut line)).await??;
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            return send(
                &mut write,
                &[Event::Failed(EX_DATAERR, format!("Error: {error}"))],
            )
            .await;
        }
    };
    let outcome = handle::handle(ctx, &request).await;
    log(&request, outcome.as_ref().err());
    match outcome {
        Ok(Reply::Done) => send(&mut write, &[Event::Done]).await?,
        Ok(Reply::Message(text)) => send(&mut write, &[Event::Message(text), Event::Done]).await?,
        Ok(Reply::Report { text, json }) => {
            send(&mut write, &[Event::Report { text, json }, Event::Done]).await?
        }
        Ok(Reply::Table { columns, rows }) => {
            let rows = rows.into_iter().map(Event::Row);
            send(
                &mut write,
                std::iter::once(Event::Columns(columns))
                    .chain(rows)
                    .chain([Event::Done]),
            )
            .await?;
        }
        Err(failure) => send(&mut write, &[Event::Failed(failure.exit, failure.text)]).await?,
    }
    if request.verb == Verb::Stop {
        // The command waits for the end of the process, which closes the socket.
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// What is changed is logged with its arguments, but for secrets.
fn log(request: &Request, failure: Option<&Failure>) {
    let Some(spec) = VERBS.iter().find(|spec| spec.verb == request.verb) else {
        return;
    };
    let words = request.shown();
    match failure {
        _ if !changes(request.verb) => debug!(verb = spec.name, ?words, "ctl"),
        None => info!(verb = spec.name, ?words, "ctl"),
        Some(failure) => info!(
            verb = spec.name,
            ?words,
            exit = failure.exit,
            "ctl: refused"
        ),
    }
}

async fn send<E: std::borrow::Borrow<Event>>(
    write: &mut (impl AsyncWriteExt + Unpin),
    events: impl IntoIterator<Item = E>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    for event in events {
        serde_json::to_writer(&mut buffer, event.borrow())?;
        buffer.push(b'\n');
        if buffer.len() >= WRITE_BYTES {
            write.write_all(&buffer).await?;
            buffer.clear();
        }
    }
    write.write_all(&buffer).await
}
