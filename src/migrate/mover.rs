//! Moves the messages of one queue: opens its links, pumps, and opens them again when they break. The source takes
//! back what it has no ack for, in its old order, so the first copies of all messages keep their order at the target.

use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;

use super::carry::{Carry, Entrance};
use super::error::MoveError;
use super::inventory::{QueueKind, SourceQueue};
use super::limits::{CLOSE, IDLE_CHECK, OTHER_RUN_WAIT, PATIENCE, RETRY, RETRY_MAX, STREAM_IDLE};
use super::management::Management;
use super::state::{QueueKey, QueueState, StateFile};
use super::streams::{OFFSET, Offsets};
use crate::model::amqp_uri::AmqpUri;
use crate::shovel::link::{self, Client, Consume, Link};
use crate::shovel::progress::{Numbers, Progress};
use crate::shovel::pump::{AckMode, Pump};
use crate::wire::{AMQPValue, FieldTable};

/// What the brokers' operators see of the connections and consumers.
const CONNECTION_NAME: &str = "leveret migrate";
const CONSUMER_TAG: &str = "leveret-migrate";

/// When a queue is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    WhenEmpty,
    /// Only when the run is stopped.
    Never,
}

pub(super) struct Mover {
    /// The source's management API.
    pub(super) management: Arc<Management>,
    pub(super) from: AmqpUri,
    pub(super) to: AmqpUri,
    pub(super) entrance: Entrance,
    pub(super) prefetch: u16,
    pub(super) state: Arc<StateFile>,
    pub(super) stop: watch::Receiver<bool>,
    /// Prints a line for people.
    pub(super) say: Box<dyn Fn(&str) + Send + Sync>,
}

