//! Counts of requests by action and result code.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Action and result code; 0 is success.
type Key = (&'static str, u32);

/// How many requests had each result. Bounded, since actions and codes are constants of the API.
#[derive(Debug, Default)]
pub struct RequestCounts(Mutex<BTreeMap<Key, u64>>);

impl RequestCounts {
    pub fn count(&self, action: &'static str, code: u32) {
        *self.0.lock().entry((action, code)).or_default() += 1;
    }

    pub fn list(&self) -> Vec<(Key, u64)> {
        let counts = self.0.lock();
        counts.iter().map(|(key, count)| (*key, *count)).collect()
    }
}
