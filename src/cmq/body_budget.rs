//! BodyBudget for the bodies of large requests. It is taken as bytes come, never because a peer says that they will. When
//! there is none left, those who have stopped sending make budget; others wait, and the one who began first may always go
//! on, so that no two wait for each other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep;

use super::limits::{GRAIN_BYTES, LARGE_BYTES};
use crate::clock::monotonic;

/// A body of which no further [`GRAIN_BYTES`] have come for so long makes budget, if others need it.
const STALLED: Duration = Duration::from_millis(250);

/// The budget of one front door.
#[derive(Debug)]
pub(super) struct BodyBudget {
    max: u64,
    books: Mutex<Books>,
    /// Told when budget is given back.
    freed: Notify,
}

/// Who has how much. Pure.
#[derive(Debug, Default)]
struct Books {
    held: u64,
    /// By number, so that the first began first.
    bodies: BTreeMap<u64, Body>,
    next: u64,
}

#[derive(Debug)]
struct Body {
    bytes: u64,
    stage: Stage,
    /// Used to have it make budget.
    cut: Option<oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It has had budget since then, and more bytes are to come.
    Coming(Instant),
    /// It waits for budget.
    Waiting,
    /// It is whole, and its request is being carried out.
    Whole,
}

impl Books {
    fn open(&mut self, cut: oneshot::Sender<()>, now: Instant) -> u64 {
        let number = self.next;
        self.next += 1;
        let body = Body {
            bytes: 0,
            stage: Stage::Coming(now),
            cut: Some(cut),
        };
        self.bodies.insert(number, body);
        number
    }

    /// Gives a body budget for so many bytes in all. If there is none, has others make budget; false until they have.
    fn grow(&mut self, number: u64, bytes: u64, max: u64, now: Instant) -> bool {
        let Some(body) = self.bodies.get(&number) else {
            return false;
        };
        let more = bytes.saturating_sub(body.bytes);
        let fits = self.held.saturating_add(more) <= max;
        if fits || self.may_exceed(number) {
            if let Some(body) = self.bodies.get_mut(&number) {
                body.bytes += more;
                body.stage = Stage::Coming(now);
            }
            self.held += more;
            return true;
        }
        if let Some(body) = self.bodies.get_mut(&number) {
            body.stage = Stage::Waiting;
        }
        self.cut_stalled(self.held.saturating_add(more) - max, now);
        false
    }

    /// Whether this one goes on although all budget is taken: it began first of those that are not whole, and there is
    /// none that will give budget back without it. So the bound is exceeded by one request at most.
    fn may_exceed(&self, number: u64) -> bool {
        let holds_whole = |body: &Body| body.stage == Stage::Whole && body.bytes > 0;
        let mut unfinished = self
            .bodies
            .iter()
            .filter(|(_, body)| body.stage != Stage::Whole && body.cut.is_some() && body.bytes > 0);
        let first = unfinished.next().is_none_or(|(first, _)| *first >= number);
        first && !self.bodies.values().any(holds_whole)
    }

    /// Has those who have stopped sending make budget for so many bytes, the longest first.
    fn cut_stalled(&mut self, mut bytes: u64, now: Instant) {
        let mut stalled: Vec<(Instant, u64)> = self
            .bodies
            .iter()
            .filter_map(|(number, body)| match body.stage {
                Stage::Coming(since) if body.bytes > 0 => Some((since, *number)),
                Stage::Coming(_) | Stage::Waiting | Stage::Whole => None,
            })
            .filter(|(since, _)| now.duration_since(*since) >= STALLED)
            .collect();
        stalled.sort_unstable();
        for (_, number) in stalled {
            let Some(body) = self.bodies.get_mut(&number).filter(|_| bytes > 0) else {
                return;
            };
            bytes = bytes.saturating_sub(body.bytes);
            if let Some(cut) = body.cut.take() {
                // Fails only if it is ending by itself.
                cut.send(()).unwrap_or_default();
            }
        }
    }

    fn close(&mut self, number: u64) {
        if let Some(body) = self.bodies.remove(&number) {
            self.held -= body.bytes;
        }
    }
}

/// Others need the budget of a body that has stopped coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut;

/// One body's budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct BodyShare<'a> {
    budget: &'a BodyBudget,
    /// `None` while the body is small: then it is not counted.
    counted: Option<Counted>,
}

#[derive(Debug)]
struct Counted {
    number: u64,
    bytes: u64,
    cut: oneshot::Receiver<()>,
}

impl BodyBudget {
    /// BodyBudget for so many bytes.
    pub(super) fn new(max: u64) -> BodyBudget {
        BodyBudget {
            max,
            books: Mutex::default(),
            freed: Notify::new(),
        }
    }

