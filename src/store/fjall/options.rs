//! Sizes and limits of the database, and the options of its keyspaces.

use std::time::Duration;

use ::fjall::KeyspaceCreateOptions;
use ::fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};

use crate::store::OnDamage;
use crate::store::keys::KeyspaceName;

/// Sizes of the database.
#[derive(Clone, Copy, Debug)]
pub struct FjallOptions {
    /// Bytes of addresses in memory before they go to a table. Those that are removed earlier never go there.
    pub msgs_memtable_bytes: u64,
    /// Bytes of records in memory before they go to a table.
    pub state_memtable_bytes: u64,
    /// Bytes of the database's own journals, which no start reads. Above it, the database flushes the memtables that
    /// keep old journals alive. At least 64 MiB.
    pub journal_bytes_max: u64,
    /// Length of an extent.
    pub extent_bytes: u64,
    /// Bytes of the log after which a checkpoint follows. A start after a crash reads about this much, or of a log that
    /// grew quickly four times as much.
    pub checkpoint_bytes: u64,
    /// Bytes of a member's entries that stay in memory until they are applied. Those beyond are read from the log again.
    pub unapplied_bytes_max: u64,
    /// Bytes of the cache for index and record blocks.
    pub cache_bytes: u64,
    pub on_damage: OnDamage,
    /// Maximum number of files held open for reading.
    pub cached_files: usize,
    /// Background work.
    pub maintenance: MaintenanceOptions,
}

pub(super) const MIB: u64 = 1024 * 1024;

impl Default for FjallOptions {
    fn default() -> FjallOptions {
        FjallOptions {
            msgs_memtable_bytes: 32 * MIB,
            state_memtable_bytes: 8 * MIB,
            journal_bytes_max: 128 * MIB,
            on_damage: OnDamage::default(),
            extent_bytes: 64 * MIB,
            checkpoint_bytes: 256 * MIB,
            unapplied_bytes_max: 64 * MIB,
            cache_bytes: 32 * MIB,
            cached_files: 768,
            maintenance: MaintenanceOptions::default(),
        }
    }
}

impl FjallOptions {
    /// The size of each memtable from which it becomes a table.
    pub(super) fn memtable_limits(&self) -> [(KeyspaceName, u64); KeyspaceName::ALL.len()] {
        [
            (KeyspaceName::Msgs, self.msgs_memtable_bytes),
            (KeyspaceName::State, self.state_memtable_bytes),
            (KeyspaceName::Meta, self.state_memtable_bytes),
        ]
    }
}

/// Thresholds of the background thread.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceOptions {
    /// Number of removed chunks after which the thread considers to free disk space.
    pub reclaim_after_chunks: u64,
    /// Bytes of tables of addresses below which freeing space is not worthwhile.
    pub reclaim_min_bytes: u64,
    /// Extents are emptied only while more than this many of their bytes, and more than half of all, are
    /// unused.
    pub extent_slack_bytes: u64,
    /// Bytes of the log since the last checkpoint below which a checkpoint in a quiet time is not worthwhile.
    pub flush_min_bytes: u64,
    /// Bytes of the log after which the thread makes an extent ready for it, if the log grows slowly.
    pub spare_after_bytes: u64,
    /// How long few bytes must be committed to count as quiet.
    pub quiet: Duration,
    /// Time between checkpoints that the bytes of the log demand.
    pub checkpoint_gap: Duration,
}

impl Default for MaintenanceOptions {
    fn default() -> MaintenanceOptions {
        MaintenanceOptions {
            reclaim_after_chunks: 1024,
            reclaim_min_bytes: 128 * MIB,
            extent_slack_bytes: 256 * MIB,
            flush_min_bytes: 8 * MIB,
            spare_after_bytes: MIB / 4,
            quiet: Duration::from_secs(3),
            checkpoint_gap: Duration::from_secs(1),
        }
    }
}

/// Keyspaces of small records: definitions, and the state of logs.
pub(super) fn small_keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX) // see `memtable_sealer`
        .data_block_compression_policy(CompressionPolicy::disabled())
}

/// The keyspace of the chunks' addresses.
pub(super) fn places_keyspace() -> KeyspaceCreateOptions {
    small_keyspace()
        .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
        // Chunks are found by ranges, and filters only help to find single keys.
        .filter_policy(FilterPolicy::disabled())
}
