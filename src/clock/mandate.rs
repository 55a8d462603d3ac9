//! Until when a leader may answer clients from its memory: after that another node may lead. A process that was stopped,
//! or whose machine was asleep, finds here that its time has passed before its other tasks have noticed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::source::{Source, System};

/// The end of a mandate that is over for good.
const OVER: u64 = 0;
/// The end of a mandate that no time ends.
const NEVER: u64 = u64::MAX;

/// A time since the machine booted, in nanoseconds, up to which a mandate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until(u64);

impl Until {
    pub const NEVER: Until = Until(NEVER);
}

/// Whether a mandate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Yes(Until),
    /// Its time has passed. It is extended soon or ends: until then nothing may be answered from memory.
    Unclear,
    /// It is over for good.
    No,
}

/// The mandate of one leadership.
#[derive(Debug)]
pub struct Mandate {
    clocks: Arc<dyn Source>,
    until_ns: AtomicU64,
    changed: Notify,
}

impl Mandate {
    /// A mandate up to this time since the machine booted.
    pub fn new(clocks: Arc<dyn Source>, until_ns: u64) -> Mandate {
        Mandate {
            clocks,
            // None that begins is over.
            until_ns: AtomicU64::new(until_ns.max(OVER + 1)),
            changed: Notify::new(),
        }
    }

    /// The mandate of a node by itself.
    pub fn without_end() -> Mandate {
        Mandate::new(Arc::new(System), NEVER)
    }

    /// Whether it holds now. Reads no clock for a node by itself.
    pub fn holds(&self) -> Holds {
        match self.until_ns.load(Ordering::Acquire) {
            OVER => Holds::No,
            until_ns if self.has_passed(Until(until_ns)) => Holds::Unclear,
            until_ns => Holds::Yes(Until(until_ns)),
        }
    }

    /// Whether this time is over.
    pub fn has_passed(&self, until: Until) -> bool {
        until != Until::NEVER && self.clocks.since_boot_ns() >= until.0
    }

    /// Waits while it is unclear. True if it holds.
    pub async fn decided(&self) -> bool {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.holds() {
                Holds::Yes(_) => return true,
                Holds::No => return false,
                Holds::Unclear => changed.await,
            }
        }
    }

    /// Lets it hold up to this time since the machine booted, unless it is over.
    pub fn extend(&self, until_ns: u64) {
        let longer = |known: u64| (known != OVER).then(|| known.max(until_ns));
        let extended = self
            .until_ns
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, longer);
        if extended.is_ok() {
            self.changed.notify_waiters();
        }
    }

    /// Ends it for good.
    pub fn end(&self) {
        self.until_ns.store(OVER, Ordering::Release);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's clock that tests set.
    #[derive(Debug, Default)]
    struct Set(AtomicU64);

    impl Source for Set {
        fn since_boot_ns(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn wall_ns(&self) -> u64 {
            0
        }

        fn boot(&self) -> Option<Arc<str>> {
            None
        }
    }

    #[test]
    fn a_mandate_holds_until_its_time_has_passed_and_never_after_its_end() {
        let clock = Arc::new(Set::default());
        let at = |ns| clock.0.store(ns, Ordering::SeqCst);
        let mandate = Mandate::new(clock.clone(), 0);
        at(1);
        assert_eq!(mandate.holds(), Holds::Unclear);
        mandate.extend(100);
        mandate.extend(50);
        at(99);
        assert_eq!(mandate.holds(), Holds::Yes(Until(100)));
        at(100);
        assert_eq!(mandate.holds(), Holds::Unclear);
        assert!(mandate.has_passed(Until(100)));
        mandate.extend(200);
        assert_eq!(mandate.holds(), Holds::Yes(Until(200)));
        mandate.end();
        mandate.extend(300);
        assert_eq!(mandate.holds(), Holds::No);
        assert_eq!(Mandate::without_end().holds(), Holds::Yes(Until::NEVER));
    }

    #[tokio::test]
    async fn who_waits_learns_whether_it_holds() {
        for is_extended in [true, false] {
            let clock = Set(AtomicU64::new(1));
            let mandate = Arc::new(Mandate::new(Arc::new(clock), 0));
            let waiting = {
                let mandate = Arc::clone(&mandate);
                tokio::spawn(async move { mandate.decided().await })
            };
            tokio::task::yield_now().await;
            match is_extended {
                true => mandate.extend(100),
                false => mandate.end(),
            }
            assert_eq!(waiting.await.unwrap(), is_extended);
        }
    }
}
