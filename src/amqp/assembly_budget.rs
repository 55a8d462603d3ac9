//! Memory for contents that have arrived in part: one budget for the broker, and a bound for each connection.
//! A connection over budget is not read until memory is free again. One connection at a time may hold the
//! *overdraft* and go on reading, so that some content always becomes complete; waiting connections get it in
//! order of arrival.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::limits::{ASSEMBLING_OWN_MAX, HALF_SENT_IDLE_MAX, OVERDRAFT_IDLE_MAX};

/// The budget of the broker, in bytes.
#[derive(Debug)]
pub(super) struct AssemblyBudget {
    /// Limit for all connections together.
    all_max: usize,
    /// Limit for one connection; twice that with the overdraft.
    own_max: usize,
    used: AtomicUsize,
    /// Number of connections that wait for the overdraft.
    waiting: AtomicUsize,
    overdraft: Arc<Semaphore>,
    is_exhausted: watch::Sender<bool>,
}

/// What a connection needs to be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Overdraft,
    /// It has more than the overdraft allows.
    Less,
}

impl AssemblyBudget {
    /// A budget of `all_max` bytes. A message of `message_max` bytes always fits into a connection's part.
    pub(super) fn new(all_max: usize, message_max: usize) -> Arc<AssemblyBudget> {
        Arc::new(AssemblyBudget {
            all_max,
            own_max: message_max.max(ASSEMBLING_OWN_MAX),
            used: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            overdraft: Arc::new(Semaphore::new(1)),
            is_exhausted: watch::Sender::new(false),
        })
    }

    fn need_of(&self, own: usize) -> Need {
        if own == 0 {
            Need::Nothing
        } else if own >= self.own_max.saturating_mul(2) {
            Need::Less
        } else if own >= self.own_max || self.used.load(Ordering::Relaxed) >= self.all_max {
            Need::Overdraft
        } else {
            Need::Nothing
        }
    }

    fn change(&self, before: usize, after: usize) {
        let was = match after > before {
            true => self.used.fetch_add(after - before, Ordering::Relaxed),
            false => self.used.fetch_sub(before - after, Ordering::Relaxed),
        };
        let is = was + after - before;
        if (was >= self.all_max) != (is >= self.all_max) {
            self.is_exhausted.send_if_modified(|exhausted| {
                // Other connections may have changed it meanwhile: only the current value counts.
                let now = self.used.load(Ordering::Relaxed) >= self.all_max;
                std::mem::replace(exhausted, now) != now
            });
        }
    }
}

/// Counts a connection that waits for the overdraft.
struct WaitingConnection(Arc<AssemblyBudget>);

impl WaitingConnection {
    fn new(budget: &Arc<AssemblyBudget>) -> WaitingConnection {
        budget.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingConnection(Arc::clone(budget))
    }
}

impl Drop for WaitingConnection {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a connection is read. Dropping it passes the overdraft on.
enum Standing {
    WithinBudget,
    WaitsForOverdraft(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    HasOverdraft {
        _permit: OwnedSemaphorePermit,
        until: Instant,
        /// Nothing has arrived since the connection got the overdraft, or since it was last checked.
        idle: bool,
    },
    /// Not read any more, and closed at this time.
    TooMuch {
        until: Instant,
    },
}

/// Result of a check when a connection's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoesOn,
    /// The client has left messages half sent whose memory others need: the connection is closed.
    Ends,
}

/// One connection's part of the budget.
pub(super) struct AssemblyShare {
    budget: Arc<AssemblyBudget>,
    own: usize,
    standing: Standing,
    is_exhausted: watch::Receiver<bool>,
}

impl AssemblyShare {
    pub(super) fn new(budget: &Arc<AssemblyBudget>) -> AssemblyShare {
        AssemblyShare {
            budget: Arc::clone(budget),
            own: 0,
            standing: Standing::WithinBudget,
            is_exhausted: budget.is_exhausted.subscribe(),
        }
    }

