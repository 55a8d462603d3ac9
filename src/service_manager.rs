//! Tells the service manager (systemd, by `sd_notify`) how the broker is: ready, reloading, stopping, alive, and whether an
//! alarm blocks publishers. Without a service manager, thus without `NOTIFY_SOCKET`, the messages go nowhere.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::broker::alarms::Raised;
use crate::store::{Alarm, Committer};

/// Time that a stop may take beside the grace of connections: dead letters, the last sync, closing the store.
const STOP_MARGIN: Duration = Duration::from_secs(60);

/// The tasks that keep the service manager informed of a ready broker; dropping it ends them.
#[derive(Debug)]
pub struct Informed {
    _tasks: JoinSet<()>,
}

/// Reports that all listeners are open. From now on feeds the watchdog, if the service manager has one, and shows alarms.
/// `committer` is that of the broker which runs now; without one the watchdog sees that the process itself goes on.
pub fn ready(
    committer: impl Fn() -> Option<Arc<Committer>> + Send + 'static,
    alarms: watch::Receiver<Raised>,
) -> Informed {
    let status = status(*alarms.borrow());
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    let mut tasks = JoinSet::new();
    tasks.spawn(show_alarms(alarms));
    if let Some(timeout) = sd_notify::watchdog_enabled() {
        tasks.spawn(async move {
            let feed = || notify(&[NotifyState::Watchdog]);
            prove_alive(committer, timeout / 2, feed).await;
        });
    }
    Informed { _tasks: tasks }
}

/// Reports that the broker reads its configuration again. [`reloaded`] must follow.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "cannot tell the service manager of the reload"),
    }
}

/// Reports the end of a reload, successful or not: the broker serves its clients either way.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// Reports that the broker stops, and asks for as much time as that may take.
pub fn stopping(grace: Duration) {
    let micros = u32::try_from((grace + STOP_MARGIN).as_micros()).unwrap_or(u32::MAX);
    notify(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("closing connections"),
    ]);
}

async fn show_alarms(mut alarms: watch::Receiver<Raised>) {
    while alarms.changed().await.is_ok() {
        let raised = *alarms.borrow_and_update();
        notify(&[NotifyState::Status(&status(raised))]);
    }
}

/// The line that `systemctl status` shows.
fn status(raised: Raised) -> String {
    match raised.reason() {
        None => "serving clients".to_owned(),
        Some(reason) => format!("serving clients; publishers are blocked: {reason}"),
    }
}

/// Calls `feed` once in each interval, as long as the runtime runs this task and the committer answers.
async fn prove_alive(
    committer: impl Fn() -> Option<Arc<Committer>>,
    every: Duration,
    feed: impl Fn(),
) {
    let mut intervals = interval(every);
    intervals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        intervals.tick().await;
        // One that was shut down has a successor, or the process ends.
        let is_alive = match committer() {
            Some(committer) => answers(&committer).await,
            None => true,
        };
        if is_alive {
            feed();
        }
    }
}

/// Waits until an empty batch has passed the committer, behind all batches before it; that costs no write and no sync. With
/// `--durability write` the batch proves commits only. A store that has failed counts as alive: the committer opens it again
/// until it works, and a restart of the process would not repair the disk. False after the committer was shut down.
async fn answers(committer: &Committer) -> bool {
    let mut alarm = committer.alarm();
    let has_failed = |alarm: &Option<Alarm>| matches!(alarm, Some(Alarm::DiskFailed(_)));
    if has_failed(&alarm.borrow()) {
        return true;
    }
    tokio::select! {
        passed = committer.wait(committer.append(Vec::new())) => passed.is_ok(),
        failed = alarm.wait_for(has_failed) => failed.is_ok(),
    }
}

/// A service manager that cannot be told ends or keeps the broker by its own rules, so the broker goes on.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot reach the service manager");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::store::faulty::{Call, Fault, FaultyStore, What, When};
    use crate::store::{Limits, Op};

    const EVERY: Duration = Duration::from_millis(5);

    /// A committer on a store with faults, and how often its watchdog was fed.
    struct Watched {
        store: Arc<FaultyStore>,
        committer: Arc<Committer>,
        fed: Arc<AtomicU32>,
        _task: JoinSet<()>,
    }

    fn watch(faults: Vec<Fault>) -> Watched {
        let store = Arc::new(FaultyStore::new(faults));
        let committer = Committer::start(store.clone(), Limits::default()).unwrap();
        let fed = Arc::<AtomicU32>::default();
        let mut task = JoinSet::new();
        let (watched, feeds) = (committer.clone(), fed.clone());
        task.spawn(async move {
            let feed = || {
                feeds.fetch_add(1, Ordering::Relaxed);
            };
            prove_alive(|| Some(watched.clone()), EVERY, feed).await;
        });
        Watched {
            store,
            committer,
            fed,
            _task: task,
        }
    }

    impl Watched {
        /// Hands the committer a change that must be synced.
        fn write(&self) {
            let op = Op::PutDefinition {
                key: b"key".as_slice().into(),
                value: b"value".as_slice().into(),
            };
            self.committer.append(vec![op]);
        }

        async fn is_fed_again(&self) {
            let before = self.fed.load(Ordering::Relaxed);
            let fed = async {
                while self.fed.load(Ordering::Relaxed) < before + 3 {
                    tokio::time::sleep(EVERY).await;
                }
            };
            let patience = Duration::from_secs(20);
            tokio::time::timeout(patience, fed)
                .await
                .expect("a living broker feeds the watchdog");
        }
    }

    #[tokio::test]
    async fn an_idle_broker_feeds_the_watchdog_without_touching_the_disk() {
        let watched = watch(Vec::new());
        watched.is_fed_again().await;
        assert_eq!((watched.store.appends(), watched.store.syncs()), (0, 0));
    }

    #[tokio::test]
    async fn a_store_that_hangs_is_not_alive_until_it_goes_on() {
        let watched = watch(Vec::new());
        watched.is_fed_again().await;
        watched.store.stall(true);
        watched.write();
        // A probe that was before the write in its batch may still pass.
        tokio::time::sleep(EVERY * 10).await;
        let fed = watched.fed.load(Ordering::Relaxed);
        tokio::time::sleep(EVERY * 20).await; // not a wait for an event: nothing may happen
        assert_eq!(watched.fed.load(Ordering::Relaxed), fed);
        watched.store.stall(false);
        watched.is_fed_again().await;
    }

    #[tokio::test]
    async fn a_store_that_failed_is_alive_while_it_is_tried_again() {
        let fault = Fault {
            at: Call::Sync(1),
            when: When::Before,
            what: What::PowerLoss,
        };
        let watched = watch(vec![fault]);
        watched.write();
        let failed = |alarm: &Option<Alarm>| matches!(alarm, Some(Alarm::DiskFailed(_)));
        watched.committer.alarm().wait_for(failed).await.unwrap();
        watched.is_fed_again().await;
    }
}
