//! Keeps the member going: its standing, its start after a failure, a look at its disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::Instant;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::type_config::TypeConfigExt;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::super::runtime::blocking;
use super::super::standing::Standing;
use super::super::types::Group;
use super::{Member, MemberError, Moment, Running};
use crate::store::{Journal, Replica};

/// Interval of the looks whether the log has grown beyond its bounds.
const LOG_LOOK: Duration = Duration::from_secs(1);
/// A leader whose disk syncs nothing for this long hands over.
const STALL_MAX: Duration = Duration::from_secs(2);
/// Pause before a member that has failed starts again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

impl<R: Replica + Journal> Member<R> {
    /// Keeps the standing up to date, and starts the member again when it has failed.
    pub(super) async fn watch(self: Arc<Member<R>>) {
        let mut stopped = self.stopped.subscribe();
        while !*stopped.borrow_and_update() {
            let running = self.running.lock().clone();
            match running {
                Some(running) => self.follow(&running, &mut stopped).await,
                None => self.restart(&mut stopped).await,
            }
        }
    }

    /// Follows Raft's metrics until it ends. They change with each entry, so once it is known who leads only changes of
    /// that count, and time.
    async fn follow(&self, running: &Running<R>, stopped: &mut watch::Receiver<bool>) {
        let mut changes = running.raft.metrics();
        let mut roles = running.raft.server_metrics();
        let mut stall = Stall::default();
        let mut looked = Group::now();
        loop {
            if running
                .rest
                .is_some_and(|rest| Group::now() >= rest.elects_from)
            {
                running.raft.runtime_config().elect(true);
            }
            let role = roles.borrow_and_update().clone();
            let metrics = changes.borrow_and_update().clone();
            if let Err(failure) = &metrics.running_state {
                if !matches!(failure, Fatal::Stopped) {
                    error!(%failure, "this node takes no part in the cluster until its store works again");
                }
                self.stand(Standing::NoMajority);
                self.shut_down_only(running.number).await;
                if let Some(damage) = running.durability.damage() {
                    self.break_down(&damage);
                }
                return;
            }
            let others = metrics.membership_config.voter_ids();
            let others = others.filter(|id| *id != self.options.this.id).count();
            self.has_others.store(others > 0, Ordering::Relaxed);
            let judged = self.judge(&metrics);
            self.stand(judged.standing);
            self.serve_until(judged.until_ns);
            self.look_at_disk(&mut stall, running).await;
            if looked.elapsed() >= LOG_LOOK {
                looked = Group::now();
                if let Some(damage) = self.sendings.take_damage() {
                    self.break_down(&damage);
                }
                self.look_at_log(&running.raft, &metrics).await;
            }
            let is_whole = (metrics.state, metrics.vote) == (role.state, role.vote);
            let is_settled = is_whole && !matches!(*self.standing.borrow(), Standing::NoMajority);
            let changed = async {
                match is_settled {
                    true => roles.changed().await,
                    false => changes.changed().await,
                }
            };
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                changed = changed => if changed.is_err() {
                    self.stand(Standing::NoMajority);
                    self.shut_down_only(running.number).await;
                    return;
                },
                () = Group::sleep(self.options.heartbeat) => {}
            }
        }
    }

    /// Starts the member again after a pause, unless a change of members does so.
    async fn restart(&self, stopped: &mut watch::Receiver<bool>) {
        self.stand(Standing::NoMajority);
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = Group::sleep(RESTART_AFTER) => {}
        }
        let Ok(_change) = self.changes.try_lock() else {
            return;
        };
        if self.running.lock().is_some() || *self.broken.borrow() {
            return;
        }
        let store = self.store.clone();
        let reopened = blocking(move || store.reopen()).await;
        let restarted = match reopened {
            Ok(Ok(())) => self.run().await.map_err(|failure| {
                if let MemberError::Damaged(damage) = &failure {
                    self.break_down(damage);
                }
                failure.to_string()
            }),
            Ok(Err(failure)) => {
                if failure.is_damage() {
                    self.break_down(&failure.damage());
                }
                Err(failure.to_string())
            }
            Err(failure) => Err(failure.to_string()),
        };
        match restarted {
            Ok(()) => info!("this node takes part in the cluster again"),
            Err(failure) => warn!(failure, "this node cannot take part in the cluster yet"),
        }
    }

    /// Says that the files are damaged, if other members have what is in them.
    fn break_down(&self, damage: &str) {
        if self.has_others.load(Ordering::Relaxed) {
            error!(damage, "the files of this node are damaged");
            self.broken.send_replace(true);
        }
    }

    /// Hands over when this leader's disk has stalled, if another member answers.
    async fn look_at_disk(&self, stall: &mut Stall, running: &Running<R>) {
        let leads = matches!(*self.standing.borrow(), Standing::Leads(_));
        let is_due = stall.is_due(running.durability.progress(), Group::now());
        if leads && is_due {
            warn!("the disk of this leader has stalled: it hands over");
            if let Err(failure) = self.ask_to_lead(&running.raft, None).await {
                warn!(%failure, "cannot hand over");
            }
        }
    }
}

/// Watches whether the disk goes on.
#[derive(Default)]
struct Stall {
    /// What was durable, and since when nothing more is although more is written.
    since: Option<(u64, Moment)>,
}

impl Stall {
    /// Whether it has stalled for too long; then it counts anew. `progress` is what is durable, and whether more waits.
    fn is_due(&mut self, progress: (u64, bool), now: Moment) -> bool {
        let (durable, waits) = progress;
        match self.since {
            Some((before, since)) if waits && before == durable => {
                if now.saturating_duration_since(since) < STALL_MAX {
                    return false;
                }
                self.since = None;
                true
            }
            _ => {
                self.since = waits.then_some((durable, now));
                false
            }
        }
    }
}
