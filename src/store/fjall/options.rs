//! The sizes and bounds of the database, and how its keyspaces are made.

use std::time::Duration;

use ::fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use ::fjall::{CompressionType, KeyspaceCreateOptions, KvSeparationOptions};

use crate::store::OnDamage;

/// Values from this size are kept apart from their keys.
const SEPARATION_BYTES: u32 = 512;

/// Sizes of the database.
#[derive(Clone, Copy, Debug)]
pub struct FjallOptions {
    /// Bytes of chunks in memory before they go to a table. Messages that are settled earlier never do.
    pub msgs_memtable_bytes: u64,
    /// Bytes of records in memory before they go to a table.
    pub state_memtable_bytes: u64,
    /// Size of the files that hold chunks.
    pub blob_file_bytes: u64,
    /// Bytes of journals after which laggards are flushed: what a start after a crash reads again. At least 64 MiB.
    pub journal_bytes_max: u64,
    /// From this many bytes on the chunks of a batch go to an extent. Fewer are put into the database's journal with
    /// the rest of the batch, which takes one sync less.
    pub extent_batch_bytes: usize,
    /// Length of an extent.
    pub extent_bytes: u64,
    /// Bytes of the cache for index and record blocks.
    pub cache_bytes: u64,
    /// What to do when the start finds damage.
    pub on_damage: OnDamage,
    /// Files that stay open for reading.
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

/// When the background thread acts.
#[derive(Clone, Copy, Debug)]
pub struct MaintenanceOptions {
    /// Removed chunks after which giving space back is considered.
    pub reclaim_after_chunks: u64,
    /// Bytes of chunk files below which it is not worth it.
    pub reclaim_min_bytes: u64,
    /// Bytes of no use that extents may hold, besides as many as are of use.
    pub extent_slack_bytes: u64,
    /// Bytes of memtables that are not worth a table of their own.
    pub flush_min_bytes: u64,
    /// How long little must have been written before.
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
        // Chunks die in about the order in which they were written, so files die whole: rewriting the survivors of
        // a file early would be in vain for most.
        .staleness_threshold(0.6)
        .age_cutoff(1.0);
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX) // see `memtable_sealer`
        .with_kv_separation(Some(separation))
        .data_block_compression_policy(CompressionPolicy::disabled())
        .data_block_size_policy(BlockSizePolicy::all(16 * 1024))
        // Chunks are found by ranges, for which filters are of no use.
        .filter_policy(FilterPolicy::disabled())
}
