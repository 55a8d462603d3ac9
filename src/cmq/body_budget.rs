//! The memory budget for the bodies of large requests. A body takes memory as its bytes come, never because a client
//! announces them. When the budget is used up, bodies that have stopped coming lose theirs; others wait, and the oldest
//! unfinished body may exceed the budget, so that no two bodies wait for each other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::limits::{BODY_GRAIN_BYTES, LARGE_BYTES};
use crate::clock::monotonic;

/// A body that has not grown by [`BODY_GRAIN_BYTES`] for this long loses its memory when another body needs it.
const STALLED: Duration = Duration::from_millis(250);

/// The budget that all connections share.
#[derive(Debug)]
pub(super) struct BodyBudget {
    max: u64,
    bodies: Mutex<Bodies>,
    /// Notified when a body returns its memory.
    freed: Notify,
}

/// The large bodies in memory. Pure.
#[derive(Debug, Default)]
struct Bodies {
    /// Bytes of all of them.
    bytes: u64,
    /// By number: the first one began first.
    by_number: BTreeMap<u64, Body>,
    next: u64,
}

#[derive(Debug)]
struct Body {
    bytes: u64,
    stage: Stage,
    /// Taken when the body's memory is revoked.
    revoke: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It last grew at this time, and more bytes are to come.
    Coming(Instant),
    /// It waits for memory.
    Waiting,
    /// All of it is in memory, and its request is being carried out.
    Complete,
}

impl Bodies {
    fn open(&mut self, revoke: oneshot::Sender<()>, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        let body = Body {
            bytes: 0,
            stage: Stage::Coming(now),
            revoke: Some(revoke),
        };
        self.by_number.insert(number, body);
        number
    }

    /// Grants a body `bytes` in all. If the budget of `max` bytes is used up, revokes memory of stalled bodies and
    /// returns false: the caller tries again when they have returned it.
    fn grow(&mut self, number: u64, bytes: u64, max: u64, now: Instant) -> bool {
        let Some(body) = self.by_number.get(&number) else {
            return false;
        };
        let more = bytes.saturating_sub(body.bytes);
        let fits = self.bytes.saturating_add(more) <= max;
        if fits || self.may_exceed(number) {
            if let Some(body) = self.by_number.get_mut(&number) {
                body.bytes += more;
                body.stage = Stage::Coming(now);
            }
            self.bytes += more;
            return true;
        }
        if let Some(body) = self.by_number.get_mut(&number) {
            body.stage = Stage::Waiting;
        }
        self.revoke_stalled(self.bytes.saturating_add(more) - max, now);
        false
    }

    /// Whether this body may go on although the budget is used up: it is the oldest unfinished one, and no complete body
    /// will return memory. So at most one body exceeds the budget.
    fn may_exceed(&self, number: u64) -> bool {
        let is_complete = |body: &Body| body.stage == Stage::Complete && body.bytes > 0;
        let mut unfinished = self.by_number.iter().filter(|(_, body)| {
            body.stage != Stage::Complete && body.revoke.is_some() && body.bytes > 0
        });
        let is_oldest = unfinished.next().is_none_or(|(first, _)| *first >= number);
        is_oldest && !self.by_number.values().any(is_complete)
    }

    /// Revokes the memory of stalled bodies, the longest stalled first, until they return `bytes`.
    fn revoke_stalled(&mut self, mut bytes: u64, now: Instant) {
        let mut stalled: Vec<(Instant, u64)> = self
            .by_number
            .iter()
            .filter_map(|(number, body)| match body.stage {
                Stage::Coming(since) if body.bytes > 0 => Some((since, *number)),
                Stage::Coming(_) | Stage::Waiting | Stage::Complete => None,
            })
            .filter(|(since, _)| now.duration_since(*since) >= STALLED)
            .collect();
        stalled.sort_unstable();
        for (_, number) in stalled {
            let Some(body) = self.by_number.get_mut(&number).filter(|_| bytes > 0) else {
                return;
            };
            bytes = bytes.saturating_sub(body.bytes);
            if let Some(revoke) = body.revoke.take() {
                // Fails only if the body is just ending by itself.
                revoke.send(()).unwrap_or_default();
            }
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(body) = self.by_number.remove(&number) {
            self.bytes -= body.bytes;
        }
    }
}

/// Another body took the memory of one that had stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revoked;

/// The memory of one body, returned to the budget on drop.
#[derive(Debug)]
pub(super) struct BodyMemory<'a> {
    budget: &'a BodyBudget,
    /// `None` while the body is small: small bodies are not counted.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    number: u64,
    bytes: u64,
    revoked: oneshot::Receiver<()>,
}

