//! Counts the connections of a front door: those of authenticated peers, and newcomers that have not logged
//! in yet. Newcomers have places of their own, so that a flood of them takes no authenticated peer's place.
//! When their places are full, the next newcomer displaces the one that has kept the broker waiting longest.
//! Pure: the time is an argument.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// A newcomer that has kept the broker waiting for less than this is not displaced.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// Maximum number of displaced newcomers whose sockets are still open.
const LEAVING_MAX: usize = 64;

/// Maximum numbers of connections of a front door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of authenticated peers.
    pub authenticated: usize,
    /// Newcomers. One address may have half of them.
    pub newcomers: usize,
}

/// The connections of one front door.
#[derive(Debug)]
pub(super) struct AdmissionControl {
    capacity: Capacity,
    authenticated: usize,
    /// Displaced newcomers whose sockets are still open.
    leaving: usize,
    newcomers: HashMap<u64, Newcomer>,
    by_address: HashMap<Address, AddressUse>,
    /// Newcomers that the broker waits for, longest first.
    awaited: BTreeSet<(Instant, u64)>,
    next: u64,
}

#[derive(Debug)]
struct Newcomer {
    /// `None` while only its proxy's address is known.
    from: Option<Address>,
    /// Since when the broker waits for the peer; `None` while the peer waits for the broker.
    since: Option<Instant>,
    /// Notifies the connection that it is displaced.
    displaced_sender: oneshot::Sender<()>,
}

/// The newcomers of one address.
#[derive(Debug, Default)]
struct AddressUse {
    count: usize,
    awaited: BTreeSet<(Instant, u64)>,
}

/// An IPv4 address, or the /64 network of an IPv6 address, since one peer may have all addresses of a network.
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

/// When the front door may accept another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acceptance {
    Now,
    /// When a connection leaves, or at this time if it comes earlier.
    Later(Option<Instant>),
}

/// The outcome of admitting a newcomer that has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The newcomer counts among the authenticated connections.
    Admitted,
    /// There are too many authenticated connections. The newcomer keeps its place, and is not displaced.
    Full,
    /// Another newcomer has just displaced it.
    Displaced,
}

/// How a newcomer got its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    /// Another newcomer was displaced.
    Made,
}

/// No place is free, and no newcomer can be displaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowded;

/// A newcomer whose connection was accepted.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    /// Receives a value when the newcomer is displaced. Closes when that can no longer happen.
    pub(super) displaced: oneshot::Receiver<()>,
    /// Whether it has displaced another newcomer.
    pub(super) replaces: bool,
}

impl AdmissionControl {
    pub(super) fn new(capacity: Capacity) -> AdmissionControl {
        AdmissionControl {
            capacity,
            authenticated: 0,
            leaving: 0,
            newcomers: HashMap::new(),
            by_address: HashMap::new(),
            awaited: BTreeSet::new(),
            next: 0,
        }
    }

    /// Maximum number of connections of authenticated peers.
    pub(super) fn authenticated_max(&self) -> usize {
        self.capacity.authenticated
    }

    /// Sets that number. Connections beyond a lower one stay open.
    pub(super) fn set_authenticated_max(&mut self, max: usize) {
        self.capacity.authenticated = max;
    }

    /// When a newcomer can enter, into a free place or by displacing another.
    pub(super) fn acceptance(&self, now: Instant) -> Acceptance {
        if self.newcomers.len() + self.leaving < self.capacity.newcomers {
            return Acceptance::Now;
        }
        if self.leaving >= LEAVING_MAX {
            return Acceptance::Later(None);
        }
        match self.awaited.first() {
            Some((since, _)) if *since + GRACE <= now => Acceptance::Now,
            first => Acceptance::Later(first.map(|(since, _)| *since + GRACE)),
        }
    }

