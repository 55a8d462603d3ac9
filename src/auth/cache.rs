//! A cache of answers that take long. Of those who need the same answer at the same time, one asks and all get it. An
//! answer outlives its time, until others need its place: it may be better than none.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;

/// Maximum number of answers in a cache.
const ANSWERS_MAX: usize = 8192;
/// Maximum number of different questions that are being asked.
const ASKED_MAX: usize = 1024;

/// An answer, and how long it holds.
#[derive(Clone, Debug)]
pub(super) struct Kept<V> {
    pub(super) value: V,
    /// Not to be answered from the cache from this time on; `None` keeps it out of the cache.
    pub(super) until: Option<Instant>,
}

pub(super) struct Cache<K, V> {
    shelves: Mutex<Shelves<K, V>>,
}

/// What is kept and what is asked. Answers that are used move to the young ones; when these are half of all, they are the
/// old ones, and the old ones are dropped.
struct Shelves<K, V> {
    young: HashMap<K, Kept<V>>,
    old: HashMap<K, Kept<V>>,
    asked: HashMap<K, Asked<V>>,
}

/// Gets the answer when it comes.
type Asked<V> = watch::Receiver<Option<Kept<V>>>;

impl<K, V> Default for Cache<K, V> {
    fn default() -> Cache<K, V> {
        Cache {
            shelves: Mutex::new(Shelves {
                young: HashMap::new(),
                old: HashMap::new(),
                asked: HashMap::new(),
            }),
        }
    }
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The kept answer, whether it holds or not.
    pub(super) fn any(&self, key: &K) -> Option<Kept<V>> {
        self.shelves.lock().find(key)
    }

    /// The answer of the cache, of another who asks the same just now, or of `ask`, which goes on when this is dropped.
    /// `None` if too many questions are being asked.
    pub(super) async fn get(
        self: Arc<Self>,
        key: K,
        ask: impl Future<Output = Kept<V>> + Send + 'static,
    ) -> Option<Kept<V>> {
        let asked = {
            let mut shelves = self.shelves.lock();
            if let Some(kept) = shelves.fresh(&key, clock::monotonic()) {
                return Some(kept);
            }
            self.ask(&mut shelves, key, ask)
        };
        // The sender is gone without an answer only if the question panicked.
        let mut asked = asked?;
        let answered = asked.wait_for(Option::is_some).await.ok()?;
        answered.clone()
    }

    /// Asks again, though an answer is kept, unless it is being asked already.
    pub(super) fn refresh(
        self: &Arc<Self>,
        key: K,
        ask: impl Future<Output = Kept<V>> + Send + 'static,
    ) {
        // No client waits for this answer.
        drop(self.ask(&mut self.shelves.lock(), key, ask));
    }

