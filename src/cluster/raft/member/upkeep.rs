//! Keeps the member going: its standing, its start after a failure, a look at its disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::type_config::TypeConfigExt;
use openraft::{Instant, RaftMetrics};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::super::runtime::blocking;
use super::super::standing::Standing;
use super::super::types::{Group, store_index};
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
    async fn follow(
        self: &Arc<Member<R>>,
        running: &Running<R>,
        stopped: &mut watch::Receiver<bool>,
    ) {
        let mut changes = running.raft.metrics();
        let mut roles = running.raft.server_metrics();
        let mut stall = Stall::default();
        let mut looked = Group::now();
        loop {
            if running
                .abstention
                .is_some_and(|it| Group::now() >= it.elects_from)
            {
                running.raft.runtime_config().elect(true);
            }
            let role = roles.borrow_and_update().clone();
            let metrics = changes.borrow_and_update().clone();
            if let Err(failure) = &metrics.running_state {
                if !matches!(failure, Fatal::Stopped) {
                    error!(%failure, "this node takes no part in the cluster until its store works again");
                }
                return self.end_of(running, &metrics).await;
            }
            let others = metrics.membership_config.voter_ids();
            let others = others.filter(|id| *id != self.options.this.id).count();
            self.has_others.store(others > 0, Ordering::Relaxed);
            let judged = self.judge(&metrics);
            self.stand(judged.standing);
            self.serve_until(judged.until_ns);
            let committed = store_index(metrics.cluster_committed.as_ref());
            self.look_at_disk(&mut stall, running, committed).await;
            if looked.elapsed() >= LOG_LOOK {
                looked = Group::now();
                self.look_at_damage(running, &metrics).await;
                self.look_at_log(&running.raft, &metrics);
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
                    return self.end_of(running, &metrics).await;
                },
                () = Group::sleep(self.options.heartbeat) => {}
            }
        }
    }

    /// Raft has ended.
    async fn end_of(&self, running: &Running<R>, metrics: &RaftMetrics<Group>) {
        let is_dispensable = self.is_dispensable(metrics);
        self.stand(Standing::NoMajority);
        self.shut_down_only(running.number).await;
        self.note_damage(running);
        if let Some(damage) = self.hurt.damage().filter(|_| is_dispensable) {
            self.break_down(&damage);
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
        let is_over = *self.stopped.borrow() || self.broken.borrow().is_some();
        if is_over || self.running.lock().is_some() {
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

    /// Hands over when this leader's disk has stalled, if another member answers.
    async fn look_at_disk(&self, stall: &mut Stall, running: &Running<R>, committed: u64) {
        let leads = matches!(*self.standing.borrow(), Standing::Leads(_));
        let (disk, now) = (&running.durability, Group::now());
        let has_stalled = stall.is_due(disk.progress(), now);
        let is_slow = stall.is_behind(leads && disk.is_behind(committed), now);
        if leads && (has_stalled || is_slow) {
            warn!(
                "the disk of this leader has stalled or is slower than the others': it hands over"
            );
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
    /// Since when this leader is behind the others.
    behind_since: Option<Moment>,
}

impl Stall {
    /// Whether the leader has been behind for too long; then it counts anew.
    fn is_behind(&mut self, is_behind: bool, now: Moment) -> bool {
        let since = self.behind_since.filter(|_| is_behind);
        let is_due = since.is_some_and(|it| now.saturating_duration_since(it) >= STALL_MAX);
        self.behind_since = (is_behind && !is_due).then(|| since.unwrap_or(now));
        is_due
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_stalls_or_is_behind_for_two_seconds_is_noticed_once() {
        let begin = Group::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut stall = Stall::default();
        for (ms, progress, expected) in [
            (0, (5, true), false),
            (1_999, (5, true), false),
            (2_000, (5, true), true),
            (2_100, (5, true), false),
            (4_000, (6, true), false),
            (5_000, (6, false), false),
            (9_000, (6, false), false),
        ] {
            assert_eq!(stall.is_due(progress, at(ms)), expected, "{ms}");
        }
        for (ms, is_behind, expected) in [
            (0, true, false),
            (1_900, true, false),
            (1_950, false, false),
            (2_000, true, false),
            (3_999, true, false),
            (4_000, true, true),
            (4_100, true, false),
        ] {
            assert_eq!(stall.is_behind(is_behind, at(ms)), expected, "{ms}");
        }
    }
}
