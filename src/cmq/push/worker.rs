//! The worker of one subscription: receives messages from its waiting queue, runs several pushes, and deletes each message
//! or prolongs its lease until the next attempt, when it is the first of its queue again. So only the queue knows, on
//! disk, how often a message was tried and when it is tried next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::config::LEASE_MARGIN;
use super::connections::{Connections, Failure};
use super::request::Push;
use super::retry::{BACKOFF_SECS, outstanding_max, wait_secs};
use super::target::Target;
use crate::broker::queue::{Queue, Received, ReceivedBatch};
use crate::clock::monotonic;
use crate::cmq::api::Api;
use crate::cmq::topics::{Endpoint, Subscription, Topic, TopicId};
use crate::model::Name;
use crate::seldom::Seldom;

/// How long a worker waits for a message before it looks at its subscription again.
const WAIT: Duration = Duration::from_secs(30);
/// How often a worker that has enough messages looks whether it may receive more, per second of the retry strategies.
const LOOKS_PER_SECOND: u32 = 8;
/// Shortest time between two looks.
const LOOK_MIN: Duration = Duration::from_millis(5);
/// Longest time between two looks.
const LOOK_MAX: Duration = Duration::from_millis(250);
/// How often the lease of a message is prolonged while its push waits for a permit.
const PERMIT_WAIT: Duration = Duration::from_secs(5);

/// Log lines per [`FAILURES_LOGGED_EVERY`] about failed pushes of one subscription. Further failures are only counted.
const FAILURES_LOGGED_MAX: u64 = 3;
/// See [`FAILURES_LOGGED_MAX`].
const FAILURES_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What all workers share.
pub(super) struct Shared {
    pub(super) api: Arc<Api>,
    pub(super) connections: Connections,
    /// One for each concurrent push.
    pub(super) push_permits: Semaphore,
}

/// The subscription of a worker.
#[derive(Clone, Debug)]
pub(super) struct WorkerId {
    pub(super) topic: TopicId,
    pub(super) name: Name,
    pub(super) subscription: u64,
}

/// What a worker needs to know of its subscription, looked up anew for each message.
#[derive(Clone)]
struct Work {
    topic: Arc<Topic>,
    subscription: Arc<Subscription>,
    /// Where its messages wait.
    queue: Arc<Queue>,
    destination: Arc<Destination>,
    /// Log lines about failed pushes.
    failures: Arc<Seldom>,
}

enum Destination {
    Http(Target),
    Queue(Arc<Queue>),
}

impl Shared {
    /// `None` if the subscription is gone.
    fn work_of(&self, worker: &WorkerId, failures: &Arc<Seldom>) -> Option<Work> {
        let found = self.api.topics.subscribed(worker.topic, &worker.name)?;
        let vhost = self.api.broker.vhost(&found.topic.vhost)?;
        let queue = found.subscription.waiting(&vhost, &found.topic)?;
        let destination = Arc::new(match &found.subscription.endpoint {
            Endpoint::Http { url, .. } => Destination::Http(Target::parse(url).ok()?),
            Endpoint::Queue { .. } => {
                Destination::Queue(found.subscription.queue(&vhost, &found.topic)?)
            }
        });
        (found.subscription.id == worker.subscription).then_some(Work {
            topic: found.topic,
            subscription: found.subscription,
            queue,
            destination,
            failures: Arc::clone(failures),
        })
    }
}

/// Works until the subscription is gone or `stopped` is true; then waits for the pushes that have begun.
pub(super) async fn work(
    shared: Arc<Shared>,
    worker: WorkerId,
    mut stopped: watch::Receiver<bool>,
) {
    let config = &shared.api.config.push;
    let look = (config.second / LOOKS_PER_SECOND).clamp(LOOK_MIN, LOOK_MAX);
    let failures = Arc::new(Seldom::new(FAILURES_LOGGED_MAX, FAILURES_LOGGED_EVERY));
    let mut pushes = JoinSet::new();
    while let Some(work) = shared.work_of(&worker, &failures) {
        let outstanding_max = outstanding_max(work.subscription.strategy);
        let is_busy = pushes.len() >= config.endpoint_connections_max
            || work.queue.counts().unacked >= outstanding_max;
        let received = async {
            match is_busy {
                true => {
                    sleep(look).await;
                    Ok(None)
                }
                false => work.queue.receive(1, WAIT).await.map(Some),
            }
        };
        let batch = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(ended) = pushes.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a push panicked");
                }
                continue;
            }
            batch = received => batch,
        };
        match batch {
            Ok(Some(batch)) if !batch.messages.is_empty() => {
                pushes.spawn(deliver(Arc::clone(&shared), work, batch));
            }
            Ok(_) => {}
            // The queue is gone, and the subscription with it.
            Err(_) => break,
        }
    }
    while pushes.join_next().await.is_some() {}
}

