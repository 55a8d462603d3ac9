//! Runs one worker for each subscription that has a queue of waiting messages. Also forgets regularly what was deleted
//! over AMQP, which does not tell the API.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::connections::Connections;
use super::worker::{Shared, WorkerId, work};
use crate::cmq::api::Api;

/// How often the supervisor looks for deletions over AMQP and for idle connections.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Pushes messages until `stopped` is true or its sender is gone; returns when the last push has ended.
pub(crate) async fn run(api: Arc<Api>, mut stopped: watch::Receiver<bool>) {
    let config = &api.config.push;
    let shared = Arc::new(Shared {
        connections: Connections::new(config, Arc::clone(&api.resolver)),
        push_permits: Semaphore::new(config.connections_max),
        api: Arc::clone(&api),
    });
    let mut changes = api.topics.changes();
    let mut ticks = interval(TIDY_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut workers = Workers::default();
    let mut generation = None;
    loop {
        tokio::select! {
            () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => break,
            // The sender lives as long as the API.
            _ = changes.changed() => {}
            Some(ended) = workers.tasks.join_next_with_id() => {
                workers.ended(ended);
                // The next tick restarts it: an immediate restart of a worker that cannot work would loop.
                continue;
            }
            _ = ticks.tick() => {
                shared.connections.tidy();
                let now = generation_of(&api);
                if generation != Some(now) {
                    generation = Some(now);
                    if let Err(error) = api.tidy().await {
                        tracing::warn!(%error, "what was deleted over AMQP is not forgotten");
                    }
                }
            }
        }
        changes.borrow_and_update();
        workers.start_missing(&shared, &stopped);
    }
    while let Some(ended) = workers.tasks.join_next_with_id().await {
        workers.ended(ended);
    }
}

/// A number that changes with every change of routing in any virtual host.
fn generation_of(api: &Api) -> u64 {
    let vhosts = api.broker.vhost_list();
    let sum = vhosts.iter().map(|vhost| vhost.generation());
    sum.fold(0, u64::wrapping_add)
}

#[derive(Default)]
struct Workers {
    tasks: JoinSet<()>,
    by_subscription: HashMap<u64, task::Id>,
}

impl Workers {
    /// Starts the workers that are missing.
    fn start_missing(&mut self, shared: &Arc<Shared>, stopped: &watch::Receiver<bool>) {
        for subscribed in shared.api.topics.all_subscriptions() {
            let subscription = &subscribed.subscription;
            let waits = subscription.endpoint.waiting_id().is_some();
            if !waits || self.by_subscription.contains_key(&subscription.id) {
                continue;
            }
            let id = WorkerId {
                topic: subscribed.id,
                name: subscription.name.clone(),
                subscription: subscription.id,
            };
            let task = self
                .tasks
                .spawn(work(Arc::clone(shared), id, stopped.clone()));
            self.by_subscription.insert(subscription.id, task.id());
        }
    }

    fn ended(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a push worker panicked");
                error.id()
            }
        };
        self.by_subscription.retain(|_, worker| *worker != id);
    }
}