    /// Sets the bytes of incomplete contents that the connection has.
    pub(super) fn set(&mut self, own: usize) {
        if own == self.own {
            if own == 0 {
                return;
            }
        } else {
            self.budget.change(self.own, own);
            self.own = own;
        }
        match (self.budget.need_of(own), &self.standing) {
            (Need::Nothing, Standing::WithinBudget)
            | (Need::Overdraft, Standing::WaitsForOverdraft(_) | Standing::HasOverdraft { .. })
            | (Need::Less, Standing::TooMuch { .. }) => {}
            (Need::Nothing, _) => self.standing = Standing::WithinBudget,
            (Need::Overdraft, Standing::WithinBudget | Standing::TooMuch { .. }) => {
                self.wait_for_overdraft();
            }
            (Need::Less, _) => {
                let until = Instant::now() + HALF_SENT_IDLE_MAX;
                self.standing = Standing::TooMuch { until };
            }
        }
    }

    fn wait_for_overdraft(&mut self) {
        let budget = Arc::clone(&self.budget);
        self.standing = Standing::WaitsForOverdraft(Box::pin(async move {
            let _waiting = WaitingConnection::new(&budget);
            Arc::clone(&budget.overdraft).acquire_owned().await.ok()
        }));
    }

    /// Whether the connection may be read.
    pub(super) fn may_read(&self) -> bool {
        matches!(
            self.standing,
            Standing::WithinBudget | Standing::HasOverdraft { .. }
        )
    }

    /// Something was read.
    pub(super) fn progress(&mut self) {
        if let Standing::HasOverdraft { idle, .. } = &mut self.standing {
            *idle = false;
        }
    }

    /// Waits until the standing may have changed; for ever unless the connection waits for the overdraft.
    /// Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let Standing::WaitsForOverdraft(overdraft) = &mut self.standing else {
            return std::future::pending().await;
        };
        tokio::select! {
            permit = overdraft => {
                let until = Instant::now() + OVERDRAFT_IDLE_MAX;
                self.standing = match permit {
                    Some(permit) => Standing::HasOverdraft { _permit: permit, until, idle: true },
                    None => Standing::WithinBudget,
                };
            }
            // The budget may have memory again: `set` checks that.
            _ = self.is_exhausted.changed() => {}
        }
    }

    /// When [`AssemblyShare::check`] is due.
    pub(super) fn until(&self) -> Option<Instant> {
        match &self.standing {
            Standing::HasOverdraft { until, .. } | Standing::TooMuch { until } => Some(*until),
            Standing::WithinBudget | Standing::WaitsForOverdraft(_) => None,
        }
    }

    /// Passes the overdraft on if its time is up and others wait for it. `listens`: the connection would have
    /// been read.
    pub(super) fn check(&mut self, now: Instant, listens: bool) -> Verdict {
        match &mut self.standing {
            Standing::TooMuch { until } if now >= *until => Verdict::Ends,
            Standing::HasOverdraft { until, idle, .. } if now >= *until => {
                if self.budget.waiting.load(Ordering::Relaxed) == 0 {
                    *until = now + OVERDRAFT_IDLE_MAX;
                    *idle = true;
                } else if *idle && listens {
                    return Verdict::Ends;
                } else {
                    self.wait_for_overdraft();
                }
                Verdict::GoesOn
            }
            Standing::WithinBudget
            | Standing::WaitsForOverdraft(_)
            | Standing::HasOverdraft { .. }
            | Standing::TooMuch { .. } => Verdict::GoesOn,
        }
    }
}

