//! When writers wait because the database is behind: with its tables, or with the entries of the log. So what is in
//! memory stays bounded, however slow the disk is. A member never waits before it appends: votes wait behind that.

use std::thread;
use std::time::Duration;

use ::fjall::{AbstractTree, Keyspace};

use super::core::Core;
use super::open::OpenDatabase;
use super::options::FjallOptions;
use crate::clock;
use crate::store::StoreError;

/// The database itself blocks writers, in coarse steps, at four sealed memtables; the store throttles before
/// that.
const SEALED_MEMTABLES_MAX: usize = 3;
/// Writers wait when an active memtable exceeds its size by this factor because the database's worker is
/// busy.
const MEMTABLE_OVERSHOOT_MAX: u64 = 2;
/// Number of appended entries from which appends wait for the database.
const UNAPPLIED_MAX: usize = 4096;
/// How long a member waits before it applies entries, at most.
const APPLY_PATIENCE: Duration = Duration::from_secs(10);
/// Interval of the checks whether the database has caught up.
const LOOK: Duration = Duration::from_millis(2);

impl OpenDatabase {
    /// The keyspaces whose active memtable exceeds its maximum and can be sealed.
    pub(super) fn overgrown(&self, options: &FjallOptions) -> impl Iterator<Item = &Keyspace> {
        let limits = options.memtable_limits().into_iter();
        let limits = limits.map(|(space, max)| (self.spaces.of(space), max));
        limits
            .filter(|(keyspace, max)| {
                keyspace.tree.active_memtable().size() > *max
                    && keyspace.sealed_memtable_count() < SEALED_MEMTABLES_MAX
            })
            .map(|(keyspace, _)| keyspace)
    }

    /// Whether memtables wait for the database's worker, so that more writes would only take memory.
    fn is_behind_with_tables(&self, options: &FjallOptions) -> bool {
        options.memtable_limits().into_iter().any(|(space, max)| {
            let keyspace = self.spaces.of(space);
            keyspace.sealed_memtable_count() >= SEALED_MEMTABLES_MAX
                || keyspace.tree.active_memtable().size() > max * MEMTABLE_OVERSHOOT_MAX
        })
    }

    /// Whether the next append should wait. Outside a set everything that is durable is applied.
    pub(super) fn is_throttled(&self, options: &FjallOptions) -> bool {
        self.unapplied() >= UNAPPLIED_MAX || self.is_behind_with_tables(options)
    }
}

impl Core {
    /// Waits for a while as long as the database is behind with its tables. Called before entries of a set are applied.
    /// Holds nothing while it waits, so that a reopening need not wait for it.
    pub(super) fn wait_for_tables(&self) -> Result<(), StoreError> {
        let mut deadline = None;
        loop {
            let open = self.open()?;
            if !open.is_behind_with_tables(&self.options) {
                return Ok(());
            }
            if open.overgrown(&self.options).next().is_some() {
                self.seal_signal.wake();
            }
            open.spaces.check_flushes()?;
            drop(open);
            let now = clock::monotonic();
            if now >= *deadline.get_or_insert(now + APPLY_PATIENCE) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }
}
