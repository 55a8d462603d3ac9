//! Names in other letters: CMQ tells names apart whatever their case, AMQP does not. A name that is not there as it is
//! written is looked for in other letters, and what is found, or not, is remembered.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::limits::SPELLINGS_MAX;
use crate::broker::queue::Queue;
use crate::broker::vhost::Vhost;
use crate::model::Name;

/// A virtual host, and a name in small letters.
type Key = (Name, String);

/// What was found of late. Bounded: when it is full it is forgotten.
#[derive(Debug, Default)]
pub(super) struct QueueLookup(Mutex<HashMap<Key, Found>>);

#[derive(Clone, Debug)]
enum Found {
    /// A queue has this name.
    As(Name),
    /// There was none at this generation of the virtual host.
    Nothing(u64),
}

impl QueueLookup {
    /// The queue of this name that is `served`: as it is written, or else in other letters. Of several the first counts.
    pub(super) fn queue(
        &self,
        vhost: &Vhost,
        name: &str,
        served: impl Fn(&Arc<Queue>) -> bool,
    ) -> Option<Arc<Queue>> {
        let queue = |name: &str| vhost.queue(name).filter(&served);
        if let Some(queue) = queue(name) {
            return Some(queue);
        }
        let key = (vhost.name().clone(), name.to_ascii_lowercase());
        // Before looking: what comes meanwhile makes this stale.
        let generation = vhost.generation();
        let known = self.0.lock().get(&key).cloned();
        match known {
            Some(Found::Nothing(then)) if then == generation => return None,
            Some(Found::As(own)) => {
                if let Some(queue) = queue(&own) {
                    return Some(queue);
                }
            }
            Some(Found::Nothing(_)) | None => {}
        }
        let mut all = vhost.queues().into_iter();
        let alike = all.find(|queue| queue.name().eq_ignore_ascii_case(name) && served(queue));
        let found = alike.as_ref().map_or(Found::Nothing(generation), |queue| {
            Found::As(queue.name().clone())
        });
        let mut spellings = self.0.lock();
        if spellings.len() >= SPELLINGS_MAX {
            spellings.clear();
        }
        spellings.insert(key, found);
        alike
    }
}
