//! A store that fails or loses power on purpose, to test that every confirmed message survives. After a power
//! loss the synced batches and any number of the following ones survive; after a kill all appended ones do.

use parking_lot::{Condvar, Mutex};

use super::memory::Tables;
use super::{Batch, DefinitionEntry, Journal, LogState, Store, StoreError, StoredChunk};
use crate::model::LogId;

/// One planned failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: Call,
    pub when: When,
    pub what: What,
}

/// A call, counted from 1 since the store was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Append(u64),
    Sync(u64),
}

/// Whether the call fails before or after its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The work is not done.
    Before,
    /// The work is done, but the caller gets an error.
    After,
}

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// This call fails, and all calls after it until the store is reopened.
    Error,
    /// The power is lost: every call from now on fails, and so does reopening.
    PowerLoss,
}

#[derive(Debug)]
pub struct FaultyStore {
    state: Mutex<State>,
    /// Notified when syncs go on.
    unstalled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Contents after a power loss.
    synced: Tables,
    /// Contents that reads see.
    visible: Tables,
    /// Batches that are synced and not applied.
    unapplied: Vec<Batch>,
    /// Batches since the last sync.
    unsynced: Vec<Batch>,
    appends: u64,
    syncs: u64,
    faults: Vec<Fault>,
    failed: bool,
    power_lost: bool,
    free_bytes: Option<u64>,
    owed_bytes: u64,
    has_reserve: bool,
    /// Syncs wait, as on a disk that hangs.
    stalled: bool,
}

impl FaultyStore {
    /// An empty store that will have these faults.
    pub fn new(faults: Vec<Fault>) -> FaultyStore {
        FaultyStore::with(Tables::default(), faults)
    }

    fn with(tables: Tables, faults: Vec<Fault>) -> FaultyStore {
        FaultyStore {
            state: Mutex::new(State {
                synced: tables.clone(),
                visible: tables,
                faults,
                ..State::default()
            }),
            unstalled: Condvar::new(),
        }
    }

    /// Number of appends so far, including failed ones.
    pub fn appends(&self) -> u64 {
        self.state.lock().appends
    }

    /// Number of syncs so far, including failed ones.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    pub fn power_lost(&self) -> bool {
        self.state.lock().power_lost
    }

    /// Sets the result of [`Store::free_bytes`].
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.state.lock().free_bytes = free;
    }

    /// Sets the result of [`Store::owed_bytes`].
    pub fn set_owed_bytes(&self, owed: u64) {
        self.state.lock().owed_bytes = owed;
    }

    /// Gives the store a reserve, which the next reopening spends.
    pub fn add_reserve(&self) {
        self.state.lock().has_reserve = true;
    }

    /// Makes syncs wait, or go on.
    pub fn stall(&self, stalled: bool) {
        self.state.lock().stalled = stalled;
        self.unstalled.notify_all();
    }

    pub fn add_fault(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Number of batches that a power loss could undo.
    pub fn unsynced(&self) -> usize {
        self.state.lock().unsynced.len()
    }

    /// Whether a definition would survive a power loss now.
    pub fn has_synced_definition(&self, key: &[u8]) -> bool {
        self.state.lock().synced.has_definition(key)
    }

    /// The store that the next start finds after a power loss: the synced batches and the first `kept` after
    /// them.
    pub fn after_power_loss(&self, kept: usize) -> FaultyStore {
        let state = self.state.lock();
        let mut tables = state.synced.clone();
        state
            .unsynced
            .iter()
            .take(kept)
            .for_each(|batch| tables.apply(batch));
        FaultyStore::with(tables, Vec::new())
    }

    /// The store that the next start finds after the process was killed.
    pub fn after_kill(&self) -> FaultyStore {
        let state = self.state.lock();
        let mut tables = state.synced.clone();
        state.unsynced.iter().for_each(|batch| tables.apply(batch));
        FaultyStore::with(tables, Vec::new())
    }
}

impl State {
    /// Does the work of a call unless a fault says otherwise.
    fn call(&mut self, call: Call, work: impl FnOnce(&mut State)) -> Result<(), StoreError> {
        self.check()?;
        let fault = self.faults.iter().copied().find(|fault| fault.at == call);
        if fault.is_none_or(|fault| fault.when == When::After) {
            work(self);
        }
        let Some(fault) = fault else {
            return Ok(());
        };
        self.failed = true;
        self.power_lost |= fault.what == What::PowerLoss;
        Err(StoreError::Io {
            doing: format!("{call:?}"),
            source: std::io::Error::other("a fault on purpose"),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failed {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }
}

impl Journal for FaultyStore {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.appends += 1;
        let call = Call::Append(state.appends);
        state.call(call, |state| state.unsynced.push(batch.clone()))
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        while state.stalled {
            self.unstalled.wait(&mut state);
        }
        state.syncs += 1;
        let call = Call::Sync(state.syncs);
        state.call(call, |state| {
            let batches = std::mem::take(&mut state.unsynced);
            batches.iter().for_each(|batch| state.synced.apply(batch));
            state.unapplied.extend(batches);
        })
    }

    fn apply(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.check()?;
        let batches = std::mem::take(&mut state.unapplied);
        batches.iter().for_each(|batch| state.visible.apply(batch));
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        self.state.lock().free_bytes
    }

    fn owed_bytes(&self) -> u64 {
        self.state.lock().owed_bytes
    }

    fn has_reserve(&self) -> bool {
        self.state.lock().has_reserve
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.has_reserve = false;
        if state.power_lost {
            return Err(StoreError::Closed);
        }
        state.unsynced.clear();
        state.unapplied.clear();
        state.visible = state.synced.clone();
        state.failed = false;
        Ok(())
    }
}

impl Store for FaultyStore {
    fn read(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.visible.read(log, from, max_bytes))
    }

    fn logs(&self) -> Result<Vec<(LogId, LogState)>, StoreError> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.visible.logs())
    }

    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.visible.definitions(prefix))
    }

    fn sweep_settled(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.check()?;
        state.synced.sweep_settled();
        state.visible.sweep_settled();
        Ok(())
    }
}
