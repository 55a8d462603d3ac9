//! One shovel from its start to its end: connects both ends, pumps, and after a failure waits and tries again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::link::{self, Client, Consume, Link, LinkError, LocalDoor, QueueToDeclare};
use super::progress::Progress;
use super::publication::{ShovelForward, Way};
use super::pump::{End, Pump, PumpError};
use super::status::{Ends, ShovelState, ShovelStatus};
use crate::broker::broker::Broker;
use crate::broker::parameters::ShovelKey;
use crate::model::amqp_uri::AmqpUri;
use crate::model::shovel::{
    AckMode, DeleteAfter, ShovelDefinition, ShovelDestination, ShovelQueue, ShovelSource,
};
use crate::wire::FieldTable;

/// How long a pump that is told to stop waits for confirms.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long the closing of a connection may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// [`Worker::remaining`] of a shovel without end.
const ENDLESS: u64 = u64::MAX;

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has moved all that it was told to, or its time is over: its definition can be deleted.
    Complete,
    /// It was stopped, or has failed and has no delay.
    Ended,
}

/// One shovel.
pub(super) struct Worker {
    pub(super) key: ShovelKey,
    definition: Arc<ShovelDefinition>,
    broker: Arc<Broker>,
    local: Arc<dyn LocalDoor>,
    state: Mutex<(ShovelState, u64)>,
    progress: Arc<Progress>,
    remaining: AtomicU64,
}

enum Failure {
    /// At one end, before messages move.
    Open(&'static str, LinkError),
    Pump(PumpError),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Open(end, error) => write!(f, "{end}: {error}"),
            Failure::Pump(error) => error.fmt(f),
        }
    }
}

impl Worker {
    pub(super) fn new(
        key: ShovelKey,
        definition: ShovelDefinition,
        broker: Arc<Broker>,
        local: Arc<dyn LocalDoor>,
    ) -> Worker {
        let remaining = match definition.delete_after {
            DeleteAfter::Messages(count) => count,
            DeleteAfter::Never | DeleteAfter::QueueLength => ENDLESS,
        };
        let now = broker.clock().wall_ms();
        Worker {
            key,
            definition: Arc::new(definition),
            broker,
            local,
            state: Mutex::new((ShovelState::Starting, now)),
            progress: Arc::default(),
            remaining: AtomicU64::new(remaining),
        }
    }

