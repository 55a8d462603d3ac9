//! One subscription's worker: takes messages from its queue, has several pushes under way, and says what becomes of
//! each. A message that was not taken is held on until it is time to try again; then it is the first of its queue. So
//! how often it was tried and when it is tried next is what the queue knows of it, on disk.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::front::Front;
use super::super::topics::{Endpoint, Subscription, Topic, TopicId};
use super::LEASE_MARGIN;
use super::connections::{Endpoints, Failure};
use super::request::Push;
use super::retry::{BACKOFF_SECS, outstanding_max, wait_secs};
use super::target::Target;
use crate::broker::queue::{Hand, Queue, Received};
use crate::clock::monotonic;
use crate::model::Name;
use crate::seldom::Seldom;

/// How long a worker waits for a message before it looks around.
const WAIT: Duration = Duration::from_secs(30);
/// How often a worker looks whether a message that it waits for is to be tried again: so often in a second of the retry
/// strategies, within bounds.
const LOOKS_PER_SECOND: u32 = 8;
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(250);
/// How long a push waits for a place before its lease is made longer.
const PLACE_WAIT: Duration = Duration::from_secs(5);

/// Lines that the log has in [`FAILURES_LOGGED_EVERY`] on pushes of one subscription that failed; others are counted.
const FAILURES_LOGGED_MAX: u64 = 3;
/// See [`FAILURES_LOGGED_MAX`].
const FAILURES_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// What all workers share.
pub(super) struct Shared {
    pub(super) front: Arc<Front>,
    pub(super) endpoints: Endpoints,
    /// One place for each push that may be under way.
    pub(super) places: Semaphore,
}

/// Which subscription a worker works for.
#[derive(Clone, Debug)]
pub(super) struct Which {
    pub(super) topic: TopicId,
    pub(super) name: Name,
    pub(super) id: u64,
}

/// A subscription as it is now.
#[derive(Clone)]
struct Subject {
    topic: Arc<Topic>,
    subscription: Arc<Subscription>,
    /// Where its messages wait.
    queue: Arc<Queue>,
    /// Where they go.
    target: Arc<Destination>,
    /// Lines of the log on pushes that failed.
    failures: Arc<Seldom>,
}

enum Destination {
    Http(Target),
    Queue(Arc<Queue>),
}

impl Shared {
    fn subject(&self, which: &Which, failures: &Arc<Seldom>) -> Option<Subject> {
        let found = self.front.topics.subscribed(which.topic, &which.name)?;
        let vhost = self.front.broker.vhost(&found.topic.vhost)?;
        let queue = found.subscription.waiting(&vhost, &found.topic)?;
        let target = Arc::new(match &found.subscription.endpoint {
            Endpoint::Http { url, .. } => Destination::Http(Target::parse(url).ok()?),
            Endpoint::Queue { .. } => {
                Destination::Queue(found.subscription.queue(&vhost, &found.topic)?)
            }
        });
        (found.subscription.id == which.id).then_some(Subject {
            topic: found.topic,
            subscription: found.subscription,
            queue,
            target,
            failures: Arc::clone(failures),
        })
    }
}

/// Works until the subscription is gone, or `stopped` is true; then what is under way is brought to its end.
pub(super) async fn work(shared: Arc<Shared>, which: Which, mut stopped: watch::Receiver<bool>) {
    let config = &shared.front.config.push;
    let look = (config.second / LOOKS_PER_SECOND).clamp(LOOK_MIN, LOOK_MAX);
    let failures = Arc::new(Seldom::new(FAILURES_LOGGED_MAX, FAILURES_LOGGED_EVERY));
    let mut pushes = JoinSet::new();
    while let Some(subject) = shared.subject(&which, &failures) {
        let most = outstanding_max(subject.subscription.strategy);
        let is_busy = pushes.len() >= config.endpoint_connections_max
            || subject.queue.counts().unacked >= most;
        let received = async {
            match is_busy {
                true => {
                    sleep(look).await;
                    Ok(None)
                }
                false => subject.queue.receive(1, WAIT).await.map(Some),
            }
        };
        let hand = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(ended) = pushes.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a push ended by a panic");
                }
                continue;
            }
            hand = received => hand,
        };
        match hand {
            Ok(Some(hand)) if !hand.messages.is_empty() => {
                pushes.spawn(deliver(Arc::clone(&shared), subject, hand));
            }
            Ok(_) => {}
            // The queue is gone, and the subscription with it.
            Err(_) => break,
        }
    }
    while pushes.join_next().await.is_some() {}
}

