//! Where the publishes of one channel go, remembered: a publisher says the same exchange and routing key again and
//! again, so the bytes of its method are compared with those seen before and everything that follows from them
//! (exchange, permission, queues) is looked up once. Entries go stale with the virtual host's generation.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::error::Refusal;
use super::limits::{ROUTES_MAX, ROUTES_PER_CHANNEL_MAX, ROUTES_PER_CHANNEL_MIN};
use crate::broker::exchange::Exchange;
use crate::broker::queue::Queue;
use crate::model::Origin;

/// What one form of `basic.publish` means.
pub(crate) struct Route {
    hash: u64,
    payload: Box<[u8]>,
    /// Exchange and routing key, shared by all messages that go this way.
    pub(crate) origin: Arc<Origin>,
    /// Comes back if nobody gets it.
    pub(crate) mandatory: bool,
    /// Refused.
    pub(crate) immediate: bool,
    /// What was found in the virtual host, if it has been asked.
    pub(crate) way: Option<Way>,
}

/// The part that changes with the virtual host.
pub(crate) struct Way {
    /// The virtual host's generation when it was found.
    pub(crate) generation: u64,
    /// The permissions' epoch when it was found.
    pub(crate) epoch: u64,
    /// The exchange: it exists, and may be published to.
    pub(crate) exchange: Arc<Exchange>,
    /// Why it may not be with this routing key.
    pub(crate) refused: Option<Refusal>,
    /// Where messages go; `None` if that depends on more than the routing key.
    pub(crate) queues: Option<Arc<[Arc<Queue>]>>,
}

/// Room for routes that all channels share, beyond the few that each has of its own.
#[derive(Debug, Default)]
pub(crate) struct RouteRoom {
    taken: AtomicUsize,
}

impl RouteRoom {
    fn take(&self) -> bool {
        let more = |taken| (taken < ROUTES_MAX).then_some(taken + 1);
        let took = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        took.is_ok()
    }

    fn give_back(&self, count: usize) {
        self.taken.fetch_sub(count, Ordering::Relaxed);
    }
}

/// The routes of one channel. An index is valid until the next [`Routes::insert`].
#[derive(Default)]
pub(crate) struct Routes {
    known: Vec<Route>,
    /// Where the route with a hash is. Of two with one hash the later.
    places: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    /// The one used last.
    last: usize,
    /// The one to be replaced next.
    oldest: usize,
    /// Where those beyond [`ROUTES_PER_CHANNEL_MIN`] have their room from.
    room: Option<Arc<RouteRoom>>,
}

impl Routes {
    /// The route of a method payload seen before.
    pub(crate) fn find(&mut self, payload: &[u8]) -> Option<usize> {
        let is_it = |route: &Route| &*route.payload == payload;
        if self.known.get(self.last).is_some_and(is_it) {
            return Some(self.last);
        }
        let place = *self.places.get(&xxh3_64(payload))?;
        self.known.get(place).filter(|route| is_it(route))?;
        self.last = place;
        Some(place)
    }

    /// Remembers a new one, in place of the oldest if there are many.
    pub(crate) fn insert(
        &mut self,
        payload: &[u8],
        origin: Arc<Origin>,
        mandatory: bool,
        immediate: bool,
        room: &Arc<RouteRoom>,
    ) -> usize {
        let hash = xxh3_64(payload);
        let route = Route {
            hash,
            payload: payload.into(),
            origin,
            mandatory,
            immediate,
            way: None,
        };
        self.last = if self.may_grow(room) {
            self.known.push(route);
            self.known.len() - 1
        } else {
            self.replace_oldest(route)
        };
        self.places.insert(hash, self.last);
        self.last
    }

    fn may_grow(&mut self, room: &Arc<RouteRoom>) -> bool {
        match self.known.len() {
            0..ROUTES_PER_CHANNEL_MIN => true,
            ROUTES_PER_CHANNEL_MIN..ROUTES_PER_CHANNEL_MAX if room.take() => {
                self.room.get_or_insert_with(|| Arc::clone(room));
                true
            }
            _ => false,
        }
    }

    fn replace_oldest(&mut self, route: Route) -> usize {
        let place = self.oldest;
        self.oldest = (place + 1) % self.known.len().max(1);
        if let Some(old) = self.known.get_mut(place) {
            // Its hash may lead to another by now.
            if self.places.get(&old.hash) == Some(&place) {
                self.places.remove(&old.hash);
            }
            *old = route;
        }
        place
    }

    /// A route.
    pub(crate) fn get(&self, index: usize) -> Option<&Route> {
        self.known.get(index)
    }

    /// A route, to note what was found for it.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Route> {
        self.known.get_mut(index)
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.known.len().saturating_sub(ROUTES_PER_CHANNEL_MIN));
        }
    }
}

/// Takes a hash for what it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Arc<Origin> {
        Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        })
    }

    fn payload(n: usize) -> [u8; 8] {
        n.to_be_bytes()
    }

    #[test]
    fn the_oldest_makes_room() {
        let room = Arc::new(RouteRoom::default());
        let mut routes = Routes::default();
        let many = ROUTES_PER_CHANNEL_MAX;
        for n in 0..many {
            assert_eq!(routes.find(&payload(n)), None);
            let index = routes.insert(&payload(n), origin(), n == 1, false, &room);
            assert_eq!(routes.find(&payload(n)), Some(index));
        }
        assert!((0..many).all(|n| routes.find(&payload(n)) == Some(n)));
        let index = routes.insert(&payload(many), origin(), false, false, &room);
        assert_eq!((index, routes.find(&payload(0))), (0, None));
        assert_eq!(routes.find(&payload(many)), Some(0));
        let second = routes.find(&payload(1)).and_then(|index| routes.get(index));
        assert!(second.is_some_and(|route| route.mandatory));
        assert_eq!(routes.places.len(), many);
    }

    #[test]
    fn all_channels_together_remember_no_more_than_there_is_room_for() {
        let room = Arc::new(RouteRoom::default());
        let mut all = Vec::new();
        for _ in 0..=ROUTES_MAX / (ROUTES_PER_CHANNEL_MAX - ROUTES_PER_CHANNEL_MIN) {
            let mut routes = Routes::default();
            for n in 0..ROUTES_PER_CHANNEL_MAX {
                routes.insert(&payload(n), origin(), false, false, &room);
            }
            all.push(routes);
        }
        let known: usize = all.iter().map(|routes| routes.known.len()).sum();
        assert_eq!(known, ROUTES_MAX + all.len() * ROUTES_PER_CHANNEL_MIN);
        // What has no part of the room still has its own.
        let mut late = Routes::default();
        for n in 0..2 * ROUTES_PER_CHANNEL_MIN {
            let index = late.insert(&payload(n), origin(), false, false, &room);
            assert_eq!(late.find(&payload(n)), Some(index));
        }
        assert_eq!(late.known.len(), ROUTES_PER_CHANNEL_MIN);
        drop((all, late));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }
}
