//! Which workers there are: one for each subscription with a queue of its own in which messages wait. Also looks after what was deleted over
//! AMQP behind the API's back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::super::front::Front;
use super::connections::Endpoints;
use super::worker::{Shared, Which, work};

/// How often deletions over AMQP and idle connections are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(5);

impl Front {
    /// Pushes messages of subscriptions to their endpoints until `stopped` is true (or its sender is gone), then returns
    /// when the last push has ended. Dropping this future drops all: what was under way is pushed again.
    pub async fn push(self: Arc<Front>, mut stopped: watch::Receiver<bool>) {
        let config = &self.config.push;
        let shared = Arc::new(Shared {
            endpoints: Endpoints::new(config, Arc::clone(&self.resolver)),
            places: Semaphore::new(config.connections_max),
            front: Arc::clone(&self),
        });
        let mut changes = self.topics.changes();
        let mut ticks = interval(TIDY_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut workers = Workers::default();
        let mut generation = None;
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => break,
                // The front door has the other end.
                _ = changes.changed() => {}
                Some(ended) = workers.tasks.join_next_with_id() => {
                    workers.ended(ended);
                    // Not at once, or one that cannot work would be started without end.
                    continue;
                }
                _ = ticks.tick() => {
                    shared.endpoints.tidy();
                    let now = self.generation();
                    if generation != Some(now) {
                        generation = Some(now);
                        self.tidy();
                    }
                }
            }
            changes.borrow_and_update();
            workers.start(&shared, &stopped);
        }
        while let Some(ended) = workers.tasks.join_next_with_id().await {
            workers.ended(ended);
        }
    }

    /// Changes with every change of routing in any virtual host.
    fn generation(&self) -> u64 {
        let vhosts = self.broker.vhost_list();
        let sum = vhosts.iter().map(|vhost| vhost.generation());
        sum.fold(0, u64::wrapping_add)
    }
}

/// The workers, by subscription.
#[derive(Default)]
struct Workers {
    tasks: JoinSet<()>,
    by_subscription: HashMap<u64, task::Id>,
}

impl Workers {
    /// Starts those that are missing.
    fn start(&mut self, shared: &Arc<Shared>, stopped: &watch::Receiver<bool>) {
        for subscribed in shared.front.topics.all_subscriptions() {
            let subscription = &subscribed.subscription;
            let waits = subscription.endpoint.waiting_id().is_some();
            if !waits || self.by_subscription.contains_key(&subscription.id) {
                continue;
            }
            let which = Which {
                topic: subscribed.id,
                name: subscription.name.clone(),
                id: subscription.id,
            };
            let task = self
                .tasks
                .spawn(work(Arc::clone(shared), which, stopped.clone()));
            self.by_subscription.insert(subscription.id, task.id());
        }
    }

    fn ended(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a worker that pushes ended by a panic");
                error.id()
            }
        };
        self.by_subscription.retain(|_, worker| *worker != id);
    }
}
