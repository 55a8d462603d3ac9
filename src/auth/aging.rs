//! How long a decision of another system holds: asked for again before it ends, and beyond its end while the system is away.
//! Pure.

use std::time::{Duration, Instant};

use super::cache::Kept;
use super::decision::Verdict;
use crate::seldom::Seldom;

/// While a backend cannot be asked, its last permission to do something holds for as long after it was given.
const PERMISSION_OUTLIVES_BACKEND: Duration = Duration::from_secs(60 * 60);
/// Clients that use such a permission ask again after this time.
const AWAY_RETRY: Duration = Duration::from_secs(1);
/// The last part of a decision's time, in which it is asked for again before it ends: a third.
const REFRESH_PART: u32 = 3;

/// A verdict, and when the backend gave it.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) verdict: Verdict,
    given: Instant,
    /// The backend could not be asked again since.
    is_away: bool,
}

impl Decided {
    pub(super) fn new(verdict: Verdict, given: Instant) -> Decided {
        Decided {
            verdict,
            given,
            is_away: false,
        }
    }

    /// Whether it holds beyond its time, since its backend is away.
    fn outlives_backend(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.given);
        self.is_away && self.verdict == Verdict::Allowed && age < PERMISSION_OUTLIVES_BACKEND
    }
}

/// What to do with a kept decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It holds, and need not be looked at again before this.
    Fresh(Instant),
    /// It holds for so long, and is asked for again meanwhile, so that clients which work do not wait.
    Aging(Instant),
    Over,
}

impl State {
    pub(super) fn of(kept: &Kept<Decided>, now: Instant, ttl: Duration) -> State {
        let Some(until) = kept.until else {
            return State::Over;
        };
        let refreshed = until.checked_sub(ttl / REFRESH_PART);
        match refreshed {
            Some(refreshed) if now < refreshed => State::Fresh(refreshed),
            _ if now < until => State::Aging(until),
            _ if kept.value.outlives_backend(now) => State::Aging(now + AWAY_RETRY),
            _ => State::Over,
        }
    }
}

/// The verdict, or the earlier permission if the backend cannot be asked: clients that work go on while it is away.
pub(super) fn earlier_or(earlier: Option<Decided>, verdict: Verdict, now: Instant) -> Decided {
    static FAILURES: Seldom = Seldom::new(1, Duration::from_secs(10));
    if let Verdict::Failed { backend, why } = &verdict {
        if let Some(unsaid) = FAILURES.passes(now) {
            let backend = backend.module();
            tracing::error!(backend, %why, %unsaid, "a backend cannot be asked");
        }
        let earlier = earlier.map(|earlier| Decided {
            is_away: true,
            ..earlier
        });
        if let Some(earlier) = earlier.filter(|earlier| earlier.outlives_backend(now)) {
            return earlier;
        }
    }
    Decided::new(verdict, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::backend::External;
    use crate::clock;

    const TTL: Duration = Duration::from_secs(15);

    #[test]
    fn a_permission_outlives_its_backend_for_a_while() {
        let given = clock::monotonic();
        let failed = || Verdict::Failed {
            backend: External::Http,
            why: "timeout".into(),
        };
        let after = |earlier: Option<Verdict>, verdict, secs| {
            let earlier = earlier.map(|verdict| Decided::new(verdict, given));
            earlier_or(earlier, verdict, given + Duration::from_secs(secs)).verdict
        };
        let allowed = Some(Verdict::Allowed);
        assert_eq!(after(allowed.clone(), failed(), 3599), Verdict::Allowed);
        assert_eq!(after(allowed.clone(), failed(), 3600), failed());
        assert_eq!(after(allowed, Verdict::Denied, 1), Verdict::Denied);
        assert_eq!(after(Some(Verdict::Denied), failed(), 1), failed());
        assert_eq!(after(None, failed(), 1), failed());
        assert_eq!(after(None, Verdict::Allowed, 1), Verdict::Allowed);
    }

    #[test]
    fn a_decision_is_asked_for_again_before_it_ends() {
        let given = clock::monotonic();
        let at = |secs| given + Duration::from_secs(secs);
        let state = |verdict: &Verdict, is_away, secs| {
            let kept = Kept {
                value: Decided {
                    is_away,
                    ..Decided::new(verdict.clone(), given)
                },
                until: Some(at(15)),
            };
            State::of(&kept, at(secs), TTL)
        };
        let allowed = &Verdict::Allowed;
        assert_eq!(state(allowed, false, 9), State::Fresh(at(10)));
        assert_eq!(state(allowed, false, 10), State::Aging(at(15)));
        assert_eq!(state(allowed, false, 14), State::Aging(at(15)));
        assert_eq!(state(allowed, false, 15), State::Over);
        assert_eq!(state(allowed, true, 15), State::Aging(at(16)));
        assert_eq!(state(allowed, true, 3599), State::Aging(at(3600)));
        assert_eq!(state(allowed, true, 3600), State::Over);
        assert_eq!(state(&Verdict::Denied, true, 15), State::Over);
    }
}
