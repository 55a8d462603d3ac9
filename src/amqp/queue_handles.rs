//! The queues that a channel consumes from or has unacked deliveries of, behind small handles: an entry per
//! delivery would otherwise hold a reference to its queue.

use std::sync::Arc;

use crate::broker::queue::Queue;
use crate::model::QueueId;

/// A queue in the [`QueueHandles`] of one channel, while it has uses there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueHandle(u32);

#[derive(Debug)]
struct UsedQueue {
    queue: Arc<Queue>,
    uses: usize,
}

/// The queues of one channel. Each consumer and each unacked delivery is one use of its queue.
#[derive(Debug, Default)]
pub(crate) struct QueueHandles {
    queues: Vec<Option<UsedQueue>>,
}

impl QueueHandle {
    /// A handle of no queue.
    #[cfg(test)]
    pub(crate) const NONE: QueueHandle = QueueHandle(u32::MAX);
}

impl QueueHandles {
    /// Adds a use of `queue`.
    pub(crate) fn acquire(&mut self, queue: &Arc<Queue>) -> QueueHandle {
        let is_same = |used: &Option<UsedQueue>| {
            used.as_ref()
                .is_some_and(|used| Arc::ptr_eq(&used.queue, queue))
        };
        let index = match self.queues.iter().position(is_same) {
            Some(index) => index,
            None => self.insert(queue),
        };
        let handle = QueueHandle(u32::try_from(index).unwrap_or(u32::MAX));
        self.reuse(handle);
        handle
    }

    fn insert(&mut self, queue: &Arc<Queue>) -> usize {
        let index = self.queues.iter().position(Option::is_none);
        let index = index.unwrap_or(self.queues.len());
        let unused = Some(UsedQueue {
            queue: Arc::clone(queue),
            uses: 0,
        });
        match self.queues.get_mut(index) {
            Some(place) => *place = unused,
            None => self.queues.push(unused),
        }
        index
    }

    /// Adds a use of a handle.
    pub(crate) fn reuse(&mut self, handle: QueueHandle) {
        if let Some(Some(used)) = self.queues.get_mut(handle.0 as usize) {
            used.uses += 1;
        }
    }

    /// Ends `uses` uses of a handle.
    pub(crate) fn release(&mut self, handle: QueueHandle, uses: usize) {
        let Some(place) = self.queues.get_mut(handle.0 as usize) else {
            return;
        };
        if let Some(used) = place {
            used.uses = used.uses.saturating_sub(uses);
            if used.uses == 0 {
                *place = None;
            }
        }
        while self.queues.last().is_some_and(Option::is_none) {
            self.queues.pop();
        }
    }

    pub(crate) fn get(&self, handle: QueueHandle) -> Option<&Arc<Queue>> {
        let used = self.queues.get(handle.0 as usize)?.as_ref()?;
        Some(&used.queue)
    }

    pub(crate) fn find(&self, id: QueueId) -> Option<&Arc<Queue>> {
        let mut queues = self.queues.iter().flatten().map(|used| &used.queue);
        queues.find(|queue| queue.id() == id)
    }
}
