//! Which messages of a lane are resident: reading chunks back, ahead of their consumers, and evicting what
//! the store can give back.

use crate::broker::queue::chunk_state::ChunkState;
use crate::model::Ticket;
use crate::store::StoredMessage;
use crate::store::chunk::CHUNK_BYTES_MAX;

use super::Lane;
use super::block::{Block, Slot, SlotState, weight};
use super::leases::stored_failures;
use super::turn::first_turn;

impl Lane {
    /// Begins a read of this lane. False if one is under way already.
    pub(in crate::broker::queue) fn begin_load(&mut self) -> bool {
        !std::mem::replace(&mut self.is_loading, true)
    }

    pub(in crate::broker::queue) fn end_load(&mut self) {
        self.is_loading = false;
    }

    /// Takes in one chunk that was read from the store.
    pub(in crate::broker::queue) fn load(&mut self, first: u64, messages: Vec<StoredMessage>) {
        if messages.is_empty() {
            return;
        }
        match self.locate(first) {
            Ok(index) => self.refill(index, messages),
            Err(index) => self.insert_block(index, first, messages),
        }
    }

    /// Where to read ahead: the first cold message, if fewer than `bytes` are resident between the head and
    /// it.
    pub(in crate::broker::queue) fn read_ahead(&self, bytes: u64) -> Option<u64> {
        let mut index = match self.locate(self.ready_from) {
            Ok(index) | Err(index) => index,
        };
        let (mut at, mut seen) = (self.ready_from, 0);
        while seen < bytes && at < self.next {
            let block_first = self
                .blocks
                .get(index)
                .map_or(self.next, |block| block.first);
            if at < block_first {
                let cold = self.first_cold(at..block_first);
                if cold.is_some() {
                    return cold;
                }
            }
            let block = self.blocks.get(index)?;
            seen += CHUNK_BYTES_MAX as u64;
            at = block.end();
            index += 1;
        }
        None
    }

    /// Evicts until at most `target` bytes are resident, the newest blocks first: whole blocks, or else the
    /// bodies of leased, resting and dying messages. Evicts only messages that the store has. The head and the block
    /// of the message at `needed` stay.
    pub(in crate::broker::queue) fn evict(
        &mut self,
        target: u64,
        committed: Ticket,
        needed: Option<u64>,
    ) {
        let mut index = self.blocks.len();
        while self.resident_bytes > target && index > 1 {
            index -= 1;
            let Some(block) = self.blocks.get_mut(index) else {
                break;
            };
            if !block.is_stored(committed) || needed.is_some_and(|offset| block.contains(offset)) {
                continue;
            }
            let whole = block.is_evictable(committed) && !block.contains(self.ready_from);
            let mut freed = 0;
            for slot in &mut block.slots {
                if whole || slot.state.needs_no_body() {
                    freed += slot.message.take().map_or(0, |message| weight(&message));
                }
            }
            self.resident_bytes = self.resident_bytes.saturating_sub(freed);
            if whole {
                self.blocks.remove(index);
            }
        }
    }

    /// Gives slots back the bodies that were evicted.
    fn refill(&mut self, index: usize, messages: Vec<StoredMessage>) {
        let Some(block) = self.blocks.get_mut(index) else {
            return;
        };
        for stored in messages {
            let Some(slot) = block.slot_mut(stored.offset) else {
                continue;
            };
            if slot.message.is_some() || slot.state == SlotState::Settled {
                continue;
            }
            self.resident_bytes += weight(&stored.message);
            slot.message = Some(stored.message);
        }
    }

    /// Makes a cold chunk resident.
    fn insert_block(&mut self, index: usize, first: u64, messages: Vec<StoredMessage>) {
        let first_ms = messages.first().map_or(0, |stored| stored.enqueued_ms);
        let mut block = Block {
            first,
            first_ms,
            slots: Vec::with_capacity(messages.len()),
            unsettled: 0,
            chunk: ChunkState::Written(Ticket(0)),
            touched: false,
        };
        for stored in messages {
            let settled = self.settled.contains(stored.offset);
            let size = u32::try_from(stored.message.body.len()).unwrap_or(u32::MAX);
            let count = self.return_counts.remove(&stored.offset);
            let turn = count.map(|count| count.turn);
            let failures = count.map_or(0, stored_failures);
            if failures > 0 {
                self.failures.insert(stored.offset, failures);
            }
            block.touched |= turn.is_some();
            let handed_out = self.handed_out.contains(stored.offset);
            if !settled {
                block.unsettled += 1;
                self.resident_bytes += weight(&stored.message);
                self.found_again(stored.offset, size);
            }
            block.slots.push(Slot {
                size,
                enqueued_after_ms: u32::try_from(stored.enqueued_ms.saturating_sub(first_ms))
                    .unwrap_or(u32::MAX),
                turn: turn.unwrap_or_else(|| first_turn(self.offsets.rewinds())),
                state: match settled {
                    true => SlotState::Settled,
                    false if self.dying.contains(stored.offset) => SlotState::Dying,
                    false if self.resting.contains_key(&stored.offset) => SlotState::Resting,
                    false => SlotState::Ready,
                },
                redelivered: handed_out || self.is_recovered(stored.offset),
                persistent: self.durability.covers(&stored.message),
                message: (!settled).then_some(stored.message),
            });
        }
        if block.unsettled > 0 {
            self.blocks.insert(index, block);
        } else if self.are_gone(first..block.end()) {
            self.offsets.emptied(first);
        }
    }
}