impl Mover {
    /// Moves messages until the queue is left. Broken connections are opened again for a while.
    pub(super) async fn move_queue(
        &self,
        queue: &SourceQueue,
        leave: Leave,
    ) -> Result<(), MoveError> {
        let key = QueueKey::new(&queue.vhost, &queue.name);
        let mut pause = RETRY;
        let mut last_moved = Instant::now();
        let mut confirmed = self.state.queue(&key).confirmed;
        loop {
            let Err(error) = self.attempt(queue, &key, leave).await else {
                return Ok(());
            };
            let now_confirmed = self.state.queue(&key).confirmed;
            if now_confirmed > confirmed {
                confirmed = now_confirmed;
                (pause, last_moved) = (RETRY, Instant::now());
            }
            if !error.is_passing() || self.is_stopped() || last_moved.elapsed() > PATIENCE {
                return Err(error);
            }
            (self.say)(&format!(
                "queue '{}' in vhost '{}': {error}; trying again",
                queue.name, queue.vhost
            ));
            self.pause(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits, but not longer than the run lasts.
    pub(super) async fn pause(&self, duration: Duration) {
        tokio::select! {
            () = sleep(duration) => {}
            () = self.stopped() => {}
        }
    }

    async fn stopped(&self) {
        // Without a sender the run is over.
        drop(self.stop.clone().wait_for(|stopped| *stopped).await);
    }

    async fn attempt(
        &self,
        queue: &SourceQueue,
        key: &QueueKey,
        leave: Leave,
    ) -> Result<(), MoveError> {
        // A stream gives nothing back; RabbitMQ lists its consumers long after their end.
        if queue.kind != QueueKind::Stream {
            self.wait_alone(queue).await?;
        }
        let (mut source, mut target) = (self.source(queue).await?, self.target(queue).await?);
        let mut watcher = self.source(queue).await?;
        let found = target.find_queue(&queue.name).await;
        found
            .map_err(MoveError::Target)?
            .ok_or(MoveError::NoQueue)?;
        target.select_confirms().await.map_err(MoveError::Target)?;
        let offsets = (queue.kind == QueueKind::Stream).then(|| Offsets::of(&self.state, key));
        let before = self.state.queue(key);
        self.consume(&mut source, queue, &before)
            .await
            .map_err(MoveError::Source)?;
        let carry = Carry {
            queue: queue.name.clone(),
            kind: queue.kind,
            entrance: self.entrance,
            offsets,
        };
        let progress = Arc::new(Progress::default());
        let mode = AckMode::OnConfirm;
        let mut pump = Pump::new(source, target, mode, None, carry, Arc::clone(&progress));
        let mut watched = Ok(());
        let ended = pump
            .run(async {
                watched = self
                    .until_left(&mut watcher, queue, key, leave, &before, &progress)
                    .await;
            })
            .await;
        self.note(queue.kind, key, &before, &progress.numbers());
        if let Some(offsets) = &pump.forward().offsets {
            self.state.change(key, |state| {
                state.flagged = before.flagged + offsets.again();
                state.reserved_offset = offsets.published();
            });
        }
        pump.close(CLOSE).await;
        watcher.close(CLOSE).await;
        ended?;
        watched
    }

    /// Waits until the source has noticed the end of an earlier connection. It gives the messages of that one back only
    /// then, and they must come before those that this attempt takes.
    async fn wait_alone(&self, queue: &SourceQueue) -> Result<(), MoveError> {
        let vhost = utf8_percent_encode(&queue.vhost, NON_ALPHANUMERIC);
        let path = format!("api/consumers/{vhost}");
        let since = Instant::now();
        loop {
            let consumers = self.management.get(&path).await;
            let consumers = consumers.map_err(|error| MoveError::Consumers(Box::new(error)))?;
            let is_ours = |row: &Value| {
                row.pointer("/queue/name").and_then(Value::as_str) == Some(queue.name.as_str())
                    && row.get("consumer_tag").and_then(Value::as_str) == Some(CONSUMER_TAG)
            };
            if !consumers.as_array().into_iter().flatten().any(is_ours) || self.is_stopped() {
                return Ok(());
            }
            if since.elapsed() > OTHER_RUN_WAIT {
                return Err(MoveError::OtherRun);
            }
            self.pause(IDLE_CHECK).await;
        }
    }

    async fn source(&self, queue: &SourceQueue) -> Result<Link, MoveError> {
        open(&self.from, &queue.vhost)
            .await
            .map_err(MoveError::Source)
    }

    async fn target(&self, queue: &SourceQueue) -> Result<Link, MoveError> {
        open(&self.to, &queue.vhost)
            .await
            .map_err(MoveError::Target)
    }

    async fn consume(
        &self,
        source: &mut Link,
        queue: &SourceQueue,
        before: &QueueState,
    ) -> Result<(), link::LinkError> {
        source.limit_unacked(self.prefetch).await?;
        let mut arguments = FieldTable::default();
        if queue.kind == QueueKind::Stream {
            let from = match before.next_offset {
                0 => AMQPValue::LongString("first".into()),
                next => AMQPValue::LongLongInt(i64::try_from(next).unwrap_or(i64::MAX)),
            };
            arguments.insert(OFFSET.into(), from);
        }
        let consume = Consume {
            queue: &queue.name,
            consumer_tag: CONSUMER_TAG,
            no_ack: false,
            arguments: &arguments,
        };
        source.consume(&consume).await
    }

    /// Waits for the time to leave the queue, and meanwhile notes how far the pump has come.
    async fn until_left(
        &self,
        watcher: &mut Link,
        queue: &SourceQueue,
        key: &QueueKey,
        leave: Leave,
        before: &QueueState,
        progress: &Progress,
    ) -> Result<(), MoveError> {
        let mut last = Numbers::default();
        let mut idle_since = Instant::now();
        loop {
            self.pause(IDLE_CHECK).await;
            let numbers = progress.numbers();
            self.note(queue.kind, key, before, &numbers);
            if self.is_stopped() {
                return Ok(());
            }
            if queue.kind == QueueKind::Stream && numbers.refused > 0 {
                return Err(MoveError::StreamRefused);
            }
            if numbers.forwarded != last.forwarded || numbers.unconfirmed > 0 {
                idle_since = Instant::now();
            }
            last = numbers;
            let ready = watcher.find_queue(&queue.name).await;
            let ready = ready.map_err(MoveError::Source)?.ok_or(MoveError::Gone)?;
            let is_empty = match queue.kind {
                QueueKind::Classic | QueueKind::Quorum => {
                    ready == 0 && idle_since.elapsed() >= IDLE_CHECK
                }
                QueueKind::Stream => idle_since.elapsed() >= STREAM_IDLE,
            };
            if is_empty && leave == Leave::WhenEmpty {
                return Ok(());
            }
        }
    }

    /// Adds the numbers of this attempt to those before it.
    fn note(&self, kind: QueueKind, key: &QueueKey, before: &QueueState, numbers: &Numbers) {
        // A refused message of a stream is never given back, so the copy does not pass it.
        let is_copied = kind == QueueKind::Stream && numbers.refused == 0;
        self.state.change(key, |state| {
            state.confirmed = before.confirmed + numbers.confirmed;
            state.flagged = before.flagged + numbers.redelivered;
            state.refused = before.refused + numbers.refused;
            if let Some(offset) = numbers.settled_mark.filter(|_| is_copied) {
                state.next_offset = offset + 1;
            }
        });
    }
}

/// Opens a link in a virtual host of a broker.
pub(super) async fn open(uri: &AmqpUri, vhost: &str) -> Result<Link, link::LinkError> {
    let mut uri = uri.clone();
    vhost.clone_into(&mut uri.vhost);
    let client = Client {
        connection_name: CONNECTION_NAME,
        local: None,
    };
    link::open(&uri, &client).await
}
