//! Finds queues by name, whatever the case: names differ by case in AMQP, in CMQ they do not. Remembers what a search
//! through all queues of a virtual host found, or that it found nothing.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::limits::REMEMBERED_NAMES_MAX;
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::model::Name;

/// A virtual host, and a name in lower case.
type Key = (Name, String);

/// Bounded: forgets everything when it is full.
#[derive(Debug, Default)]
pub(super) struct QueueLookup(Mutex<HashMap<Key, Remembered>>);

/// The result of an earlier search.
#[derive(Clone, Debug)]
enum Remembered {
    /// The queue's own name.
    Name(Name),
    /// No queue had the name when the virtual host had this generation.
    MissingAt(u64),
}

impl QueueLookup {
    /// The queue with exactly this name, or else the first whose name differs only by case. Passes over queues that are
    /// not `served`.
    pub(super) fn find(
        &self,
        vhost: &Vhost,
        name: &str,
        served: impl Fn(&Arc<Queue>) -> bool,
    ) -> Option<Arc<Queue>> {
        let exact = |name: &str| vhost.queue(name).filter(&served);
        if let Some(queue) = exact(name) {
            return Some(queue);
        }
        let key = (vhost.name().clone(), name.to_ascii_lowercase());
        // Read before the search: a queue that is declared during the search makes its result stale.
        let generation = vhost.generation();
        let remembered = self.0.lock().get(&key).cloned();
        match remembered {
            Some(Remembered::MissingAt(then)) if then == generation => return None,
            Some(Remembered::Name(own)) => {
                if let Some(queue) = exact(&own) {
                    return Some(queue);
                }
            }
            Some(Remembered::MissingAt(_)) | None => {}
        }
        let mut all = vhost.queues().into_iter();
        let found = all.find(|queue| queue.name().eq_ignore_ascii_case(name) && served(queue));
        let result = match &found {
            Some(queue) => Remembered::Name(queue.name().clone()),
            None => Remembered::MissingAt(generation),
        };
        let mut remembered = self.0.lock();
        if remembered.len() >= REMEMBERED_NAMES_MAX {
            remembered.clear();
        }
        remembered.insert(key, result);
        found
    }
}
