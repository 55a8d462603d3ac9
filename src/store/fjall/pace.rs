//! When writers wait because the database is behind: with its tables, or with the entries of the log. So what is in
//! memory stays bounded, however slow the disk is.

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
const UNAPPLIED_MAX: u64 = 4096;
/// How long a member waits before it applies entries, at most.
const APPLY_PATIENCE: Duration = Duration::from_secs(10);
/// How long a member waits before it appends an entry, at most. Votes wait behind it.
const APPEND_PATIENCE: Duration = Duration::from_millis(200);
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

    /// Whether many entries are not applied that are durable here, and that a majority has.
    pub(super) fn is_behind_with_entries(&self) -> bool {
        let upto = self.log.committed().min(self.log.known_to_majority());
        self.unapplied_upto(upto) >= UNAPPLIED_MAX
    }

    /// Whether the next append should wait. Outside a set everything that is durable is applied.
    pub(super) fn is_throttled(&self, options: &FjallOptions) -> bool {
        self.unapplied_upto(u64::MAX) >= UNAPPLIED_MAX || self.is_behind_with_tables(options)
    }
}

impl Core {
    /// Waits for a while as long as the database is behind with its tables. Called before entries of a set are applied.
    pub(super) fn wait_for_tables(&self) -> Result<(), StoreError> {
        self.wait_while(APPLY_PATIENCE, |open| {
            if !open.is_behind_with_tables(&self.options) {
                return Ok(false);
            }
            if open.overgrown(&self.options).next().is_some() {
                self.seal_signal.wake();
            }
            open.spaces.check_flushes()?;
            Ok(true)
        })
    }

    /// Waits for a while as long as many entries are not applied that could be. Called before another entry of a set is
    /// appended. Entries that cannot be applied yet do not count: they may wait for this one.
    pub(super) fn wait_for_applies(&self) -> Result<(), StoreError> {
        self.wait_while(APPEND_PATIENCE, |open| Ok(open.is_behind_with_entries()))
    }

    /// Holds nothing while it waits, so that a reopening need not wait for it.
    fn wait_while(
        &self,
        patience: Duration,
        is_behind: impl Fn(&OpenDatabase) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut deadline = None;
        while is_behind(&*self.open()?)? {
            let now = clock::monotonic();
            if now >= *deadline.get_or_insert(now + patience) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}