impl Drop for AssemblyShare {
    fn drop(&mut self) {
        self.budget.change(self.own, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: usize = 100;

    fn budget() -> Arc<AssemblyBudget> {
        let mut budget = Arc::into_inner(AssemblyBudget::new(ALL, 0)).unwrap();
        budget.own_max = 60;
        Arc::new(budget)
    }

    /// Whether the connection may be read within `limit`.
    async fn may_read_within(share: &mut AssemblyShare, limit: Duration) -> bool {
        let may_read = async {
            while !share.may_read() {
                share.changed().await;
            }
        };
        tokio::time::timeout(limit, may_read).await.is_ok()
    }

    async fn gets_overdraft(share: &mut AssemblyShare) {
        assert!(may_read_within(share, Duration::from_secs(20)).await);
    }

    #[tokio::test]
    async fn a_connection_over_budget_waits_for_memory() {
        let budget = budget();
        let (mut a, mut b, mut c) = (
            AssemblyShare::new(&budget),
            AssemblyShare::new(&budget),
            AssemblyShare::new(&budget),
        );
        a.set(59);
        b.set(50);
        c.set(1);
        assert!(a.may_read() && !b.may_read() && !c.may_read());
        // A connection without an incomplete content is read: messages that arrive complete need no budget.
        assert!(AssemblyShare::new(&budget).may_read());
        // One of them gets the overdraft.
        gets_overdraft(&mut b).await;
        b.set(51);
        assert!(b.may_read());
        b.set(0);
        assert!(b.may_read());
        gets_overdraft(&mut c).await;
        c.set(1);
        assert!(c.may_read());
        drop((a, c));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_overdraft_goes_round() {
        let budget = budget();
        let [mut a, mut b, mut c] = [(); 3].map(|()| AssemblyShare::new(&budget));
        for share in [&mut a, &mut b, &mut c] {
            share.set(50);
        }
        a.set(50);
        assert!(!a.may_read() && !b.may_read() && !c.may_read());
        gets_overdraft(&mut b).await;
        assert!(
            b.may_read()
                && !gets_overdraft_soon(&mut c).await
                && !gets_overdraft_soon(&mut a).await
        );
        let late = Instant::now() + OVERDRAFT_IDLE_MAX * 2;
        b.progress();
        assert_eq!(b.check(late, true), Verdict::GoesOn);
        assert!(!b.may_read());
        gets_overdraft(&mut c).await;
        assert!(c.may_read() && !gets_overdraft_soon(&mut b).await);
        // It was not read, so it stays open although it is idle.
        assert_eq!(c.check(late + OVERDRAFT_IDLE_MAX, false), Verdict::GoesOn);
        gets_overdraft(&mut a).await;
        assert!(a.may_read() && !c.may_read());
    }

    async fn gets_overdraft_soon(share: &mut AssemblyShare) -> bool {
        may_read_within(share, Duration::from_millis(10)).await
    }

    #[tokio::test]
    async fn a_connection_with_the_overdraft_that_sends_nothing_ends_if_others_wait() {
        let budget = budget();
        let (mut silent, mut other) = (AssemblyShare::new(&budget), AssemblyShare::new(&budget));
        for share in [&mut silent, &mut other] {
            share.set(55);
        }
        silent.set(55);
        gets_overdraft(&mut silent).await;
        let late = Instant::now() + OVERDRAFT_IDLE_MAX * 2;
        assert_eq!(
            silent.check(late, true),
            Verdict::GoesOn,
            "no other connection waits"
        );
        assert!(!gets_overdraft_soon(&mut other).await);
        let later = late + OVERDRAFT_IDLE_MAX * 2;
        assert_eq!(silent.check(later, true), Verdict::Ends);
        drop(silent);
        gets_overdraft(&mut other).await;
        assert!(other.may_read());
    }

    #[tokio::test]
    async fn a_connection_beyond_the_overdraft_ends_after_a_while() {
        let budget = budget();
        let mut share = AssemblyShare::new(&budget);
        share.set(120);
        assert!(!share.may_read());
        assert_eq!(share.check(Instant::now(), true), Verdict::GoesOn);
        let late = Instant::now() + HALF_SENT_IDLE_MAX;
        assert_eq!(share.check(late, true), Verdict::Ends);
        share.set(0);
        assert!(share.may_read());
    }
}