    /// Counts a newcomer. `None` if no place is free, for its address or at all, and no newcomer can be
    /// displaced. The address is `None` while only that of its proxy is known.
    pub(super) fn enter(&mut self, peer: Option<IpAddr>, now: Instant) -> Option<Entry> {
        let from = peer.map(Address::of);
        let is_full = self.newcomers.len() + self.leaving >= self.capacity.newcomers;
        let longest = match from.and_then(|from| self.longest_of_full(from)) {
            Some(longest) => Some(longest),
            None => is_full.then(|| self.awaited.first().copied()),
        };
        let replaced = self.make_room(longest, now).ok()?;
        let id = self.next;
        self.next += 1;
        let (displaced_sender, displaced) = oneshot::channel();
        let newcomer = Newcomer {
            from,
            since: None,
            displaced_sender,
        };
        self.newcomers.insert(id, newcomer);
        if let Some(from) = from {
            self.by_address.entry(from).or_default().count += 1;
        }
        self.awaits(id, Some(now));
        Some(Entry {
            id,
            displaced,
            replaces: replaced == Room::Made,
        })
    }

    /// The address of a newcomer is known now. Fails if the address has its share of newcomers, and none of them can be
    /// displaced.
    pub(super) fn locate(&mut self, id: u64, peer: IpAddr, now: Instant) -> Result<Room, Crowded> {
        let from = Address::of(peer);
        if !self.newcomers.contains_key(&id) {
            return Ok(Room::Free);
        }
        let longest = self.longest_of_full(from);
        let room = self.make_room(longest, now)?;
        self.awaits(id, None);
        if let Some(newcomer) = self.newcomers.get_mut(&id) {
            newcomer.from = Some(from);
            self.by_address.entry(from).or_default().count += 1;
        }
        self.awaits(id, Some(now));
        Ok(room)
    }

    /// For an address that has its share, the newcomer from there that has kept the broker waiting longest, if any.
    fn longest_of_full(&self, from: Address) -> Option<Option<(Instant, u64)>> {
        let share = self.capacity.newcomers.div_ceil(2);
        let address_use = self.by_address.get(&from)?;
        (address_use.count >= share).then(|| address_use.awaited.first().copied())
    }

    /// Displaces the newcomer that must go for another to have room, if one must.
    fn make_room(
        &mut self,
        longest: Option<Option<(Instant, u64)>>,
        now: Instant,
    ) -> Result<Room, Crowded> {
        match longest {
            None => Ok(Room::Free),
            Some(Some((since, id))) if since + GRACE <= now => {
                self.displace(id);
                Ok(Room::Made)
            }
            Some(_) => Err(Crowded),
        }
    }

