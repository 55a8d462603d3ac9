//! The broker's side of the socket: accepts, reads one request, carries it out, writes the events. Only the owner of the
//! data directory can connect.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, Take,
};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::commands;
use super::context::{Context, Host, InSet};
use super::exit_code::{EX_DATAERR, EX_UNAVAILABLE};
use super::input::Input;
use super::outcome::{Failure, Outcome, Reply};
use super::protocol::{CTL_STREAM, Event, LINE_BYTES_MAX, Request, SOCKET, TEXT_BYTES_MAX};
use super::verbs::{VERBS, Verb, changes};
use crate::definitions_file::{DOCUMENT_BYTES_MAX, Progress};
use crate::logging;

/// Maximum number of commands in progress. More wait to be accepted.
const CLIENTS_MAX: usize = 16;
/// Time that a client has to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Events are written in pieces of about this many bytes.
const WRITE_BYTES: usize = 64 * 1024;
/// Length of the content behind a request, in bytes.
const CONTENT_BYTES_MAX: usize = DOCUMENT_BYTES_MAX;
/// Time that a client has to send it.
const CONTENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a client hears how far a long verb has come.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Binds the socket of a data directory. Replaces a socket that an earlier run left behind: the caller holds the lock of
/// the directory.
pub(crate) fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves commands until this future is dropped.
pub(crate) async fn serve(listener: UnixListener, host: Host) {
    let slots = Arc::new(Semaphore::new(CLIENTS_MAX));
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let host = host.clone();
                clients.spawn(async move {
                    if let Err(error) = converse(stream, &host).await {
                        warn!(%error, "a ctl command was interrupted");
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

/// Serves one command that another node of the set has passed on.
pub(crate) async fn serve_passed(stream: impl AsyncRead + AsyncWrite + Send + 'static, host: Host) {
    if let Err(error) = converse(stream, &host).await {
        debug!(%error, "a ctl command of another node was interrupted");
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite, host: &Host) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut line = Vec::new();
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut read = BufReader::new(read.take(bound));
    tokio::time::timeout(REQUEST_TIMEOUT, read.read_until(b'\n', &mut line)).await??;
    let request: Request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            return send(
                &mut write,
                &[failed(Failure::plain(
                    EX_DATAERR,
                    format!("Error: {error}"),
                ))],
            )
            .await;
        }
    };
    let content = match request.content {
        0 => Vec::new(),
        length if length > CONTENT_BYTES_MAX => {
            let text = format!("Error: a file has at most {CONTENT_BYTES_MAX} bytes");
            return send(&mut write, &[failed(Failure::plain(EX_DATAERR, text))]).await;
        }
        length => {
            let whole = read_content(&mut read, length);
            tokio::time::timeout(CONTENT_TIMEOUT, whole).await??
        }
    };
    if request.verb == Verb::LogTailStream {
        return follow_log(&request, &mut write).await;
    }
    if let Some(in_set) = &host.set
        && host.context().is_none()
        && !commands::is_for_each_node(&request)
    {
        line.extend_from_slice(&content);
        return pass_on(in_set, &line, &mut write).await;
    }
    let outcome = if host.set.is_some() && commands::is_about_the_set(&request) {
        // Without the broker, which may end meanwhile.
        commands::carry_out_in_set(host, &request).await
    } else if let Some(ctx) = host.context() {
        tokio::select! {
            outcome = carry_out(&ctx, &request, content, &mut write) => outcome,
            () = host.ended() => Err(commands::no_broker()),
        }
    } else {
        commands::carry_out_alone(host, &request).await
    };
    log(&request, outcome.as_ref().err());
    match outcome {
        Ok(Reply::Done) => send(&mut write, &[Event::Done]).await?,
        Ok(Reply::Message(text)) => send(&mut write, &[Event::Message(text), Event::Done]).await?,
        Ok(Reply::Text(text)) => {
            let pieces = Pieces { text, taken: 0 };
            send(&mut write, pieces.chain([Event::Done])).await?;
        }
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
        Err(failure) => send(&mut write, &[failed(failure)]).await?,
    }
    if request.verb.ends_the_process() {
        // The client waits for the end of the process, which closes the socket.
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Has the leader of the set carry out a command, and passes on what it says.
async fn pass_on(
    in_set: &InSet,
    request: &[u8],
    write: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<()> {
    let leader = match in_set.current.get() {
        Some(set) => set
            .open_to_leader(CTL_STREAM)
            .await
            .map_err(|error| error.to_string()),
        None => Err("this node takes no part in its set now".to_owned()),
    };
    let mut leader = match leader {
        Ok(leader) => leader,
        Err(text) => {
            let failure = Failure::error(EX_UNAVAILABLE, text);
            return send(write, &[failed(failure)]).await;
        }
    };
    leader.write_all(request).await?;
    leader.flush().await?;
    tokio::io::copy(&mut leader, write).await?;
    Ok(())
}

fn failed(failure: Failure) -> Event {
    let Failure { exit, text, json } = failure;
    Event::Failed { exit, text, json }
}

/// Reads what is behind the line of a request.
async fn read_content<R: AsyncRead + Unpin>(
    read: &mut BufReader<Take<R>>,
    length: usize,
) -> io::Result<Vec<u8>> {
    let bound = u64::try_from(length).unwrap_or(u64::MAX);
    read.get_mut().set_limit(bound);
    let mut content = Vec::new();
    read.take(bound).read_to_end(&mut content).await?;
    match content.len() == length {
        true => Ok(content),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Sends further lines of the log until the duration is over or the client leaves.
async fn follow_log(request: &Request, write: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
    let lasts = match request.options.get("duration").map(|text| text.parse()) {
        None => Duration::MAX,
        Some(Ok(seconds)) => Duration::from_secs(seconds),
        Some(Err(_)) => {
            let text = "Bad argument: --duration";
            return send(write, &[failed(Failure::error(EX_DATAERR, text))]).await;
        }
    };
    let log = logging::last_lines();
    let mut count = log.count();
    let mut seen = *count.borrow_and_update();
    let follow = async {
        while count.changed().await.is_ok() {
            let (lines, now) = log.since(seen);
            seen = now;
            let lines = lines.into_iter().map(|line| Event::Text(line + "\n"));
            send(write, lines).await?;
        }
        Ok(())
    };
    match tokio::time::timeout(lasts, follow).await {
        Ok(ended) => ended,
        Err(_) => send(write, &[Event::Done]).await,
    }
}

/// Carries out the verb of a request. Tells the client how far it has come, as long as the client is there.
async fn carry_out(
    ctx: &Context,
    request: &Request,
    content: Vec<u8>,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> Outcome {
    let (progress, seen) = watch::channel(Progress::default());
    let input = Input {
        content,
        progress: &progress,
    };
    let mut work = pin!(commands::carry_out(ctx, request, input));
    let mut told = Progress::default();
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    loop {
        tokio::select! {
            outcome = &mut work => return outcome,
            _ = ticks.tick() => {
                let now = *seen.borrow();
                if now != told {
                    told = now;
                    let Progress { done, total } = now;
                    let sent = send(write, &[Event::Progress { done, total }]).await;
                    if sent.is_err() && request.verb.ends_with_its_client() {
                        return Err(Failure::error(EX_UNAVAILABLE, "the client has left"));
                    }
                }
            }
        }
    }
}

/// Pieces of a text that fit into a line each.
struct Pieces {
    text: String,
    /// How much of it was taken.
    taken: usize,
}

impl Iterator for Pieces {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let rest = self.text.get(self.taken..)?;
        let piece = rest.get(..rest.floor_char_boundary(TEXT_BYTES_MAX))?;
        self.taken += piece.len();
        (!piece.is_empty()).then(|| Event::Text(piece.to_owned()))
    }
}

/// Logs a verb with its arguments, without secrets. Verbs that change nothing are logged at debug level.
fn log(request: &Request, failure: Option<&Failure>) {
    let Some(spec) = VERBS.iter().find(|spec| spec.verb == request.verb) else {
        return;
    };
    let words = request.for_log();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_goes_in_pieces_that_fit_into_lines() {
        let text = "ü\u{1}".repeat(TEXT_BYTES_MAX);
        let pieces = Pieces {
            text: text.clone(),
            taken: 0,
        };
        let mut joined = String::new();
        for event in pieces {
            let line = serde_json::to_string(&event).unwrap();
            assert!(line.len() < LINE_BYTES_MAX);
            match event {
                Event::Text(piece) => joined += &piece,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(joined, text);
    }
}
