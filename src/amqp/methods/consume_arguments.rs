//! The arguments of `basic.consume`, checked in RabbitMQ's order and refused with its texts.

use super::super::connection_state::ConnectionState;
use super::super::error::{Code, Refusal};
use super::super::limits::ARGUMENT_LOGGED_MAX;
use crate::broker::queue::Queue;
use crate::model::arguments::{
    ArgumentError, CONSUMER_TIMEOUT, QueueKind, VISIBILITY_TIMEOUT, consumer_timeout_ms,
    integer_value, type_name, visibility_timeout_ms,
};
use crate::model::stream::{
    STREAM_FILTER, STREAM_MATCH_UNFILTERED, STREAM_OFFSET, StreamFault, StreamFilter, StreamOffset,
    StreamStart,
};
use crate::wire::FieldTable;
use crate::wire::protocol::basic::Consume;

const PRIORITY: &str = "x-priority";
/// Arguments that only streams know.
const STREAM_ARGUMENTS: &[&str] = &[STREAM_OFFSET, STREAM_FILTER, STREAM_MATCH_UNFILTERED];
/// Arguments that streams do not know.
const WORK_ARGUMENTS: &[&str] = &[PRIORITY, VISIBILITY_TIMEOUT];

pub(super) struct ConsumeArguments {
    /// Where a consumer of a stream begins.
    pub(super) stream: Option<StreamStart>,
    pub(super) priority: i32,
    /// `x-consumer-timeout`.
    pub(super) timeout_ms: Option<u64>,
    /// `x-visibility-timeout`, which overrides the queue's.
    pub(super) visibility_timeout_ms: Option<u64>,
}

impl ConsumeArguments {
    /// `prefetch` is the channel's.
    pub(super) fn check(
        m: &Consume,
        prefetch: u16,
        queue: &Queue,
        connection: &ConnectionState,
    ) -> Result<ConsumeArguments, Refusal> {
        check_names(&m.arguments, queue, connection)?;
        Ok(ConsumeArguments {
            stream: stream_start(m, prefetch, queue, connection)?,
            priority: priority(&m.arguments, queue, connection)?,
            timeout_ms: timeout_ms(&m.arguments, queue, connection)?,
            visibility_timeout_ms: visibility_timeout(&m.arguments, queue, connection)?,
        })
    }
}

/// A queue as refusals name it.
pub(super) fn described(queue: &Queue, connection: &ConnectionState) -> String {
    let vhost = connection.shared.session.vhost.name();
    format!("queue '{}' in vhost '{vhost}'", queue.name())
}

/// Refuses arguments that the queue's type does not know.
fn check_names(
    arguments: &FieldTable,
    queue: &Queue,
    connection: &ConnectionState,
) -> Result<(), Refusal> {
    let kind = queue.spec().arguments.kind;
    let unknown = match kind {
        QueueKind::Classic | QueueKind::Quorum => STREAM_ARGUMENTS,
        QueueKind::Stream => WORK_ARGUMENTS,
    };
    for argument in unknown {
        if arguments.contains_key(argument) {
            let (queue, kind) = (described(queue, connection), kind.long_name());
            let text = format!("invalid arg '{argument}' for {queue} of queue type {kind}");
            return Err(Refusal::new(Code::PreconditionFailed, text));
        }
    }
    Ok(())
}

fn stream_start(
    m: &Consume,
    prefetch: u16,
    queue: &Queue,
    connection: &ConnectionState,
) -> Result<Option<StreamStart>, Refusal> {
    if queue.spec().arguments.kind != QueueKind::Stream {
        return Ok(None);
    }
    let wall_ms = connection.clock().wall_ms();
    let offset = StreamOffset::parse(&m.arguments, wall_ms).map_err(|fault| match fault {
        StreamFault::Invalid(fault) => invalid(STREAM_OFFSET, &fault, queue, connection),
        senseless @ StreamFault::Senseless { .. } => crash(&senseless, queue, connection),
    })?;
    if prefetch == 0 {
        let queue = described(queue, connection);
        let text = format!("consumer prefetch count is not set for stream {queue}");
        return Err(Refusal::new(Code::PreconditionFailed, text));
    }
    if m.no_ack {
        let queue = described(queue, connection);
        let text = format!("automatic acknowledgement not supported by stream {queue}");
        return Err(Refusal::new(Code::NotImplemented, text));
    }
    let filter =
        StreamFilter::parse(&m.arguments).map_err(|fault| crash(&fault, queue, connection))?;
    Ok(Some(StreamStart { offset, filter }))
}

/// The refusal where RabbitMQ's channel crashes. It does not name the argument, so the log does.
fn crash(fault: &StreamFault, queue: &Queue, connection: &ConnectionState) -> Refusal {
    if let StreamFault::Senseless { argument, value } = fault {
        let connection = &connection.shared.name;
        let value: String = value.chars().take(ARGUMENT_LOGGED_MAX).collect();
        tracing::info!(%connection, queue = %queue.name(), argument, ?value, "unreadable consumer argument");
    }
    Refusal::crash()
}

/// `x-priority`: any integer, cut to 32 bits.
fn priority(
    arguments: &FieldTable,
    queue: &Queue,
    connection: &ConnectionState,
) -> Result<i32, Refusal> {
    let Some(value) = arguments.inner().get(PRIORITY) else {
        return Ok(0);
    };
    let Some(priority) = integer_value(value) else {
        let fault = format!("\"expected integer, got {}\"", type_name(value));
        return Err(invalid(PRIORITY, &fault, queue, connection));
    };
    let furthest = if priority < 0 { i32::MIN } else { i32::MAX };
    Ok(i32::try_from(priority).unwrap_or(furthest))
}

fn visibility_timeout(
    arguments: &FieldTable,
    queue: &Queue,
    connection: &ConnectionState,
) -> Result<Option<u64>, Refusal> {
    visibility_timeout_ms(arguments).map_err(|ArgumentError { argument, fault }| {
        invalid(argument, &fault.to_string(), queue, connection)
    })
}

/// `x-consumer-timeout`. Quorum queues check it, as in RabbitMQ 4.3. Other queues ignore a value that is not
/// a positive integer, as in 4.0.
fn timeout_ms(
    arguments: &FieldTable,
    queue: &Queue,
    connection: &ConnectionState,
) -> Result<Option<u64>, Refusal> {
    if queue.spec().arguments.kind == QueueKind::Quorum {
        return consumer_timeout_ms(arguments).map_err(|ArgumentError { argument, fault }| {
            invalid(argument, &fault.to_string(), queue, connection)
        });
    }
    let value = arguments.inner().get(CONSUMER_TIMEOUT);
    let timeout_ms = value
        .and_then(integer_value)
        .and_then(|value| u64::try_from(value).ok());
    Ok(timeout_ms.filter(|timeout| *timeout > 0))
}

fn invalid(argument: &str, fault: &str, queue: &Queue, connection: &ConnectionState) -> Refusal {
    let queue = described(queue, connection);
    let text = format!("invalid arg '{argument}' for {queue}: {fault}");
    Refusal::new(Code::PreconditionFailed, text)
}