/// Delivers one message. Accepts the received batch only when the outcome is known, so that the message returns
/// immediately if the broker stops. Does not wait until the lease is on disk: a crash that loses the lease only repeats
/// the delivery.
async fn deliver(shared: Arc<Shared>, work: Work, batch: ReceivedBatch) {
    let Some(received) = batch.messages.first().cloned() else {
        return;
    };
    match &*work.destination {
        Destination::Http(target) => {
            let outcome = push(&shared, &work, target, &received).await;
            conclude(&shared, &work, batch, &received, outcome);
        }
        Destination::Queue(queue) => {
            // The message leaves one queue in the batch in which it enters the other.
            let _one_batch = shared.api.broker.committer().batch_guard();
            let outcome = offer(queue, &received);
            conclude(&shared, &work, batch, &received, outcome);
        }
    }
}

/// Posts a message when there are permits for it.
async fn push(
    shared: &Shared,
    work: &Work,
    target: &Target,
    received: &Received,
) -> Result<(), Failure> {
    let host = shared.connections.to(target);
    let _permits = (
        acquire(shared, &host.push_permits, &work.queue, received).await,
        acquire(shared, &shared.push_permits, &work.queue, received).await,
    );
    if !shared.api.broker.mandate().decided().await {
        return Err(Failure::NotLeading);
    }
    let config = &shared.api.config.push;
    let clock = shared.api.broker.clock();
    let left_ms = received.visible.ms().saturating_sub(clock.now_ms());
    if Duration::from_millis(left_ms) < config.timeout + LEASE_MARGIN / 2 {
        prolong(shared, &work.queue, received);
    }
    let id = shared.api.request_ids.next();
    let (topic, subscription) = (&work.topic, &work.subscription);
    let enqueued_secs = clock.wall_ms_at(received.enqueued) / 1000;
    match Push::new(target, topic, subscription, received, enqueued_secs, id) {
        Some(push) => host.push(target, &push, config).await,
        None => Err(Failure::NoRequest),
    }
}

/// Offers a message to a queue that was too full to take it before.
fn offer(queue: &Queue, received: &Received) -> Result<(), Failure> {
    let published = queue.publish(std::slice::from_ref(&received.message));
    match published.rejected.is_empty() && !queue.is_deleted() {
        true => Ok(()),
        false => Err(Failure::Refused),
    }
}

/// Ends an attempt: deletes the message, or prolongs its lease until the next attempt.
fn conclude(
    shared: &Shared,
    work: &Work,
    batch: ReceivedBatch,
    received: &Received,
    outcome: Result<(), Failure>,
) {
    let strategy = work.subscription.strategy;
    let again = match &outcome {
        Ok(()) => None,
        Err(_) => wait_secs(strategy, received.count, rand::random_range(BACKOFF_SECS)),
    };
    let (topic, subscription) = (&work.topic.name, &work.subscription.name);
    let attempt = received.count;
    match (outcome, again) {
        (Ok(()), _) => {}
        (Err(error), Some(secs)) => {
            if let Some(unsaid) = work.failures.passes(monotonic()) {
                tracing::info!(%topic, %subscription, attempt, retry_secs = secs, %error, %unsaid, "push failed");
            }
        }
        (Err(error), None) => {
            tracing::warn!(%topic, %subscription, attempt, %error, "last push failed, message dropped");
        }
    }
    drop(batch.accept());
    match again {
        Some(secs) => {
            let second = shared.api.config.push.second;
            let wait = second.saturating_mul(u32::try_from(secs).unwrap_or(u32::MAX));
            work.queue.prolong(received.handle, wait);
        }
        None => {
            work.queue.delete_received(&[received.handle]);
        }
    }
}

/// Waits for a permit, and prolongs the lease of the message meanwhile.
async fn acquire<'a>(
    shared: &Shared,
    permits: &'a Semaphore,
    queue: &Queue,
    received: &Received,
) -> Option<SemaphorePermit<'a>> {
    let mut acquire = std::pin::pin!(permits.acquire());
    loop {
        match timeout(PERMIT_WAIT, acquire.as_mut()).await {
            // The semaphores are never closed.
            Ok(permit) => return permit.ok(),
            Err(_) => prolong(shared, queue, received),
        }
    }
}

fn prolong(shared: &Shared, queue: &Queue, received: &Received) {
    // If the message is gone with its queue, this changes nothing, and the push is one too many.
    queue.prolong(received.handle, shared.api.config.push.lease());
}