    /// Notes since when the broker waits for this newcomer; `None` while the newcomer waits for the broker.
    pub(super) fn awaits(&mut self, id: u64, since: Option<Instant>) {
        let Some(newcomer) = self.newcomers.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut newcomer.since, since);
        let from = newcomer.from;
        let mut address_use = from.and_then(|from| self.by_address.get_mut(&from));
        if let Some(before) = before {
            self.awaited.remove(&(before, id));
            if let Some(address_use) = &mut address_use {
                address_use.awaited.remove(&(before, id));
            }
        }
        if let Some(since) = since {
            self.awaited.insert((since, id));
            if let Some(address_use) = &mut address_use {
                address_use.awaited.insert((since, id));
            }
        }
    }

    /// Counts a newcomer that has logged in among the authenticated connections.
    pub(super) fn admit(&mut self, id: u64) -> Admission {
        if self.authenticated < self.capacity.authenticated {
            return match self.remove(id) {
                Some(_) => {
                    self.authenticated += 1;
                    Admission::Admitted
                }
                None => Admission::Displaced,
            };
        }
        self.awaits(id, None);
        match self.newcomers.get_mut(&id) {
            Some(newcomer) => {
                // Closes the receiver, since this newcomer is no longer displaced.
                newcomer.displaced_sender = oneshot::channel().0;
                Admission::Full
            }
            None => Admission::Displaced,
        }
    }

    /// Counts a connection of the broker to itself among the authenticated ones, whatever their limit.
    pub(super) fn admit_inside(&mut self) {
        self.authenticated += 1;
    }

    /// An authenticated connection has ended.
    pub(super) fn authenticated_left(&mut self) {
        self.authenticated -= 1;
    }

    /// The connection of a newcomer has ended.
    pub(super) fn newcomer_left(&mut self, id: u64) {
        if self.remove(id).is_none() {
            self.leaving -= 1;
        }
    }

    fn displace(&mut self, id: u64) {
        if let Some(newcomer) = self.remove(id) {
            self.leaving += 1;
            // Fails only if the connection is ending by itself.
            newcomer.displaced_sender.send(()).unwrap_or_default();
        }
    }

    fn remove(&mut self, id: u64) -> Option<Newcomer> {
        self.awaits(id, None);
        let newcomer = self.newcomers.remove(&id)?;
        if let Some(from) = newcomer.from
            && let Some(address_use) = self.by_address.get_mut(&from)
        {
            address_use.count -= 1;
            if address_use.count == 0 {
                self.by_address.remove(&from);
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

    fn control(
        authenticated: usize,
        newcomers: usize,
    ) -> (AdmissionControl, impl Fn(u64) -> Instant) {
        let begun = monotonic();
        let at = move |ms| begun + Duration::from_millis(ms);
        (
            AdmissionControl::new(Capacity {
                authenticated,
                newcomers,
            }),
            at,
        )
    }

    fn unlocated(control: &AdmissionControl, id: u64) -> bool {
        let newcomer = control.newcomers.get(&id);
        newcomer.is_some_and(|newcomer| newcomer.from.is_none())
    }

    fn is_displaced(entry: &mut Entry) -> bool {
        entry.displaced.try_recv().is_ok()
    }

    #[test]
    fn the_newcomer_that_keeps_the_broker_waiting_longest_is_displaced() {
        let (mut control, at) = control(10, 4);
        let mut first = control.enter(Some(HERE), at(0)).unwrap();
        let mut second = control.enter(Some(HERE), at(10)).unwrap();
        let mut third = control.enter(Some(THERE), at(20)).unwrap();
        let mut fourth = control.enter(Some(THERE), at(30)).unwrap();
        assert_eq!(control.acceptance(at(50)), Acceptance::Later(Some(at(100))));
        // The first peer has sent something, so the broker now waits longest for the second.
        control.awaits(first.id, Some(at(60)));
        assert_eq!(
            control.acceptance(at(100)),
            Acceptance::Later(Some(at(110)))
        );
        assert_eq!(control.acceptance(at(110)), Acceptance::Now);
        let other: IpAddr = "10.0.0.3".parse().unwrap();
        let fifth = control.enter(Some(other), at(110)).unwrap();
        assert!(fifth.replaces && is_displaced(&mut second));
        for entry in [&mut first, &mut third, &mut fourth] {
            assert!(!is_displaced(entry));
        }
        control.newcomer_left(second.id);
        assert_eq!(control.leaving, 0);
    }

    #[test]
    fn an_address_may_have_half_of_the_newcomers() {
        let (mut control, at) = control(10, 6);
        let mut mine: Vec<_> = (0..3)
            .map(|_| control.enter(Some(HERE), at(0)).unwrap())
            .collect();
        // There are free places, but this address has its half.
        assert_eq!(control.acceptance(at(50)), Acceptance::Now);
        assert!(control.enter(Some(HERE), at(50)).is_none());
        let next = control.enter(Some(HERE), at(100)).unwrap();
        assert!(next.replaces && is_displaced(&mut mine[0]));
        assert!(!control.enter(Some(THERE), at(100)).unwrap().replaces);
        // Newcomers that wait for the broker are not displaced.
        for entry in mine.iter().skip(1).chain([&next]) {
            control.awaits(entry.id, None);
        }
        assert!(control.enter(Some(HERE), at(5000)).is_none());
        control.newcomer_left(next.id);
        assert!(control.enter(Some(HERE), at(5000)).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn an_authenticated_connection_takes_no_newcomers_place() {
        let (mut control, at) = control(1, 2);
        let mut first = control.enter(Some(HERE), at(0)).unwrap();
        assert_eq!(control.admit(first.id), Admission::Admitted);
        assert!(first.displaced.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        let mut second = control.enter(Some(HERE), at(0)).unwrap();
        assert_eq!(control.admit(second.id), Admission::Full);
        assert!(second.displaced.try_recv() == Err(oneshot::error::TryRecvError::Closed));
        // The second newcomer keeps its place and is not displaced.
        assert!(control.enter(Some(HERE), at(1000)).is_none());
        control.authenticated_left();
        assert_eq!(control.admit(second.id), Admission::Admitted);
        assert!(control.enter(Some(HERE), at(1000)).is_some());
    }

    #[test]
    fn there_are_never_more_connections_than_the_capacity() {
        let (mut control, at) = control(0, 1000);
        let mut inside = Vec::new();
        for n in 0..5000_u64 {
            let now = at(n);
            if control.acceptance(now) == Acceptance::Now {
                let peer = IpAddr::from([10, 1, 0, (n % 7) as u8]);
                inside.extend(control.enter(Some(peer), now));
            }
            assert!(control.newcomers.len() <= 1000 && control.leaving <= LEAVING_MAX);
        }
        assert_eq!(control.leaving, LEAVING_MAX);
        for entry in inside {
            control.newcomer_left(entry.id);
        }
        assert_eq!((control.leaving, control.newcomers.len()), (0, 0));
        assert!(control.by_address.is_empty() && control.awaited.is_empty());
    }

    proptest! {
        #[test]
        fn the_counts_agree_with_the_connections(steps: Vec<(u8, u8)>) {
            let (mut control, at) = control(3, 4);
            let mut inside: Vec<(Entry, bool)> = Vec::new();
            for (n, (step, which)) in steps.into_iter().enumerate() {
                let now = at(n as u64 * 40);
                let index = usize::from(which) % inside.len().max(1);
                match (step % 5, inside.get_mut(index)) {
                    (0, _) => {
                        // Every third comes through a proxy, and its address is known a little later.
                        let peer = (which % 3 > 0).then(|| IpAddr::from([10, 0, 0, which % 3]));
                        inside.extend(control.enter(peer, now).map(|e| (e, false)));
                    }
                    (4, Some((entry, false))) if unlocated(&control, entry.id) => {
                        control.locate(entry.id, IpAddr::from([10, 0, 0, which % 3]), now).unwrap_or(Room::Free);
                    }
                    (1, Some((entry, authenticated))) if !*authenticated => *authenticated = control.admit(entry.id) == Admission::Admitted,
                    (2, Some((entry, _))) => control.awaits(entry.id, (which % 2 == 0).then_some(now)),
                    (3, Some(_)) => match inside.remove(index) {
                        (_, true) => control.authenticated_left(),
                        (entry, false) => control.newcomer_left(entry.id),
                    },
                    _ => {}
                }
                let authenticated = inside.iter().filter(|(_, authenticated)| *authenticated).count();
                prop_assert_eq!(control.authenticated, authenticated);
                prop_assert_eq!(control.newcomers.len() + control.leaving, inside.len() - authenticated);
                let counted: usize = control.by_address.values().map(|address_use| address_use.count).sum();
                let located = control.newcomers.values().filter(|newcomer| newcomer.from.is_some()).count();
                prop_assert_eq!(counted, located);
                let awaited: usize = control.by_address.values().map(|address_use| address_use.awaited.len()).sum();
                let awaited_located = control.newcomers.values().filter(|newcomer| newcomer.from.is_some() && newcomer.since.is_some());
                prop_assert_eq!(awaited, awaited_located.count());
                let awaited_all = control.newcomers.values().filter(|newcomer| newcomer.since.is_some());
                prop_assert_eq!(awaited_all.count(), control.awaited.len());
                prop_assert!(authenticated <= 3 && control.newcomers.len() <= 4);
            }
        }
    }
}
