//! Whose turn it is to have a password hashed. A hash takes a core for tens of milliseconds, so few are computed at
//! once, on threads of their own; those who wait are taken by what their address and their user have had lately, so
//! that many who guess hold up nobody else. Knows no password.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::clock;
use crate::model::Name;

/// Password hashes computed at once. Each takes a core and 12 MiB while it runs; the others wait their turn.
const HASHES_AT_ONCE: usize = 2;
/// Those who may wait. When one more comes, one of those who have had most lately is sent away.
const WAITING_MAX: usize = 1024;
/// After this long, what an address or user has had counts half.
const LOAD_HALVES_AFTER: Duration = Duration::from_secs(10);
/// Addresses and users of which it is known what they have had.
const LOADS_MAX: usize = 8 * 1024;
/// Bits of an IPv6 address that tell one customer of a network from another.
const NETWORK_BITS: u32 = 64;

/// Who asks for a hash.
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
    /// One who would be `user`, from `address` unless it is an operator.
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

/// The part of an address that its owner cannot choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - NETWORK_BITS))).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The turns, and those who wait for one.
#[derive(Debug, Default)]
pub(super) struct Hashing {
    line: Mutex<Line<oneshot::Sender<Turn>>>,
}

/// A turn to hash; the next one's begins when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    hashing: Arc<Hashing>,
}

impl Hashing {
    /// Waits for a turn. None if there are too many with more right to one.
    pub(super) async fn turn(self: &Arc<Self>, asker: Asker) -> Option<Turn> {
        let waiting = {
            let mut line = self.line();
            let now = clock::monotonic();
            if line.begin_at_once(&asker, now) {
                None
            } else {
                let (go, gone) = oneshot::channel();
                line.enter(asker, go);
                Some(gone)
            }
        };
        match waiting {
            None => Some(Turn {
                hashing: Arc::clone(self),
            }),
            Some(turn) => turn.await.ok(),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<oneshot::Sender<Turn>>> {
        self.line.lock()
    }
}

impl Turn {
    /// Does slow work on a thread of its own. The turn lasts as long as the work, whoever has stopped waiting for it.
    /// None if the system has no thread to give.
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

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.hashing.line().end(clock::monotonic());
        if let Some(go) = next {
            // Who has just stopped waiting gives it on, by dropping it.
            drop(go.send(Turn {
                hashing: Arc::clone(&self.hashing),
            }));
        }
    }
}

/// What `Line` hands a turn to.
trait Ticket {
    /// Nobody waits for it any more.
    fn is_dead(&self) -> bool;
}

impl Ticket for oneshot::Sender<Turn> {
    fn is_dead(&self) -> bool {
        self.is_closed()
    }
}

/// Those who wait, and what each address and user has had. Pure.
#[derive(Debug)]
struct Line<T> {
    running: usize,
    waiting: VecDeque<(Asker, T)>,
    load: HashMap<Key, u32>,
    halved: Option<Instant>,
    /// The next turn is for who has waited longest, whatever it has had.
    by_age: bool,
}

impl<T> Default for Line<T> {
    fn default() -> Line<T> {
        Line {
            running: 0,
            waiting: VecDeque::new(),
            load: HashMap::new(),
            halved: None,
            by_age: false,
        }
    }
}

impl<T: Ticket> Line<T> {
    /// Begins, if there is room to.
    fn begin_at_once(&mut self, asker: &Asker, now: Instant) -> bool {
        let free = self.running < HASHES_AT_ONCE;
        if free {
            self.running += 1;
            self.charge(asker, now);
        }
        free
    }