/// Delivers one message. Until it is known what becomes of it the hand is not kept, so that it goes back at once if the
/// broker stops. That it is held need not be on disk before: if that is lost, it is delivered again.
async fn deliver(shared: Arc<Shared>, subject: Subject, hand: Hand) {
    let Some(received) = hand.messages.first().cloned() else {
        return;
    };
    match &*subject.target {
        Destination::Http(target) => {
            let outcome = push(&shared, &subject, target, &received).await;
            settle(&shared, &subject, hand, &received, outcome);
        }
        Destination::Queue(queue) => {
            // It leaves one queue in the batch in which it enters the other.
            let _one_batch = shared.front.broker.committer().batch_guard();
            let outcome = offer(queue, &received);
            settle(&shared, &subject, hand, &received, outcome);
        }
    }
}

/// Posts a message, when there is a place for that.
async fn push(
    shared: &Shared,
    subject: &Subject,
    target: &Target,
    received: &Received,
) -> Result<(), Failure> {
    let endpoint = shared.endpoints.at(target);
    let _places = (
        place(shared, &endpoint.places, &subject.queue, received).await,
        place(shared, &shared.places, &subject.queue, received).await,
    );
    let config = &shared.front.config.push;
    let clock = shared.front.broker.clock();
    let left_ms = received.visible.ms().saturating_sub(clock.now_ms());
    if Duration::from_millis(left_ms) < config.timeout + LEASE_MARGIN / 2 {
        prolong(shared, &subject.queue, received);
    }
    let id = shared.front.request_ids.next();
    let (topic, subscription) = (&subject.topic, &subject.subscription);
    let enqueued_secs = clock.wall_ms_at(received.enqueued) / 1000;
    match Push::new(target, topic, subscription, received, enqueued_secs, id) {
        Some(push) => endpoint.push(target, &push, config).await,
        None => Err(Failure::NoRequest),
    }
}

/// Offers a message to a queue that did not take it before.
fn offer(queue: &Queue, received: &Received) -> Result<(), Failure> {
    let published = queue.publish(std::slice::from_ref(&received.message));
    match published.rejected.is_empty() && !queue.is_deleted() {
        true => Ok(()),
        false => Err(Failure::Refused),
    }
}

/// Says what becomes of a message.
fn settle(
    shared: &Shared,
    subject: &Subject,
    hand: Hand,
    received: &Received,
    outcome: Result<(), Failure>,
) {
    let strategy = subject.subscription.strategy;
    let again = match &outcome {
        Ok(()) => None,
        Err(_) => wait_secs(strategy, received.count, rand::random_range(BACKOFF_SECS)),
    };
    let (topic, subscription) = (&subject.topic.name, &subject.subscription.name);
    let attempt = received.count;
    match (outcome, again) {
        (Ok(()), _) => {}
        (Err(error), Some(secs)) => {
            if let Some(unsaid) = subject.failures.passes(monotonic()) {
                tracing::info!(%topic, %subscription, attempt, again_secs = secs, %error, %unsaid, "a push failed");
            }
        }
        (Err(error), None) => {
            tracing::warn!(%topic, %subscription, attempt, %error, "a message is dropped: its last push failed");
        }
    }
    drop(hand.keep());
    match again {
        Some(secs) => {
            let second = shared.front.config.push.second;
            let wait = second.saturating_mul(u32::try_from(secs).unwrap_or(u32::MAX));
            subject.queue.prolong(received.handle, wait);
        }
        None => {
            subject.queue.delete_received(&[received.handle]);
        }
    }
}

/// Waits for a place, and holds the message for as long as that takes.
async fn place<'a>(
    shared: &Shared,
    places: &'a Semaphore,
    queue: &Queue,
    received: &Received,
) -> Option<SemaphorePermit<'a>> {
    let mut acquire = std::pin::pin!(places.acquire());
    loop {
        match timeout(PLACE_WAIT, acquire.as_mut()).await {
            // The semaphores are never closed.
            Ok(place) => return place.ok(),
            Err(_) => prolong(shared, queue, received),
        }
    }
}

fn prolong(shared: &Shared, queue: &Queue, received: &Received) {
    let lease = shared.front.config.push.timeout + LEASE_MARGIN;
    // None: it is gone, with its queue. The push is one too many then.
    queue.prolong(received.handle, lease);
}
