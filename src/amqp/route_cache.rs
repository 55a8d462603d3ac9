//! The routes of one channel's publishes. A publisher repeats exchange and routing key, so the bytes of its
//! method are compared with earlier ones, and exchange, permission and queues are looked up once. A route
//! goes stale with the virtual host's generation.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use super::error::Refusal;
use super::limits::{ROUTES_MAX, ROUTES_PER_CHANNEL_MAX, ROUTES_PER_CHANNEL_MIN};
use crate::broker::exchange::Exchange;
use crate::broker::queue::Queue;
use crate::broker::users::Validity;
use crate::model::Origin;

/// The queues of a message.
pub(crate) type Targets = Arc<[Arc<Queue>]>;

/// A `basic.publish` method, and the route of its messages.
pub(crate) struct CachedPublish {
    hash: u64,
    payload: Box<[u8]>,
    /// Exchange and routing key, shared by all its messages.
    pub(crate) origin: Arc<Origin>,
    /// A message without a queue is returned.
    pub(crate) mandatory: bool,
    /// Refused, as in RabbitMQ.
    pub(crate) immediate: bool,
    pub(crate) route: Option<Route>,
}

/// The answer of routing for an exchange and a routing key.
pub(crate) struct Route {
    /// The virtual host's generation that it is valid for.
    pub(crate) generation: u64,
    /// The permissions' epoch that it is valid for.
    pub(crate) epoch: u64,
    /// How long the user may write to the exchange, besides.
    pub(crate) validity: Validity,
    /// The exchange, which exists and which the user may write to.
    pub(crate) exchange: Arc<Exchange>,
    /// Why the user may not write to it with this routing key.
    pub(crate) refused: Option<Refusal>,
    /// Whether the firehose copies its messages.
    pub(crate) is_traced: bool,
    /// `None` if the queues depend on more than the routing key.
    pub(crate) targets: Option<Targets>,
}

/// Number of cached publishes that all channels share, beyond the few that each may have of its own.
#[derive(Debug, Default)]
pub(crate) struct RouteQuota {
    taken: AtomicUsize,
}

impl RouteQuota {
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

/// The cache of one channel. An index is valid until the next [`RouteCache::insert`].
#[derive(Default)]
pub(crate) struct RouteCache {
    publishes: Vec<CachedPublish>,
    /// Indexes by hash. Of two entries with one hash the later.
    by_hash: HashMap<u64, usize, BuildHasherDefault<IdentityHasher>>,
    /// Index of the latest lookup.
    last: usize,
    /// Index of the entry that is replaced next.
    oldest: usize,
    /// Set once there are more than [`ROUTES_PER_CHANNEL_MIN`] entries.
    quota: Option<Arc<RouteQuota>>,
}

impl RouteCache {
    /// The entry of a method payload.
    pub(crate) fn find(&mut self, payload: &[u8]) -> Option<usize> {
        let is_it = |publish: &CachedPublish| &*publish.payload == payload;
        if self.publishes.get(self.last).is_some_and(is_it) {
            return Some(self.last);
        }
        let index = *self.by_hash.get(&xxh3_64(payload))?;
        self.publishes.get(index).filter(|publish| is_it(publish))?;
        self.last = index;
        Some(index)
    }

    /// Adds an entry, in place of the oldest if the cache is full.
    pub(crate) fn insert(
        &mut self,
        payload: &[u8],
        origin: Arc<Origin>,
        mandatory: bool,
        immediate: bool,
        quota: &Arc<RouteQuota>,
    ) -> usize {
        let hash = xxh3_64(payload);
        let publish = CachedPublish {
            hash,
            payload: payload.into(),
            origin,
            mandatory,
            immediate,
            route: None,
        };
        self.last = if self.may_grow(quota) {
            self.publishes.push(publish);
            self.publishes.len() - 1
        } else {
            self.replace_oldest(publish)
        };
        self.by_hash.insert(hash, self.last);
        self.last
    }

    fn may_grow(&mut self, quota: &Arc<RouteQuota>) -> bool {
        match self.publishes.len() {
            0..ROUTES_PER_CHANNEL_MIN => true,
            ROUTES_PER_CHANNEL_MIN..ROUTES_PER_CHANNEL_MAX if quota.take() => {
                self.quota.get_or_insert_with(|| Arc::clone(quota));
                true
            }
            _ => false,
        }
    }

    fn replace_oldest(&mut self, publish: CachedPublish) -> usize {
        let index = self.oldest;
        self.oldest = (index + 1) % self.publishes.len().max(1);
        if let Some(old) = self.publishes.get_mut(index) {
            // A later entry with the same hash may have taken its place in the map.
            if self.by_hash.get(&old.hash) == Some(&index) {
                self.by_hash.remove(&old.hash);
            }
            *old = publish;
        }
        index
    }

    pub(crate) fn get(&self, index: usize) -> Option<&CachedPublish> {
        self.publishes.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut CachedPublish> {
        self.publishes.get_mut(index)
    }
}

impl Drop for RouteCache {
    fn drop(&mut self) {
        if let Some(quota) = &self.quota {
            quota.give_back(self.publishes.len().saturating_sub(ROUTES_PER_CHANNEL_MIN));
        }
    }
}

/// The keys of the map are hashes already and are not hashed again.
#[derive(Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
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
    fn the_oldest_entry_is_replaced() {
        let quota = Arc::new(RouteQuota::default());
        let mut routes = RouteCache::default();
        let many = ROUTES_PER_CHANNEL_MAX;
        for n in 0..many {
            assert_eq!(routes.find(&payload(n)), None);
            let index = routes.insert(&payload(n), origin(), n == 1, false, &quota);
            assert_eq!(routes.find(&payload(n)), Some(index));
        }
        assert!((0..many).all(|n| routes.find(&payload(n)) == Some(n)));
        let index = routes.insert(&payload(many), origin(), false, false, &quota);
        assert_eq!((index, routes.find(&payload(0))), (0, None));
        assert_eq!(routes.find(&payload(many)), Some(0));
        let second = routes.find(&payload(1)).and_then(|index| routes.get(index));
        assert!(second.is_some_and(|route| route.mandatory));
        assert_eq!(routes.by_hash.len(), many);
    }

    #[test]
    fn all_channels_together_cache_no_more_than_the_quota_allows() {
        let quota = Arc::new(RouteQuota::default());
        let mut all = Vec::new();
        for _ in 0..=ROUTES_MAX / (ROUTES_PER_CHANNEL_MAX - ROUTES_PER_CHANNEL_MIN) {
            let mut routes = RouteCache::default();
            for n in 0..ROUTES_PER_CHANNEL_MAX {
                routes.insert(&payload(n), origin(), false, false, &quota);
            }
            all.push(routes);
        }
        let publishes: usize = all.iter().map(|routes| routes.publishes.len()).sum();
        assert_eq!(publishes, ROUTES_MAX + all.len() * ROUTES_PER_CHANNEL_MIN);
        // A channel without a part of the quota still has its own entries.
        let mut late = RouteCache::default();
        for n in 0..2 * ROUTES_PER_CHANNEL_MIN {
            let index = late.insert(&payload(n), origin(), false, false, &quota);
            assert_eq!(late.find(&payload(n)), Some(index));
        }
        assert_eq!(late.publishes.len(), ROUTES_PER_CHANNEL_MIN);
        drop((all, late));
        assert_eq!(quota.taken.load(Ordering::Relaxed), 0);
    }
}
