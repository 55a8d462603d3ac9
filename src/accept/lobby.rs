//! Who is inside a front door: peers that are known, and newcomers that have not said yet who they are. Newcomers have
//! places of their own, so that no flood of them takes those of the others; and when their places are taken, the one
//! that has kept the broker waiting longest makes room for the next. Pure: the time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How long a newcomer may keep the broker waiting before it has to make room for another, when room is short.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Newcomers that have been shown out and have not closed their sockets yet.
const LEAVING_MAX: usize = 64;

/// How many may be inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Peers that are known.
    pub known: usize,
    /// Newcomers; one address may have half of their places.
    pub newcomers: usize,
}

/// Everyone inside one front door.
#[derive(Debug)]
pub(super) struct Lobby {
    capacity: Capacity,
    known: usize,
    /// Shown out, but with a socket that is still open.
    leaving: usize,
    newcomers: HashMap<u64, Newcomer>,
    /// How many newcomers each address has.
    by_address: HashMap<Address, FromThere>,
    /// Newcomers that the broker waits for, longest first.
    awaited: BTreeSet<(Instant, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Newcomer {
    from: Address,
    /// Since when the broker waits for it; `None` while it waits for the broker.
    since: Option<Instant>,
    /// Used to show it out.
    door: oneshot::Sender<()>,
}

/// The newcomers of one address.
#[derive(Debug, Default)]
struct FromThere {
    count: usize,
    awaited: BTreeSet<(Instant, u64)>,
}

/// An address, as far as it tells peers apart: of IPv6 the part that is given to one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address(IpAddr);

impl Address {
    fn of(peer: IpAddr) -> Address {
        Address(match peer.to_canonical() {
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Whether another connection may be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// At once.
    Now,
    /// When a connection leaves, or at this time at the latest.
    Later(Option<Instant>),
}

/// What admitting a newcomer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has a place among those that are known.
    Known,
    /// There is none. It keeps the place it has, and is not shown out.
    Full,
    /// It was shown out the moment before.
    ShownOut,
}

/// A newcomer that has entered.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) id: u64,
    /// Told when it is shown out; the other end is gone when that cannot happen any more.
    pub(super) shown_out: oneshot::Receiver<()>,
    /// Another one was shown out for it.
    pub(super) replaces: bool,
}

impl Lobby {
    pub(super) fn new(capacity: Capacity) -> Lobby {
        Lobby {
            capacity,
            known: 0,
            leaving: 0,
            newcomers: HashMap::new(),
            by_address: HashMap::new(),
            awaited: BTreeSet::new(),
            next: 0,
        }
    }

    /// Whether a newcomer would find room, be it that of another who has to leave.
    pub(super) fn room(&self, now: Instant) -> Room {
        if self.newcomers.len() + self.leaving < self.capacity.newcomers {
            return Room::Now;
        }
        if self.leaving >= LEAVING_MAX {
            return Room::Later(None);
        }
        match self.awaited.first() {
            Some((since, _)) if *since + GRACE <= now => Room::Now,
            first => Room::Later(first.map(|(since, _)| *since + GRACE)),
        }
    }

    /// A newcomer enters. `None` if its address has its share, and there is none that could make room for it.
    pub(super) fn enter(&mut self, peer: IpAddr, now: Instant) -> Option<Entered> {
        let from = Address::of(peer);
        let share = self.capacity.newcomers.div_ceil(2);
        let there = self.by_address.get(&from);
        let is_full = self.newcomers.len() + self.leaving >= self.capacity.newcomers;
        let longest = match there.filter(|there| there.count >= share) {
            Some(there) => Some(there.awaited.first()),
            None => is_full.then(|| self.awaited.first()),
        };
        let replaced = match longest {
            Some(Some((since, id))) if *since + GRACE <= now => Some(*id),
            Some(_) => return None,
            None => None,
        };
        if let Some(id) = replaced {
            self.show_out(id);
        }
        let id = self.next;
        self.next += 1;
        let (door, shown_out) = oneshot::channel();
        let newcomer = Newcomer {
            from,
            since: None,
            door,
        };
        self.newcomers.insert(id, newcomer);
        self.by_address.entry(from).or_default().count += 1;
        self.awaits(id, Some(now));
        Some(Entered {
            id,
            shown_out,
            replaces: replaced.is_some(),
        })
    }

    /// Since when the broker waits for this newcomer; `None` while it waits for the broker.
    pub(super) fn awaits(&mut self, id: u64, since: Option<Instant>) {
        let Some(newcomer) = self.newcomers.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut newcomer.since, since);
        let Some(there) = self.by_address.get_mut(&newcomer.from) else {
            return;
        };
        if let Some(before) = before {
            self.awaited.remove(&(before, id));
            there.awaited.remove(&(before, id));
        }
        if let Some(since) = since {
            self.awaited.insert((since, id));
            there.awaited.insert((since, id));
        }
    }

    /// It is known who this newcomer is.
    pub(super) fn admit(&mut self, id: u64) -> Admission {
        if self.known < self.capacity.known {
            return match self.remove(id) {
                Some(_) => {
                    self.known += 1;
                    Admission::Known
                }
                None => Admission::ShownOut,
            };
        }
        self.awaits(id, None);
        match self.newcomers.get_mut(&id) {
            Some(newcomer) => {
                // The receiver learns that it is not shown out any more.
                newcomer.door = oneshot::channel().0;
                Admission::Full
            }
            None => Admission::ShownOut,
        }
    }

    /// One that is known has left.
    pub(super) fn known_left(&mut self) {
        self.known -= 1;
    }

    /// One that was never known has left.
    pub(super) fn newcomer_left(&mut self, id: u64) {
        if self.remove(id).is_none() {
            self.leaving -= 1;
        }
    }

    fn show_out(&mut self, id: u64) {
        if let Some(newcomer) = self.remove(id) {
            self.leaving += 1;
            // Fails only if it is leaving by itself right now.
            newcomer.door.send(()).unwrap_or_default();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Newcomer> {
        self.awaits(id, None);
        let newcomer = self.newcomers.remove(&id)?;
        if let Some(there) = self.by_address.get_mut(&newcomer.from) {
            there.count -= 1;
            if there.count == 0 {
                self.by_address.remove(&newcomer.from);
            }
        }
        Some(newcomer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::monotonic;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn lobby(known: usize, newcomers: usize) -> (Lobby, impl Fn(u64) -> Instant) {
        let begun = monotonic();
        let at = move |ms| begun + Duration::from_millis(ms);
        (Lobby::new(Capacity { known, newcomers }), at)
    }

    fn is_shown_out(entered: &mut Entered) -> bool {
        entered.shown_out.try_recv().is_ok()
    }

    #[test]
    fn who_keeps_the_broker_waiting_longest_makes_room() {
        let (mut lobby, at) = lobby(10, 4);
        let mut first = lobby.enter(HERE, at(0)).unwrap();
        let mut second = lobby.enter(HERE, at(10)).unwrap();
        let mut third = lobby.enter(THERE, at(20)).unwrap();
        let mut fourth = lobby.enter(THERE, at(30)).unwrap();
        assert_eq!(lobby.room(at(50)), Room::Later(Some(at(100))));
        // It was heard, so that another is the one.
        lobby.awaits(first.id, Some(at(60)));
        assert_eq!(lobby.room(at(100)), Room::Later(Some(at(110))));
        assert_eq!(lobby.room(at(110)), Room::Now);
        let other: IpAddr = "10.0.0.3".parse().unwrap();
        let fifth = lobby.enter(other, at(110)).unwrap();
        assert!(fifth.replaces && is_shown_out(&mut second));
        for entered in [&mut first, &mut third, &mut fourth] {
            assert!(!is_shown_out(entered));
        }
        lobby.newcomer_left(second.id);
        assert_eq!(lobby.leaving, 0);
    }

    #[test]
    fn an_address_has_half_of_the_places() {
        let (mut lobby, at) = lobby(10, 6);
        let mut mine: Vec<_> = (0..3).map(|_| lobby.enter(HERE, at(0)).unwrap()).collect();
        // There are places, but not for this address.
        assert_eq!(lobby.room(at(50)), Room::Now);
        assert!(lobby.enter(HERE, at(50)).is_none());
        let next = lobby.enter(HERE, at(100)).unwrap();
        assert!(next.replaces && is_shown_out(&mut mine[0]));
        assert!(!lobby.enter(THERE, at(100)).unwrap().replaces);
        // Those whom the broker keeps waiting are not shown out for that.
        for entered in mine.iter().skip(1).chain([&next]) {
            lobby.awaits(entered.id, None);
        }
        assert!(lobby.enter(HERE, at(5000)).is_none());
        lobby.newcomer_left(next.id);
        assert!(lobby.enter(HERE, at(5000)).is_some());
    }

    #[test]
    fn networks_of_ipv6_are_one_address() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn who_is_known_takes_no_newcomers_place() {
        let (mut lobby, at) = lobby(1, 2);
        let mut first = lobby.enter(HERE, at(0)).unwrap();
        assert_eq!(lobby.admit(first.id), Admission::Known);
        assert!(first.shown_out.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        let mut second = lobby.enter(HERE, at(0)).unwrap();
        assert_eq!(lobby.admit(second.id), Admission::Full);
        assert!(second.shown_out.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        // It keeps its place, and is not shown out.
        assert!(lobby.enter(HERE, at(1000)).is_none());
        lobby.known_left();
        assert_eq!(lobby.admit(second.id), Admission::Known);
        assert!(lobby.enter(HERE, at(1000)).is_some());
    }

    #[test]
    fn no_more_are_inside_than_may_be() {
        let (mut lobby, at) = lobby(0, 1000);
        let mut inside = Vec::new();
        for n in 0..5000_u64 {
            let now = at(n);
            if lobby.room(now) == Room::Now {
                let peer = IpAddr::from([10, 1, 0, (n % 7) as u8]);
                inside.extend(lobby.enter(peer, now));
            }
            assert!(lobby.newcomers.len() <= 1000 && lobby.leaving <= LEAVING_MAX);
        }
        assert_eq!(lobby.leaving, LEAVING_MAX);
        for entered in inside {
            lobby.newcomer_left(entered.id);
        }
        assert_eq!((lobby.leaving, lobby.newcomers.len()), (0, 0));
        assert!(lobby.by_address.is_empty() && lobby.awaited.is_empty());
    }

    proptest! {
        #[test]
        fn the_books_agree(steps: Vec<(u8, u8)>) {
            let (mut lobby, at) = lobby(3, 4);
            let mut inside: Vec<(Entered, bool)> = Vec::new();
            for (n, (step, which)) in steps.into_iter().enumerate() {
                let now = at(n as u64 * 40);
                let index = usize::from(which) % inside.len().max(1);
                match (step % 4, inside.get_mut(index)) {
                    (0, _) => inside.extend(lobby.enter(IpAddr::from([10, 0, 0, which % 3]), now).map(|e| (e, false))),
                    (1, Some((entered, known))) if !*known => *known = lobby.admit(entered.id) == Admission::Known,
                    (2, Some((entered, _))) => lobby.awaits(entered.id, (which % 2 == 0).then_some(now)),
                    (3, Some(_)) => match inside.remove(index) {
                        (_, true) => lobby.known_left(),
                        (entered, false) => lobby.newcomer_left(entered.id),
                    },
                    _ => {}
                }
                let known = inside.iter().filter(|(_, known)| *known).count();
                prop_assert_eq!(lobby.known, known);
                prop_assert_eq!(lobby.newcomers.len() + lobby.leaving, inside.len() - known);
                let counted: usize = lobby.by_address.values().map(|there| there.count).sum();
                prop_assert_eq!(counted, lobby.newcomers.len());
                let awaited: usize = lobby.by_address.values().map(|there| there.awaited.len()).sum();
                prop_assert_eq!(awaited, lobby.awaited.len());
                prop_assert!(known <= 3 && lobby.newcomers.len() <= 4);
            }
        }
    }
}
