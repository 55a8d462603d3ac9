//! Sizes and limits of the database, and the options of its keyspaces.

use std::time::Duration;

use ::fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use ::fjall::{CompressionType, KeyspaceCreateOptions, KvSeparationOptions};

use crate::store::OnDamage;

/// Values of at least this size are stored apart from their keys.
const SEPARATION_BYTES: u32 = 512;

/// Sizes of the database.
#[derive(Clone, Copy, Debug)]
pub struct FjallOptions {
    /// Bytes of chunks in memory before they go to a table. Chunks that are removed earlier never go there.
    pub msgs_memtable_bytes: u64,
    /// Bytes of records in memory before they go to a table.
    pub state_memtable_bytes: u64,
    /// Size of the files that hold chunks.
    pub blob_file_bytes: u64,
    /// Bytes of journals, which a start after a crash reads again. Above it, the database flushes the
    /// memtables that keep old journals alive. At least 64 MiB.
    pub journal_bytes_max: u64,
    /// The chunks of batches of at least this size go to extents. Smaller batches go into the database's
    /// journal as a whole, which takes one sync less.
    pub extent_batch_bytes: usize,
    /// Length of an extent.
    pub extent_bytes: u64,
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
            blob_file_bytes: 64 * MIB,
            journal_bytes_max: 128 * MIB,
            extent_batch_bytes: 128 * 1024,
            on_damage: OnDamage::Refuse,
            extent_bytes: 64 * MIB,
            cache_bytes: 32 * MIB,
            cached_files: 768,
            maintenance: MaintenanceOptions::default(),
        }
    }
}

/// Thresholds of the background thread.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceOptions {
    /// Number of removed chunks after which the thread considers to free disk space.
    pub reclaim_after_chunks: u64,
    /// Bytes of chunk files below which freeing space is not worthwhile.
    pub reclaim_min_bytes: u64,
    /// Extents are emptied only while more than this many of their bytes, and more than half of all, are
    /// unused.
    pub extent_slack_bytes: u64,
    /// Bytes of memtables below which a flush is not worthwhile.
    pub flush_min_bytes: u64,
    /// How long few bytes must be committed to count as quiet.
    pub quiet: Duration,
}

impl Default for MaintenanceOptions {
    fn default() -> MaintenanceOptions {
        MaintenanceOptions {
            reclaim_after_chunks: 1024,
            reclaim_min_bytes: 128 * MIB,
            extent_slack_bytes: 256 * MIB,
            flush_min_bytes: 8 * MIB,
            quiet: Duration::from_secs(3),
        }
    }
}

/// Keyspaces of small records: definitions, and the state of logs.
pub(super) fn small_keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX) // see `memtable_sealer`
        .data_block_compression_policy(CompressionPolicy::disabled())
}

/// The keyspace of chunks.
pub(super) fn msgs_keyspace(options: &FjallOptions) -> KeyspaceCreateOptions {
    let separation = KvSeparationOptions::default()
        .separation_threshold(SEPARATION_BYTES)
        .compression(CompressionType::None)
        .file_target_size(options.blob_file_bytes)
        // Chunks are removed in about the order of their writes, so whole files become dead. Rewriting the
        // survivors of a file early would be wasted work for most of them.
        .staleness_threshold(0.6)
        .age_cutoff(1.0);
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX) // see `memtable_sealer`
        .with_kv_separation(Some(separation))
        .data_block_compression_policy(CompressionPolicy::disabled())
        .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
        // Chunks are found by ranges, and filters only help to find single keys.
        .filter_policy(FilterPolicy::disabled())
}
