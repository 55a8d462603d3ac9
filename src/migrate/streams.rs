//! Offsets of a stream that is copied. Streams forget nothing, so the state file says how far the copy has come. It is
//! ahead of the publishes by blocks: after a crash everything from the last confirmed offset to the end of the block may
//! be at the target, and is marked when it is published again.

use std::sync::Arc;

use super::limits::OFFSETS_RESERVED;
use super::state::{QueueKey, StateFile};
use crate::shovel::link::LinkError;

/// The header of a delivery with its offset.
pub(super) const OFFSET: &str = "x-stream-offset";

/// The offsets of one consumer of a stream.
pub(super) struct Offsets {
    /// The first offset to publish: the consumer may begin earlier, at the start of a chunk.
    next: u64,
    /// Offsets below may be at the target already.
    again_below: u64,
    /// The state file covers offsets below.
    reserved: u64,
    /// The offset after the last that was published.
    published: u64,
    /// Messages that were published again.
    again: u64,
    state: Option<(Arc<StateFile>, QueueKey)>,
}

impl Offsets {
    /// Continues where the state file says.
    pub(super) fn of(state: &Arc<StateFile>, key: &QueueKey) -> Offsets {
        let queue = state.queue(key);
        Offsets {
            next: queue.next_offset,
            again_below: queue.reserved_offset,
            reserved: queue.reserved_offset,
            published: queue.next_offset,
            again: 0,
            state: Some((Arc::clone(state), key.clone())),
        }
    }

    #[cfg(test)]
    pub(super) fn without_state(next: u64, again_below: u64) -> Offsets {
        Offsets {
            next,
            again_below,
            reserved: u64::MAX,
            published: next,
            again: 0,
            state: None,
        }
    }

    /// The message at `offset` is published. Returns whether it may be at the target already.
    pub(super) fn publishes(&mut self, offset: u64) -> Result<bool, LinkError> {
        if offset < self.next {
            let text = format!(
                "the source delivers offset {offset}, asked from {}",
                self.next
            );
            return Err(LinkError::Protocol(text));
        }
        if offset >= self.reserved {
            self.reserved = offset.saturating_add(OFFSETS_RESERVED);
            if let Some((state, key)) = &self.state {
                let reserved = self.reserved;
                state.change(key, |queue| {
                    queue.first_offset.get_or_insert(offset);
                    queue.reserved_offset = reserved;
                });
                state
                    .save()
                    .map_err(|error| LinkError::Refused(error.to_string()))?;
            }
        }
        self.published = offset.saturating_add(1);
        let is_again = offset < self.again_below;
        self.again += u64::from(is_again);
        Ok(is_again)
    }

    /// No offset from here on has been published.
    pub(super) fn published(&self) -> u64 {
        self.published.max(self.again_below)
    }

    /// Messages that were published again, and may be at the target twice.
    pub(super) fn again(&self) -> u64 {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_there_is_marked_and_nothing_is_published_before_it_is_reserved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let state = Arc::new(StateFile::open(Some(path.clone()), "a", "b").unwrap());
        let key = QueueKey::new("/", "s");
        state.change(&key, |queue| {
            queue.next_offset = 100;
            queue.reserved_offset = 110;
        });
        let mut offsets = Offsets::of(&state, &key);
        assert!(offsets.publishes(99).is_err());
        assert!(offsets.publishes(100).unwrap());
        assert!(offsets.publishes(109).unwrap());
        assert!(!path.exists(), "nothing new is reserved yet");
        assert!(!offsets.publishes(110).unwrap());
        let reopened = StateFile::open(Some(path), "a", "b").unwrap();
        assert_eq!(reopened.queue(&key).reserved_offset, 110 + OFFSETS_RESERVED);
    }
}
