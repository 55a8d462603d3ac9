//! The resident messages of a stream: its end, and runs that were read ahead of lagging consumers. They lie
//! in pages, the messages of one chunk each, which all consumers share. Knows no consumer.
//!
//! Eviction takes the least recently used pages. The stream numbers its commands, and each page has the
//! number of the command that last used it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::broker::queue::chunk_state::ChunkState;
use crate::model::{LogId, Message, Ticket};
use crate::store::chunk::ChunkEncoder;
use crate::store::{Batch, Op, StoredMessage};

/// Memory that a message takes besides its bytes.
const MESSAGE_OVERHEAD: u64 = 192;
/// Memory that a page takes besides its messages.
const PAGE_OVERHEAD: u64 = 256;

/// The messages of one chunk.
#[derive(Debug)]
pub(super) struct Page {
    messages: Vec<StoredMessage>,
    chunk: ChunkState,
    bytes: u64,
    /// The command that last used it.
    used: u64,
}

impl Page {
    /// The messages from `offset` on.
    pub(super) fn from(&self, offset: u64) -> &[StoredMessage] {
        let first = self.messages.first().map_or(0, |stored| stored.offset);
        let skip = usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX);
        self.messages.get(skip..).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        self.messages.last().map_or(0, |stored| stored.offset + 1)
    }

    fn is_evictable(&self, durable: Ticket) -> bool {
        matches!(self.chunk, ChunkState::Written(ticket) if ticket <= durable)
    }
}

/// All pages, by the offset of their first message.
#[derive(Debug, Default)]
pub(super) struct Pages {
    by_first: BTreeMap<u64, Page>,
    bytes: u64,
}

impl Pages {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the next message begins a new page.
    pub(super) fn begins_page(&self, message: &Message) -> bool {
        let last = self.by_first.last_key_value();
        !last.is_some_and(|(_, page)| {
            matches!(&page.chunk, ChunkState::Open(encoder) if encoder.has_room_for(message.size()))
        })
    }

    /// Adds a message at the end of the stream.
    pub(super) fn push(&mut self, command: u64, offset: u64, now_ms: u64, message: &Arc<Message>) {
        if self.begins_page(message) {
            let page = Page {
                messages: Vec::new(),
                chunk: ChunkState::Open(ChunkEncoder::new()),
                bytes: PAGE_OVERHEAD,
                used: command,
            };
            self.bytes += page.bytes;
            self.by_first.insert(offset, page);
        }
        let Some(mut last) = self.by_first.last_entry() else {
            return;
        };
        let page = last.get_mut();
        if let ChunkState::Open(encoder) = &mut page.chunk {
            encoder.push(now_ms, message);
        }
        page.messages.push(StoredMessage {
            offset,
            enqueued_ms: now_ms,
            message: Arc::clone(message),
        });
        let weight = weight(message);
        page.bytes += weight;
        page.used = command;
        self.bytes += weight;
    }

    /// Takes in a chunk that was read, unless it is resident.
    pub(super) fn insert(&mut self, command: u64, first: u64, messages: Vec<StoredMessage>) {
        if messages.is_empty() || self.find(first).is_some() {
            return;
        }
        let weights = messages.iter().map(|stored| weight(&stored.message));
        let bytes = PAGE_OVERHEAD + weights.sum::<u64>();
        self.bytes += bytes;
        let page = Page {
            messages,
            chunk: ChunkState::Written(Ticket(0)),
            bytes,
            used: command,
        };
        self.by_first.insert(first, page);
    }

    /// The page that holds `offset`, with its first offset.
    pub(super) fn find(&self, offset: u64) -> Option<(u64, &Page)> {
        let (first, page) = self.by_first.range(..=offset).next_back()?;
        (offset < page.end()).then_some((*first, page))
    }

    /// The offsets of the page that holds `offset`, or else of the next one.
    pub(super) fn next_page(&self, offset: u64) -> Option<Range<u64>> {
        let first = self.find(offset).map_or(offset, |(first, _)| first);
        let (first, page) = self.by_first.range(first..).next()?;
        Some(*first..page.end())
    }

    /// Marks the pages from `offset` on as used, up to twice `bytes`: those read ahead, and those of the next
    /// read. Returns the first offset below `until` that is not resident within `bytes`.
    pub(super) fn look_ahead(
        &mut self,
        command: u64,
        offset: u64,
        until: u64,
        bytes: u64,
    ) -> Option<u64> {
        let first = self.find(offset).map_or(offset, |(first, _)| first);
        let (mut at, mut seen) = (offset, 0);
        for (first, page) in self.by_first.range_mut(first..) {
            if at >= until || seen >= 2 * bytes {
                return None;
            }
            if *first > at {
                break;
            }
            page.used = command;
            seen += page.bytes;
            at = page.end();
        }
        (at < until && seen < bytes).then_some(at)
    }

    /// Drops the pages in which all messages are below `floor`.
    pub(super) fn drop_below(&mut self, floor: u64) {
        while let Some(entry) = self.by_first.first_entry()
            && entry.get().end() <= floor
        {
            self.bytes = self.bytes.saturating_sub(entry.remove().bytes);
        }
    }

    /// Evicts pages until at most `target` bytes are left, the least recently used first. Pages of batches
    /// later than `durable` stay, because the disk may not be able to give them back.
    pub(super) fn evict(&mut self, target: u64, durable: Ticket) {
        if self.bytes <= target {
            return;
        }
        let mut idle: Vec<(u64, u64)> = self
            .by_first
            .iter()
            .filter(|(_, page)| page.is_evictable(durable))
            .map(|(first, page)| (page.used, *first))
            .collect();
        idle.sort_unstable();
        // Evicts a quarter more than it has to, so that this is not done for every message.
        let target = target - target / 4;
        for (_, first) in idle {
            if self.bytes <= target {
                return;
            }
            if let Some(page) = self.by_first.remove(&first) {
                self.bytes = self.bytes.saturating_sub(page.bytes);
            }
        }
    }

    /// Closes the open pages: their chunks go into `batch`, which will be committed as `ticket`.
    pub(super) fn collect(&mut self, log: LogId, ticket: Ticket, batch: &mut Batch) {
        let open = |page: &Page| matches!(page.chunk, ChunkState::Open(_));
        for (first, page) in self
            .by_first
            .iter_mut()
            .rev()
            .take_while(|(_, page)| open(page))
        {
            if let ChunkState::Open(encoder) = &mut page.chunk {
                batch.push(Op::PutChunk {
                    log,
                    first: *first,
                    chunk: encoder.finish(),
                });
            }
            page.chunk = ChunkState::Written(ticket);
        }
    }
}

fn weight(message: &Message) -> u64 {
    message.size() as u64 + MESSAGE_OVERHEAD
}