    /// Waits. Who has had most is sent away if there are too many.
    fn enter(&mut self, asker: Asker, ticket: T) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.retain(|(_, ticket)| !ticket.is_dead());
        }
        self.waiting.push_back((asker, ticket));
        if self.waiting.len() > WAITING_MAX {
            let scores = self.waiting.iter().map(|(asker, _)| self.score(asker));
            // The newest of several.
            let most = scores.enumerate().max_by_key(|(_, score)| *score);
            most.and_then(|(index, _)| self.waiting.remove(index));
        }
    }

    /// A turn has ended; who has the next one.
    fn end(&mut self, now: Instant) -> Option<T> {
        self.running = self.running.saturating_sub(1);
        self.waiting.retain(|(_, ticket)| !ticket.is_dead());
        self.by_age = !self.by_age;
        let index = if self.by_age {
            0
        } else {
            let scores = self.waiting.iter().map(|(asker, _)| self.score(asker));
            scores.enumerate().min_by_key(|(_, score)| *score)?.0
        };
        let (asker, ticket) = self.waiting.remove(index)?;
        self.running += 1;
        self.charge(&asker, now);
        Some(ticket)
    }

    fn score(&self, asker: &Asker) -> u32 {
        let loads = asker.keys().filter_map(|key| self.load.get(key));
        loads.fold(0, |sum, load| sum.saturating_add(*load))
    }

    fn charge(&mut self, asker: &Asker, now: Instant) {
        let halved = *self.halved.get_or_insert(now);
        if now.saturating_duration_since(halved) >= LOAD_HALVES_AFTER
            || self.load.len() >= LOADS_MAX
        {
            self.halved = Some(now);
            self.load.retain(|_, load| {
                *load /= 2;
                *load > 0
            });
        }
        for key in asker.keys() {
            if self.load.len() < LOADS_MAX || self.load.contains_key(key) {
                let load = self.load.entry(key.clone()).or_default();
                *load = load.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ticket for &str {
        fn is_dead(&self) -> bool {
            *self == "dead"
        }
    }

    fn asker(user: &str, last: u8) -> Asker {
        Asker::new(user, Some([10, 0, 0, last].into()))
    }

    /// A line in which as many are served as can be.
    fn busy(now: Instant) -> Line<&'static str> {
        let mut line = Line::default();
        for _ in 0..HASHES_AT_ONCE {
            assert!(line.begin_at_once(&asker("guest", 1), now));
        }
        assert!(!line.begin_at_once(&asker("guest", 1), now));
        line
    }

    /// How many turns pass before `who` has one.
    fn turns_before(line: &mut Line<&'static str>, who: &str, now: Instant) -> usize {
        let mut turns = 0;
        while line.end(now).expect("a turn for everyone") != who {
            turns += 1;
        }
        turns
    }

    #[test]
    fn who_guesses_holds_up_neither_another_address_nor_another_user() {
        let now = clock::monotonic();
        for (guessers, other) in [
            // One address tries many names; one name is tried from many addresses, or from the other's own.
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
            // They have been at it for a while.
            for _ in 0..20 {
                line.end(now);
            }
            line.enter(other, "other");
            assert!(turns_before(&mut line, "other", now) <= 1);
        }
    }

    #[test]
    fn nobody_waits_for_ever() {
        let now = clock::monotonic();
        let mut line = busy(now);
        line.enter(asker("guest", 1), "old");
        for n in 0..100 {
            line.enter(asker(&n.to_string(), n + 2), "new");
        }
        assert!(turns_before(&mut line, "old", now) <= 1);
    }

    #[test]
    fn those_who_left_have_no_turn_and_what_was_had_is_forgotten() {
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
    fn a_full_line_sends_away_who_has_had_most() {
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
    fn loads_are_bounded() {
        let now = clock::monotonic();
        let mut line: Line<&str> = Line::default();
        for n in 0..3 * LOADS_MAX {
            line.charge(&Asker::new(&n.to_string(), None), now);
            assert!(line.load.len() <= LOADS_MAX);
        }
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
    async fn so_many_work_at_once_and_all_in_the_end() {
        let hashing = Arc::new(Hashing::default());
        let at_once = Arc::new(Mutex::new((0_usize, 0_usize)));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..20_u8 {
            let (hashing, at_once) = (hashing.clone(), at_once.clone());
            tasks.spawn(async move {
                let turn = hashing.turn(asker("u", n)).await?;
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
