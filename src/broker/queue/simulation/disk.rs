//! The store of the simulation: batches that were collected, committed or synced, and what a crash leaves of them.

use crate::store::Journal as _;
use std::collections::BTreeSet;

use crate::model::{LogId, Ticket};
use crate::store::{Batch, LogState, MemoryStore, Store, StoredChunk, StoredMessage, chunk};

/// A store in memory that remembers how it came to be.
pub(super) struct Disk {
    store: MemoryStore,
    /// Batches that the store has, in order.
    commits: Vec<Batch>,
    /// Batches that the store does not have yet.
    collected: Vec<Batch>,
    next: Ticket,
    committed: Ticket,
    synced: Ticket,
    /// Messages that were still on their way to the store when they were to be read.
    awaited: BTreeSet<(LogId, u64)>,
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk {
            store: MemoryStore::new(),
            commits: Vec::new(),
            collected: Vec::new(),
            next: Ticket(1),
            committed: Ticket(0),
            synced: Ticket(0),
            awaited: BTreeSet::new(),
        }
    }

    pub(super) fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// The batch that takes what changes now.
    pub(super) fn next(&self) -> Ticket {
        self.next
    }

    /// The store has everything up to this batch.
    pub(super) fn committed(&self) -> Ticket {
        self.committed
    }

    /// No crash takes anything up to this batch.
    pub(super) fn synced(&self) -> Ticket {
        self.synced
    }

    pub(super) fn collect(&mut self, fill: impl FnOnce(Ticket, &mut Batch)) {
        let ticket = self.next;
        let mut batch = Batch {
            ticket,
            ..Batch::default()
        };
        fill(ticket, &mut batch);
        self.collected.push(batch);
        self.next = Ticket(ticket.0 + 1);
    }

    pub(super) fn commit(&mut self) {
        for batch in std::mem::take(&mut self.collected) {
            self.store.append(&batch).expect("a store in memory");
            self.committed = batch.ticket;
            self.commits.push(batch);
        }
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.committed;
    }

    /// Loses the batches that are not synced, but for `survivors` of those that were committed. Returns the last batch that is left.
    pub(super) fn crash(&mut self, survivors: usize) -> Ticket {
        let span = self.committed.0 - self.synced.0 + 1;
        let last = Ticket(self.synced.0 + survivors as u64 % span);
        self.store = MemoryStore::new();
        self.collected.clear();
        self.awaited.clear();
        self.commits.retain(|batch| batch.ticket <= last);
        for batch in &self.commits {
            self.store.append(batch).expect("a store in memory");
        }
        self.store.sweep_settled().expect("a store in memory");
        self.next = Ticket(last.0 + 1);
        self.committed = last;
        self.synced = last;
        last
    }

    /// What recovery finds.
    pub(super) fn logs(&self) -> Vec<(LogId, LogState)> {
        self.store.logs().expect("a store in memory")
    }

    /// A read waits for the batch that takes the message at `from`.
    pub(super) fn await_written(&mut self, log: LogId, from: u64) {
        self.awaited.insert((log, from));
    }

    /// Whether a read has waited for the message at `from`.
    pub(super) fn was_awaited(&self, log: LogId, from: u64) -> bool {
        self.awaited.contains(&(log, from))
    }

    /// The chunk that holds `from`, and those that follow.
    pub(super) fn read(&self, log: LogId, from: u64, max_bytes: usize) -> Vec<StoredChunk> {
        let chunks = self.store.read(log, from, max_bytes);
        chunks.expect("a store in memory")
    }
}

/// The messages of chunks, each chunk with its first offset.
pub(super) fn decoded(chunks: Vec<StoredChunk>) -> Vec<(u64, Vec<StoredMessage>)> {
    let decode = |stored: StoredChunk| {
        let messages = chunk::decode(stored.first, stored.data).expect("a chunk");
        let messages = messages.map(|message| message.expect("a message"));
        (stored.first, messages.collect())
    };
    chunks.into_iter().map(decode).collect()
}
