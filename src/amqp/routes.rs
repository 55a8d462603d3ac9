//! Where the publishes of one channel go, remembered: a publisher says the same exchange and routing key again and
//! again, so the bytes of its method are compared with those seen before and everything that follows from them
//! (exchange, permission, queues) is looked up once. Entries go stale with the virtual host's generation.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::limits::ROUTES_PER_CHANNEL_MAX;
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
    /// Where messages go; `None` if that depends on more than the routing key.
    pub(crate) queues: Option<Arc<[Arc<Queue>]>>,
}

/// The routes of one channel. An index is valid until the next [`Routes::insert`].
#[derive(Default)]
pub(crate) struct Routes {
    known: Vec<Route>,
    /// The one used last.
    last: usize,
    /// The one to be replaced next.
    oldest: usize,
}

impl Routes {
    /// The route of a method payload seen before.
    pub(crate) fn find(&mut self, payload: &[u8]) -> Option<usize> {
        if self
            .known
            .get(self.last)
            .is_some_and(|route| &*route.payload == payload)
        {
            return Some(self.last);
        }
        let hash = xxh3_64(payload);
        let found = self
            .known
            .iter()
            .position(|route| route.hash == hash && &*route.payload == payload)?;
        self.last = found;
        Some(found)
    }

    /// Remembers a new one, in place of the oldest if there are many.
    pub(crate) fn insert(
        &mut self,
        payload: &[u8],
        origin: Arc<Origin>,
        mandatory: bool,
        immediate: bool,
    ) -> usize {
        let route = Route {
            hash: xxh3_64(payload),
            payload: payload.into(),
            origin,
            mandatory,
            immediate,
            way: None,
        };
        if self.known.len() < ROUTES_PER_CHANNEL_MAX {
            self.known.push(route);
            self.last = self.known.len() - 1;
            return self.last;
        }
        self.last = self.oldest;
        self.oldest = (self.oldest + 1) % ROUTES_PER_CHANNEL_MAX;
        if let Some(place) = self.known.get_mut(self.last) {
            *place = route;
        }
        self.last
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut routes = Routes::default();
        let origin = Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        });
        let payload = |n: usize| n.to_be_bytes();
        for n in 0..ROUTES_PER_CHANNEL_MAX {
            assert_eq!(routes.find(&payload(n)), None);
            let index = routes.insert(&payload(n), Arc::clone(&origin), n == 1, false);
            assert_eq!(routes.find(&payload(n)), Some(index));
        }
        assert!((0..ROUTES_PER_CHANNEL_MAX).all(|n| routes.find(&payload(n)) == Some(n)));
        let index = routes.insert(&payload(ROUTES_PER_CHANNEL_MAX), origin, false, false);
        assert_eq!((index, routes.find(&payload(0))), (0, None));
        assert_eq!(routes.find(&payload(ROUTES_PER_CHANNEL_MAX)), Some(0));
        let second = routes.find(&payload(1)).and_then(|index| routes.get(index));
        assert!(second.is_some_and(|route| route.mandatory));
    }
}
