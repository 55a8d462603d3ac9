//! Fair access to password hashing. A hash takes a core for tens of milliseconds, so few run at the same time, on threads
//! of their own. Of the waiting requests, the one goes first whose address and user had the fewest hashes lately, so
//! that password guessers do not delay other clients. Knows no password.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::recent::Recent;
use crate::clock;
use crate::model::Name;

/// Maximum number of hashes that run at the same time. Each takes a core and 12 MiB.
const HASHES_AT_ONCE: usize = 2;
/// Maximum number of waiting requests. Beyond it, a request of the askers with the most recent hashes is
/// refused.
const WAITING_MAX: usize = 1024;
/// After this time the count of hashes of an address or user is halved.
const LOAD_HALVES_AFTER: Duration = Duration::from_secs(10);
/// Bits of an IPv6 address that name its network.
const NETWORK_BITS: u32 = 64;

/// The address and user that a hash is for.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    keys: [Option<Key>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    User(Name),
}

impl Asker {
    /// A login as `user`, from `address`; without an address for an operator's request.
    pub(super) fn new(user: &str, address: Option<IpAddr>) -> Asker {
        Asker {
            keys: [
                address.map(|address| Key::Address(network(address))),
                Some(Key::User(user.into())),
            ],
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().flatten()
    }
}

/// The network of an address: the part that a client cannot choose.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - NETWORK_BITS))).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The running hashes and the waiting requests.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    list: Mutex<WaitingList<oneshot::Sender<HashPermit>>>,
}

/// The right to run one hash. When it is dropped, the next request gets one.
#[derive(Debug)]
pub(super) struct HashPermit {
    hashing: Arc<Hashing>,
}

impl Hashing {
    /// Waits for a permit. `None` if too many requests wait that had fewer hashes.
    pub(super) async fn permit(self: &Arc<Self>, asker: Asker) -> Option<HashPermit> {
        let waiting = {
            let mut line = self.waiting_list();
            let now = clock::monotonic();
            if line.begin_if_free(&asker, now) {
                None
            } else {
                let (go, gone) = oneshot::channel();
                line.enter(asker, go);
                Some(gone)
            }
        };
        match waiting {
            None => Some(HashPermit {
                hashing: Arc::clone(self),
            }),
            Some(permit) => permit.await.ok(),
        }
    }

    fn waiting_list(&self) -> MutexGuard<'_, WaitingList<oneshot::Sender<HashPermit>>> {
        self.list.lock()
    }
}

impl HashPermit {
    /// Does slow work on its own thread. The permit lasts as long as the work, even if the caller stops
    /// waiting. `None` if the system starts no thread.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let started = thread::Builder::new()
            .name("leveret-login".to_owned())
            .spawn(move || {
                let result = work();
                drop(self);
                drop(tell.send(result));
            });
        if let Err(error) = started {
            tracing::warn!(%error, "no thread to hash a password");
            return None;
        }
        told.await.ok()
    }
}

impl Drop for HashPermit {
    fn drop(&mut self) {
        let next = self.hashing.waiting_list().end(clock::monotonic());
        if let Some(go) = next {
            // A caller that has just stopped waiting drops it, which serves the next one.
            drop(go.send(HashPermit {
                hashing: Arc::clone(&self.hashing),
            }));
        }
    }
}

/// A waiting request.
trait Request {
    /// Whether the caller has stopped waiting.
    fn is_dead(&self) -> bool;
}

impl Request for oneshot::Sender<HashPermit> {
    fn is_dead(&self) -> bool {
        self.is_closed()
    }
}

/// The waiting requests, and the hashes that each address and user had lately. Pure.
#[derive(Debug)]
struct WaitingList<T> {
    running: usize,
    waiting: VecDeque<(Asker, T)>,
    load: Recent<Key>,
    /// The next permit is for the oldest request, regardless of its count, so that each request is served at
    /// some time.
    by_age: bool,
}

impl<T> Default for WaitingList<T> {
    fn default() -> WaitingList<T> {
        WaitingList {
            running: 0,
            waiting: VecDeque::new(),
            load: Recent::new(LOAD_HALVES_AFTER),
            by_age: false,
        }
    }
}

impl<T: Request> WaitingList<T> {
    /// Begins if a core is free for it.
    fn begin_if_free(&mut self, asker: &Asker, now: Instant) -> bool {
        let free = self.running < HASHES_AT_ONCE;
        if free {
            self.running += 1;
            self.charge(asker, now);
        }
        free
    }