    pub(super) fn status(&self) -> ShovelStatus {
        let (state, changed_ms) = self.state.lock().clone();
        let (vhost, name) = self.key.clone();
        ShovelStatus {
            vhost,
            name,
            state,
            changed_ms,
            numbers: self.progress.numbers(),
        }
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.remaining.load(Relaxed)).filter(|left| *left != ENDLESS)
    }

    /// Runs until `stop` is true.
    pub(super) async fn run(&self, mut stop: watch::Receiver<bool>) -> Outcome {
        loop {
            let failure = match self.move_messages(&stop).await {
                Ok(End::Complete) => return Outcome::Complete,
                Ok(End::Stopped) => return Outcome::Ended,
                Err(failure) => failure,
            };
            self.failed(&failure);
            let Some(delay) = self.definition.reconnect_delay else {
                return Outcome::Ended;
            };
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = stop.wait_for(|stop| *stop) => return Outcome::Ended,
            }
        }
    }

    /// Logs the first failure of several with the same reason.
    fn failed(&self, failure: &Failure) {
        let (vhost, name) = &self.key;
        let reason = failure.to_string();
        let state = ShovelState::Terminated { reason };
        let mut known = self.state.lock();
        if known.0 != state {
            tracing::warn!(shovel = %name, %vhost, "shovel is broken: {failure}");
            *known = (state, self.broker.clock().wall_ms());
        }
    }

    fn runs(&self, ends: Ends) {
        let (vhost, name) = &self.key;
        let (from, to) = (&ends.source_uri, &ends.destination_uri);
        tracing::info!(shovel = %name, %vhost, "shovel runs from {from} to {to}");
        *self.state.lock() = (ShovelState::Running(ends), self.broker.clock().wall_ms());
    }

    async fn move_messages(&self, stop: &watch::Receiver<bool>) -> Result<End, Failure> {
        let mut stop = stop.clone();
        let opened = tokio::select! {
            opened = self.open() => opened?,
            _ = stop.wait_for(|stop| *stop) => return Ok(End::Stopped),
        };
        let Some((mut pump, ends)) = opened else {
            return Ok(End::Complete);
        };
        self.runs(ends);
        let duration = self.definition.delete_after_duration;
        let deadline = duration.map(|duration| Instant::now() + duration);
        let given_up = async {
            stopped(stop.clone(), deadline).await;
            tokio::time::sleep(STOP_PATIENCE).await;
        };
        let end = tokio::select! {
            end = pump.run(stopped(stop.clone(), deadline)) => end,
            () = given_up => Ok(End::Stopped),
        };
        let end = match end {
            Ok(End::Stopped) if is_over(deadline) && !*stop.borrow() => Ok(End::Complete),
            end => end,
        };
        if let Some(left) = pump.remaining() {
            self.remaining.store(left, Relaxed);
        }
        pump.close(CLOSE_PATIENCE).await;
        end.map_err(Failure::Pump)
    }

    /// Opens both ends. `None` if no message is left to move.
    async fn open(&self) -> Result<Option<(Pump<ShovelForward>, Ends)>, Failure> {
        let definition = &self.definition;
        let (destination, destination_uri) = self
            .connect(&definition.destination_uris)
            .await
            .map_err(at("destination"))?;
        let (source, source_uri) = self
            .connect(&definition.source_uris)
            .await
            .map_err(at("source"))?;
        let destination = self
            .prepare_destination(destination)
            .await
            .map_err(at("destination"))?;
        let Some(source) = self.prepare_source(source).await.map_err(at("source"))? else {
            destination.close(CLOSE_PATIENCE).await;
            return Ok(None);
        };
        let ends = Ends {
            source_uri: source_uri.to_string(),
            destination_uri: destination_uri.to_string(),
            definition: Arc::clone(definition),
        };
        let way = Way {
            cluster_name: &self.broker.cluster_name(),
            vhost: &self.key.0,
            name: &self.key.1,
            source_uri: ends.source_uri.clone(),
            destination_uri: ends.destination_uri.clone(),
        };
        let forward = ShovelForward::new(definition, &way, Arc::clone(self.broker.clock()));
        let pump = Pump::new(
            source,
            destination,
            definition.ack_mode,
            self.remaining(),
            forward,
            Arc::clone(&self.progress),
        );
        Ok(Some((pump, ends)))
    }

    /// Tries all URIs, in random order, until one can be opened.
    async fn connect<'a>(&self, uris: &'a [AmqpUri]) -> Result<(Link, &'a AmqpUri), LinkError> {
        let mut uris: Vec<&AmqpUri> = uris.iter().collect();
        uris.shuffle(&mut rand::rng());
        let connection_name = format!("Shovel {}", self.key.1);
        let client = Client {
            connection_name: &connection_name,
            local: Some(&*self.local),
        };
        let mut last = LinkError::Refused("there are no URIs".to_owned());
        for uri in uris {
            match link::open(uri, &client).await {
                Ok(link) => return Ok((link, uri)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn prepare_destination(&self, mut link: Link) -> Result<Link, LinkError> {
        if let ShovelDestination::Queue(queue) = &self.definition.to {
            find_or_declare(&mut link, queue).await?;
        }
        if self.definition.ack_mode == AckMode::OnConfirm {
            link.select_confirms().await?;
        }
        Ok(link)
    }

    /// Starts the consumer. `None` if no message is left to move.
    async fn prepare_source(&self, mut link: Link) -> Result<Option<Link>, LinkError> {
        let definition = &self.definition;
        let (queue, ready) = match &definition.from {
            ShovelSource::Queue(queue) => {
                let ready = find_or_declare(&mut link, queue).await?;
                (queue.name.clone(), ready)
            }
            ShovelSource::Exchange { exchange, key } => {
                let temporary = QueueToDeclare {
                    name: "",
                    durable: false,
                    exclusive: true,
                    arguments: &FieldTable::default(),
                };
                let (queue, ready) = link.declare_queue(&temporary).await?;
                link.bind(&queue, exchange, key).await?;
                (queue, ready)
            }
        };
        if self.definition.delete_after == DeleteAfter::QueueLength && self.remaining().is_none() {
            // After a failure the rest of these messages is left, not those that came meanwhile.
            self.remaining.store(ready.into(), Relaxed);
        }
        if self.remaining() == Some(0) {
            link.close(CLOSE_PATIENCE).await;
            return Ok(None);
        }
        let no_ack = definition.ack_mode == AckMode::NoAck;
        if !no_ack {
            link.limit_unacked(definition.prefetch).await?;
        }
        let consume = Consume {
            queue: &queue,
            consumer_tag: &definition.consumer_tag,
            no_ack,
            arguments: &definition.consumer_arguments,
        };
        link.consume(&consume).await?;
        Ok(Some(link))
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Waits until the shovel is told to stop, or its time is over.
async fn stopped(mut stop: watch::Receiver<bool>, deadline: Option<Instant>) {
    let over = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // An error means that the sender is gone, which is a stop too.
        _ = stop.wait_for(|stop| *stop) => {}
        () = over => {}
    }
}

fn at(end: &'static str) -> impl Fn(LinkError) -> Failure {
    move |error| Failure::Open(end, error)
}

/// The number of ready messages of a queue. Declares it durable if it does not exist, unless it has to.
async fn find_or_declare(link: &mut Link, queue: &ShovelQueue) -> Result<u32, LinkError> {
    match link.find_queue(&queue.name).await? {
        Some(ready) => Ok(ready),
        None if queue.predeclared => {
            let text = format!("there is no queue '{}'", queue.name);
            Err(LinkError::Refused(text))
        }
        None => {
            let declare = QueueToDeclare {
                name: &queue.name,
                durable: true,
                exclusive: false,
                arguments: &queue.arguments,
            };
            Ok(link.declare_queue(&declare).await?.1)
        }
    }
}
