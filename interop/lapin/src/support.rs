//! Shared by the checks: the environment, failures, deadlines, small requests.

use std::{env, fmt::Debug, process, time::Duration};

use futures_lite::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, Consumer,
    message::{BasicGetMessage, Delivery},
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};

/// The longest wait for something that must happen.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The wait for something that must not happen.
pub const QUIET: Duration = Duration::from_millis(300);
/// Number of messages in the checks that send many.
pub const MESSAGES: usize = 200;

/// Why a check did not pass.
#[derive(Debug)]
pub enum Failure {
    /// The check cannot run here.
    Skip(&'static str),
    /// The check saw something unexpected.
    Text(String),
}

impl Failure {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        Self::Text(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Text(error.to_string())
    }
}

pub type Outcome<T = ()> = Result<T, Failure>;

/// The broker's URL, with a vhost.
pub fn broker_url() -> String {
    env::var("AMQP_URL").unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into())
}

/// A queue or exchange name that no other run uses.
pub fn name(suffix: &str) -> ShortString {
    format!("interop.lapin.{}.{suffix}", process::id()).into()
}

/// Fails with both values unless they are equal.
pub fn equal<T: PartialEq + Debug>(what: &str, got: T, want: T) -> Outcome {
    if got == want {
        return Ok(());
    }
    Err(Failure::text(format!("{what}: got {got:?}, want {want:?}")))
}

/// Asserts a protocol error with this code and text.
pub fn expect_close<T>(code: u16, text: &str, result: lapin::Result<T>) -> Outcome {
    let Err(error) = result else {
        return Err(Failure::text(format!("no error, wanted {code}")));
    };
    match error.kind() {
        lapin::ErrorKind::ProtocolError(closed) => {
            equal("reply code", closed.get_id(), code)?;
            if closed.get_message().as_str().contains(text) {
                return Ok(());
            }
            Err(Failure::text(format!("{closed} lacks {text:?}")))
        }
        other => Err(Failure::text(format!("{other:?} is no protocol error"))),
    }
}

/// The shell command that restarts the broker; skips the check if there is none.
pub fn require_restart() -> Outcome<String> {
    env::var("INTEROP_RESTART").map_err(|_| Failure::Skip("the broker cannot be restarted"))
}

/// Kills the broker and starts it on the same data; returns once it greets.
pub async fn restart_broker(command: &str) -> Outcome {
    let status = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .status()
        .await?;
    equal("restart command", status.success(), true)
}

/// A channel in confirm mode.
pub async fn confirm_channel(connection: &Connection) -> Outcome<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(Default::default()).await?;
    Ok(channel)
}

/// An exclusive queue that the broker names.
pub async fn temporary(channel: &Channel) -> Outcome<ShortString> {
    let queue = channel
        .queue_declare("".into(), QueueDeclareOptions::exclusive(), FieldTable::default())
        .await?;
    Ok(queue.name().clone())
}

/// Publishes through the default exchange and waits for the confirm if the channel is in confirm mode.
pub async fn publish(channel: &Channel, queue: &ShortString, body: &[u8]) -> Outcome {
    publish_with(channel, "".into(), queue, body, BasicProperties::default()).await
}

/// Publishes with an exchange and properties; a confirm, if any, must be an ack without a return.
pub async fn publish_with(
    channel: &Channel,
    exchange: ShortString,
    key: &ShortString,
    body: &[u8],
    properties: BasicProperties,
) -> Outcome {
    let confirm = channel
        .basic_publish(exchange, key.clone(), BasicPublishOptions::default(), body, properties)
        .await?
        .await?;
    if confirm.is_ack() || !channel.status().confirm() {
        return equal("returned message", confirm.take_message(), None);
    }
    Err(Failure::text("the broker refused the message"))
}

/// Polls for one message with basic.get until the deadline and leaves it unacked.
pub async fn take(channel: &Channel, queue: &ShortString) -> Outcome<BasicGetMessage> {
    let get = async {
        loop {
            if let Some(message) = channel.basic_get(queue.clone(), BasicGetOptions::default()).await? {
                return Ok(message);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(DEADLINE, get).await {
        Ok(message) => message,
        Err(_) => Err(Failure::text(format!("no message in {queue} within {DEADLINE:?}"))),
    }
}

/// Takes and acks everything in the queue.
pub async fn drain(channel: &Channel, queue: &ShortString) -> Outcome<Vec<Vec<u8>>> {
    let mut bodies = Vec::new();
    while let Some(message) = channel
        .basic_get(queue.clone(), BasicGetOptions { no_ack: true })
        .await?
    {
        bodies.push(message.delivery.data);
    }
    Ok(bodies)
}

/// The bodies of [`MESSAGES`] messages.
pub fn numbers() -> Vec<Vec<u8>> {
    (0..MESSAGES).map(|i| i.to_string().into_bytes()).collect()
}

/// The number of ready messages, by passive declare.
pub async fn count(channel: &Channel, queue: &ShortString) -> Outcome<u32> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    Ok(channel
        .queue_declare(queue.clone(), passive, FieldTable::default())
        .await?
        .message_count())
}

/// Takes `wanted` deliveries and asserts that no other follows.
pub async fn receive(consumer: &mut Consumer, wanted: usize) -> Outcome<Vec<Delivery>> {
    let mut taken = Vec::new();
    while taken.len() < wanted {
        match tokio::time::timeout(DEADLINE, consumer.next()).await {
            Ok(Some(delivery)) => taken.push(delivery?),
            _ => return Err(Failure::text(format!("{} of {wanted} deliveries came", taken.len()))),
        }
    }
    match tokio::time::timeout(QUIET, consumer.next()).await {
        Ok(further) => Err(Failure::text(format!("after {wanted} deliveries came {further:?}"))),
        Err(_) => Ok(taken),
    }
}