    fn ask(
        self: &Arc<Self>,
        shelves: &mut Shelves<K, V>,
        key: K,
        ask: impl Future<Output = Kept<V>> + Send + 'static,
    ) -> Option<Asked<V>> {
        if let Some(asked) = shelves.asked.get(&key) {
            return Some(asked.clone());
        }
        if shelves.asked.len() >= ASKED_MAX {
            return None;
        }
        let (tell, asked) = watch::channel(None);
        shelves.asked.insert(key.clone(), asked.clone());
        let asking = Asking {
            cache: Arc::clone(self),
            key,
        };
        tokio::spawn(async move {
            let kept = ask.await;
            asking.keep(&kept);
            drop(asking);
            tell.send_replace(Some(kept));
        });
        Some(asked)
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Shelves<K, V> {
    fn fresh(&mut self, key: &K, now: Instant) -> Option<Kept<V>> {
        self.find(key)
            .filter(|kept| kept.until.is_some_and(|until| now < until))
    }

    fn find(&mut self, key: &K) -> Option<Kept<V>> {
        if let Some(kept) = self.young.get(key) {
            return Some(kept.clone());
        }
        let (key, kept) = self.old.remove_entry(key)?;
        self.put(key, kept.clone());
        Some(kept)
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn put(&mut self, key: K, kept: Kept<V>) {
        if self.young.len() >= ANSWERS_MAX / 2 && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, kept);
    }
}

/// A question that is being asked. However it ends, others may ask it again.
struct Asking<K: Eq + Hash, V> {
    cache: Arc<Cache<K, V>>,
    key: K,
}

impl<K: Clone + Eq + Hash, V: Clone> Asking<K, V> {
    fn keep(&self, kept: &Kept<V>) {
        let mut shelves = self.cache.shelves.lock();
        match kept.until {
            Some(_) => shelves.put(self.key.clone(), kept.clone()),
            None => shelves.remove(&self.key),
        }
    }
}

impl<K: Eq + Hash, V> Drop for Asking<K, V> {
    fn drop(&mut self) {
        self.cache.shelves.lock().asked.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    const TTL: Duration = Duration::from_secs(15);

    fn kept(value: usize, until: Instant) -> Kept<usize> {
        Kept {
            value,
            until: Some(until),
        }
    }

    #[tokio::test]
    async fn of_those_who_need_one_answer_one_asks() {
        let cache = Arc::new(Cache::<u8, usize>::default());
        let asked = Arc::new(AtomicUsize::new(0));
        let until = clock::monotonic() + TTL;
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                tokio::task::yield_now().await;
                kept(asked.fetch_add(1, Ordering::SeqCst), until)
            }
        };
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..100 {
            all.spawn(Arc::clone(&cache).get(1, ask()));
        }
        for kept in all.join_all().await {
            assert_eq!(kept.map(|kept| kept.value), Some(0));
        }
        let fresh = |now| cache.shelves.lock().fresh(&1, now);
        assert_eq!(fresh(clock::monotonic()).map(|kept| kept.value), Some(0));
        assert!(fresh(until).is_none());
        assert_eq!(cache.any(&1).unwrap().value, 0);
        Arc::clone(&cache).get(2, ask()).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_answer_without_a_time_is_asked_again() {
        let cache = Arc::new(Cache::<u8, usize>::default());
        for value in [1, 2] {
            let ask = async move { Kept { value, until: None } };
            let got = Arc::clone(&cache).get(1, ask).await;
            assert_eq!(got.map(|kept| kept.value), Some(value));
        }
        assert!(cache.any(&1).is_none());
    }

    #[tokio::test]
    async fn a_refresh_replaces_or_removes_what_is_kept() {
        let cache = Arc::new(Cache::<u8, usize>::default());
        let until = clock::monotonic() + TTL;
        cache.shelves.lock().put(1, kept(1, until));
        for (asked, after) in [(Some(until), Some(2)), (None, None)] {
            cache.refresh(1, async move {
                Kept {
                    value: 2,
                    until: asked,
                }
            });
            while !cache.shelves.lock().asked.is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(cache.any(&1).map(|kept| kept.value), after);
        }
    }

    #[tokio::test]
    async fn a_question_goes_on_without_those_who_asked_it_and_a_panic_is_no_answer() {
        let cache = Arc::new(Cache::<u8, usize>::default());
        let until = clock::monotonic() + TTL;
        let (go, gone) = tokio::sync::oneshot::channel();
        let asker = tokio::spawn(Arc::clone(&cache).get(1, async move {
            gone.await.unwrap();
            kept(7, until)
        }));
        while cache.shelves.lock().asked.is_empty() {
            tokio::task::yield_now().await;
        }
        asker.abort();
        go.send(()).unwrap();
        let other = Arc::clone(&cache).get(1, async move { kept(8, until) });
        assert_eq!(other.await.map(|kept| kept.value), Some(7));
        let panics = Arc::clone(&cache).get(2, async { panic!("a question that fails") });
        assert!(panics.await.is_none());
        assert!(cache.shelves.lock().asked.is_empty());
    }

    #[tokio::test]
    async fn questions_and_answers_are_bounded_and_used_answers_stay() {
        let cache = Arc::new(Cache::<usize, usize>::default());
        let until = clock::monotonic() + TTL;
        for key in 0..3 * ANSWERS_MAX {
            let mut shelves = cache.shelves.lock();
            shelves.put(key, kept(key, until));
            assert_eq!(shelves.find(&0).map(|kept| kept.value), Some(0));
            assert!(shelves.young.len() + shelves.old.len() <= ANSWERS_MAX);
        }
        let mut never = tokio::task::JoinSet::new();
        let first = 4 * ANSWERS_MAX;
        for key in first..first + ASKED_MAX {
            never.spawn(Arc::clone(&cache).get(key, std::future::pending()));
        }
        while cache.shelves.lock().asked.len() < ASKED_MAX {
            tokio::task::yield_now().await;
        }
        let one_more = Arc::clone(&cache).get(usize::MAX, async move { kept(0, until) });
        assert!(one_more.await.is_none());
    }
}