impl BodyBudget {
    pub(super) fn new(max: u64) -> BodyBudget {
        BodyBudget {
            max,
            bodies: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// The memory of a body that has no bytes yet.
    pub(super) fn open(&self) -> BodyMemory<'_> {
        BodyMemory {
            budget: self,
            counted: None,
        }
    }
}

impl BodyMemory<'_> {
    /// Waits until the budget grants the body `bytes` in all. Cancel-safe.
    pub(super) async fn grow_to(&mut self, bytes: u64) -> Result<(), Revoked> {
        if bytes <= LARGE_BYTES {
            return Ok(());
        }
        let budget = self.budget;
        let counted = self.counted.get_or_insert_with(|| {
            let (revoke, revoked) = oneshot::channel();
            Counted {
                number: budget.bodies.lock().open(revoke, monotonic()),
                bytes: 0,
                revoked,
            }
        });
        let needed = bytes.next_multiple_of(BODY_GRAIN_BYTES);
        if needed <= counted.bytes {
            return Ok(());
        }
        loop {
            let freed = budget.freed.notified();
            let grown = budget
                .bodies
                .lock()
                .grow(counted.number, needed, budget.max, monotonic());
            if grown {
                counted.bytes = needed;
                return Ok(());
            }
            tokio::select! {
                () = freed => {}
                // Another body may have stalled meanwhile.
                () = sleep(STALLED) => {}
                _ = &mut counted.revoked => return Err(Revoked),
            }
        }
    }

    /// Waits until the body's memory is revoked. A small body waits for ever.
    pub(super) async fn revoked(&mut self) -> Revoked {
        match &mut self.counted {
            Some(counted) => {
                // `Bodies` has the sender until it sends.
                (&mut counted.revoked).await.unwrap_or_default();
                Revoked
            }
            None => std::future::pending().await,
        }
    }

    /// All bytes have come: from now on only the end of the request returns the memory.
    pub(super) fn set_complete(&self) {
        if let Some(counted) = &self.counted
            && let Some(body) = self.budget.bodies.lock().by_number.get_mut(&counted.number)
        {
            body.stage = Stage::Complete;
        }
    }
}

impl Drop for BodyMemory<'_> {
    fn drop(&mut self) {
        if let Some(counted) = &self.counted {
            self.budget.bodies.lock().close(counted.number);
            self.budget.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const MIB: u64 = 1024 * 1024;
    const LONG: Duration = Duration::from_secs(20);

    /// Whether a body gets memory within a moment.
    async fn grows(memory: &mut BodyMemory<'_>, bytes: u64) -> bool {
        matches!(
            timeout(Duration::from_millis(20), memory.grow_to(bytes)).await,
            Ok(Ok(()))
        )
    }

    #[tokio::test]
    async fn large_bodies_are_counted_as_they_come_and_small_ones_are_not() {
        let budget = BodyBudget::new(4 * MIB);
        let mut small = budget.open();
        small.grow_to(LARGE_BYTES).await.unwrap();
        assert_eq!(budget.bodies.lock().bytes, 0);
        let mut large = budget.open();
        for bytes in [LARGE_BYTES + 1, 100_000, MIB] {
            large.grow_to(bytes).await.unwrap();
            let counted = bytes.next_multiple_of(BODY_GRAIN_BYTES);
            assert_eq!(budget.bodies.lock().bytes, counted);
        }
        drop((small, large));
        assert_eq!(budget.bodies.lock().bytes, 0);
        assert!(budget.bodies.lock().by_number.is_empty());
    }

    #[tokio::test]
    async fn a_stalled_body_loses_its_memory_to_another() {
        let budget = BodyBudget::new(4 * MIB);
        let mut stalled = budget.open();
        stalled.grow_to(3 * MIB).await.unwrap();
        let mut next = budget.open();
        // The first body grew a moment ago.
        assert!(!grows(&mut next, 2 * MIB).await);
        let (revoked, grown) = tokio::join!(
            async {
                let revoked = timeout(LONG, stalled.revoked()).await;
                drop(stalled);
                revoked
            },
            timeout(LONG, next.grow_to(2 * MIB)),
        );
        assert_eq!((revoked, grown), (Ok(Revoked), Ok(Ok(()))));
    }

    #[tokio::test]
    async fn the_oldest_body_may_exceed_the_budget_unless_a_complete_one_will_return_memory() {
        let budget = BodyBudget::new(4 * MIB);
        let (mut first, mut second) = (budget.open(), budget.open());
        first.grow_to(2 * MIB).await.unwrap();
        second.grow_to(2 * MIB).await.unwrap();
        assert!(!grows(&mut second, 3 * MIB).await);
        // Otherwise the two would wait for each other for ever.
        assert!(grows(&mut first, 3 * MIB).await);
        first.set_complete();
        assert!(!grows(&mut second, 3 * MIB).await);
        drop(first);
        assert!(grows(&mut second, 3 * MIB).await);
        second.set_complete();
        tokio::time::sleep(STALLED).await;
        let mut third = budget.open();
        assert!(
            !grows(&mut third, 3 * MIB).await,
            "a complete body never loses its memory"
        );
    }
}