    /// A body of which nothing has come yet.
    pub(super) fn share(&self) -> BodyShare<'_> {
        BodyShare {
            budget: self,
            counted: None,
        }
    }
}

impl BodyShare<'_> {
    /// Waits until there is budget for a body that has so many bytes by now. Cancel-safe.
    pub(super) async fn hold(&mut self, bytes: u64) -> Result<(), Cut> {
        if bytes <= LARGE_BYTES {
            return Ok(());
        }
        let budget = self.budget;
        let counted = self.counted.get_or_insert_with(|| {
            let (cut, told) = oneshot::channel();
            Counted {
                number: budget.books.lock().open(cut, monotonic()),
                bytes: 0,
                cut: told,
            }
        });
        let needed = bytes.next_multiple_of(GRAIN_BYTES);
        if needed <= counted.bytes {
            return Ok(());
        }
        loop {
            let freed = budget.freed.notified();
            let grown = budget
                .books
                .lock()
                .grow(counted.number, needed, budget.max, monotonic());
            if grown {
                counted.bytes = needed;
                return Ok(());
            }
            tokio::select! {
                () = freed => {}
                // Somebody may have stopped sending meanwhile.
                () = sleep(STALLED) => {}
                _ = &mut counted.cut => return Err(Cut),
            }
        }
    }

    /// Waits until the body has to make budget for others; for ever, if it is small.
    pub(super) async fn cut(&mut self) -> Cut {
        match &mut self.counted {
            Some(counted) => {
                // The sender is kept until it is used.
                (&mut counted.cut).await.unwrap_or_default();
                Cut
            }
            None => std::future::pending().await,
        }
    }

    /// The body is whole: nothing makes it give its budget back but the end of its request.
    pub(super) fn whole(&self) {
        if let Some(counted) = &self.counted
            && let Some(body) = self.budget.books.lock().bodies.get_mut(&counted.number)
        {
            body.stage = Stage::Whole;
        }
    }
}

impl Drop for BodyShare<'_> {
    fn drop(&mut self) {
        if let Some(counted) = &self.counted {
            self.budget.books.lock().close(counted.number);
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

    /// Whether somebody gets budget within a moment.
    async fn gets(share: &mut BodyShare<'_>, bytes: u64) -> bool {
        matches!(
            timeout(Duration::from_millis(20), share.hold(bytes)).await,
            Ok(Ok(()))
        )
    }

    #[tokio::test]
    async fn small_bodies_are_not_counted_and_large_ones_as_they_come() {
        let budget = BodyBudget::new(4 * MIB);
        let mut small = budget.share();
        small.hold(LARGE_BYTES).await.unwrap();
        assert_eq!(budget.books.lock().held, 0);
        let mut large = budget.share();
        for bytes in [LARGE_BYTES + 1, 100_000, MIB] {
            large.hold(bytes).await.unwrap();
            assert_eq!(
                budget.books.lock().held,
                bytes.next_multiple_of(GRAIN_BYTES)
            );
        }
        drop((small, large));
        assert_eq!(budget.books.lock().held, 0);
        assert!(budget.books.lock().bodies.is_empty());
    }

    #[tokio::test]
    async fn who_has_stopped_sending_makes_room() {
        let budget = BodyBudget::new(4 * MIB);
        let mut stalled = budget.share();
        stalled.hold(3 * MIB).await.unwrap();
        let mut next = budget.share();
        // It has sent a moment ago.
        assert!(!gets(&mut next, 2 * MIB).await);
        let (cut, held) = tokio::join!(
            async {
                let cut = timeout(LONG, stalled.cut()).await;
                drop(stalled);
                cut
            },
            timeout(LONG, next.hold(2 * MIB)),
        );
        assert_eq!((cut, held), (Ok(Cut), Ok(Ok(()))));
    }

    #[tokio::test]
    async fn the_first_goes_on_and_a_whole_one_is_waited_for() {
        let budget = BodyBudget::new(4 * MIB);
        let (mut first, mut second) = (budget.share(), budget.share());
        first.hold(2 * MIB).await.unwrap();
        second.hold(2 * MIB).await.unwrap();
        assert!(!gets(&mut second, 3 * MIB).await);
        // Without that, neither would ever get on.
        assert!(gets(&mut first, 3 * MIB).await);
        first.whole();
        assert!(!gets(&mut second, 3 * MIB).await);
        drop(first);
        assert!(gets(&mut second, 3 * MIB).await);
        second.whole();
        tokio::time::sleep(STALLED).await;
        let mut third = budget.share();
        assert!(!gets(&mut third, 3 * MIB).await, "a whole one is never cut");
    }
}