    /// Adds a waiting request. Refuses the one with the most hashes lately if there are too many.
    fn enter(&mut self, asker: Asker, request: T) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|(_, request)| !request.is_dead());
        }
        self.waiting.push_back((asker, request));
        if self.waiting.len() > WAITING_MAX {
            let scores = self.waiting.iter().map(|(asker, _)| self.score(asker));
            // Of several, `max_by_key` finds the newest.
            let most = scores.enumerate().max_by_key(|(_, score)| *score);
            most.and_then(|(index, _)| self.waiting.remove(index));
        }
    }

    /// A hash has ended. Returns the next request.
    fn end(&mut self, now: Instant) -> Option<T> {
        self.running = self.running.saturating_sub(1);
        self.waiting.retain(|(_, request)| !request.is_dead());
        self.by_age = !self.by_age;
        let index = if self.by_age {
            0
        } else {
            let scores = self.waiting.iter().map(|(asker, _)| self.score(asker));
            scores.enumerate().min_by_key(|(_, score)| *score)?.0
        };
        let (asker, request) = self.waiting.remove(index)?;
        self.running += 1;
        self.charge(&asker, now);
        Some(request)
    }

    fn score(&self, asker: &Asker) -> u32 {
        let loads = asker.keys().map(|key| self.load.of(key));
        loads.fold(0, u32::saturating_add)
    }

    fn charge(&mut self, asker: &Asker, now: Instant) {
        for key in asker.keys() {
            self.load.add(key, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Request for &str {
        fn is_dead(&self) -> bool {
            *self == "dead"
        }
    }

    fn asker(user: &str, last: u8) -> Asker {
        Asker::new(user, Some([10, 0, 0, last].into()))
    }

    /// A line that serves as many requests as it can.
    fn busy(now: Instant) -> WaitingList<&'static str> {
        let mut line = WaitingList::default();
        for _ in 0..HASHES_AT_ONCE {
            assert!(line.begin_if_free(&asker("guest", 1), now));
        }
        assert!(!line.begin_if_free(&asker("guest", 1), now));
        line
    }

    /// Number of requests that are served before `who`.
    fn turns_before(line: &mut WaitingList<&'static str>, who: &str, now: Instant) -> usize {
        let mut turns = 0;
        while line.end(now).expect("a turn for everyone") != who {
            turns += 1;
        }
        turns
    }

    #[test]
    fn guesses_hold_up_neither_another_address_nor_another_user() {
        let now = clock::monotonic();
        for (guessers, other) in [
            // One address tries many names; many addresses try one name; the other's own address tries
            // another name.
            (
                (0..200)
                    .map(|n| asker(&n.to_string(), 1))
                    .collect::<Vec<_>>(),
                asker("ann", 2),
            ),
            (
                (0..200).map(|n| asker("guest", n)).collect(),
                asker("ann", 201),
            ),
            (
                (0..200).map(|_| asker("guest", 1)).collect(),
                asker("ann", 1),
            ),
        ] {
            let mut line = busy(now);
            for guesser in guessers {
                line.enter(guesser, "guesser");
            }
            // The guesses have gone on for a while.
            for _ in 0..20 {
                line.end(now);
            }
            line.enter(other, "other");
            assert!(turns_before(&mut line, "other", now) <= 1);
        }
    }

    #[test]
    fn no_request_waits_forever() {
        let now = clock::monotonic();
        let mut line = busy(now);
        line.enter(asker("guest", 1), "old");
        for n in 0..100 {
            line.enter(asker(&n.to_string(), n + 2), "new");
        }
        assert!(turns_before(&mut line, "old", now) <= 1);
    }

    #[test]
    fn dropped_requests_are_skipped_and_old_loads_forgotten() {
        let now = clock::monotonic();
        let mut line = busy(now);
        line.enter(asker("guest", 1), "dead");
        line.enter(asker("ann", 2), "ann");
        assert_eq!(line.end(now), Some("ann"));
        assert_eq!(line.end(now), None);
        assert_eq!(line.running, 1);
        assert!(line.score(&asker("guest", 1)) > 0);
        let mut later = now;
        for _ in 0..3 {
            later += LOAD_HALVES_AFTER;
            line.charge(&asker("bob", 3), later);
        }
        assert_eq!(line.score(&asker("guest", 1)), 0);
    }

    #[test]
    fn a_full_line_refuses_the_asker_with_the_most_hashes() {
        let now = clock::monotonic();
        let mut line = busy(now);
        for _ in 0..WAITING_MAX {
            line.enter(asker("guest", 1), "guest");
        }
        line.enter(asker("ann", 2), "ann");
        assert_eq!(line.waiting.len(), WAITING_MAX);
        assert!(line.waiting.iter().any(|(_, who)| *who == "ann"));
    }

    #[test]
    fn an_owner_of_a_network_has_one_share() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
    }

    #[tokio::test]
    async fn a_limited_number_of_hashes_runs_together_and_all_are_served() {
        let hashing = Arc::new(Hashing::default());
        let at_once = Arc::new(Mutex::new((0_usize, 0_usize)));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..20_u8 {
            let (hashing, at_once) = (hashing.clone(), at_once.clone());
            tasks.spawn(async move {
                let turn = hashing.permit(asker("u", n)).await?;
                turn.run(move || {
                    let mut count = at_once.lock();
                    *count = (count.0 + 1, count.1.max(count.0 + 1));
                    drop(count);
                    thread::sleep(Duration::from_millis(1));
                    at_once.lock().0 -= 1;
                })
                .await
            });
        }
        assert!(tasks.join_all().await.iter().all(Option::is_some));
        assert!(at_once.lock().1 <= HASHES_AT_ONCE);
    }
}
