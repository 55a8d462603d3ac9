//! Tables of definitions in memory. With [`Live`], the caller keeps contradicting changes apart. [`Serialised`] makes one
//! change after the other: a change that waits for the disk delays other changes, but no readers.

use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Mutex;

use super::proposal::{Outcome, Proposal};
use super::record::Records;
use crate::store::{Committer, StoreFailed};

/// Definitions of some kinds.
pub trait Table: Send + Sync + 'static {
    /// One change of them.
    type Change: Send + 'static;

    /// Adds the records from which a start applies the change again.
    fn write(change: &Self::Change, records: &mut Records);

    /// Makes a change in memory, at the start and later.
    fn apply(&mut self, change: Self::Change);
}

/// A table that shows committed changes only.
#[derive(Debug)]
pub struct Live<T>(Arc<RwLock<T>>);

impl<T: Table> Live<T> {
    pub fn new(table: T) -> Live<T> {
        Live(Arc::new(RwLock::new(table)))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read()
    }

    /// Proposes valid changes. The caller makes sure that they stay valid until the proposal is concluded.
    pub fn propose(&self, changes: Vec<T::Change>) -> Proposal {
        let mut records = Records::default();
        for change in &changes {
            T::write(change, &mut records);
        }
        let table = Arc::clone(&self.0);
        Proposal::new(records, move |outcome| {
            if outcome == Outcome::Committed {
                let mut table = table.write();
                changes.into_iter().for_each(|change| table.apply(change));
            }
        })
    }
}

/// A table whose changes are made one after the other.
pub(in crate::broker) struct Serialised<T> {
    table: Live<T>,
    /// Held from a proposal until it is concluded.
    turn: Arc<Mutex<()>>,
    committer: Arc<Committer>,
}

impl<T: Table> Serialised<T> {
    pub(in crate::broker) fn new(table: T, committer: Arc<Committer>) -> Serialised<T> {
        Serialised {
            table: Live::new(table),
            turn: Arc::default(),
            committer,
        }
    }

    pub(in crate::broker) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.table.read()
    }

    /// Applies a change that a start has read.
    pub(in crate::broker) fn restore(&self, change: T::Change) {
        self.table.0.write().apply(change);
    }

    /// Calls `decide` with the table. It returns the changes, and the answer for when they are applied.
    pub(in crate::broker) async fn propose<R, E>(
        &self,
        decide: impl FnOnce(&T) -> Result<(Vec<T::Change>, R), E>,
    ) -> Result<(Proposal, R), E> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (changes, answer) = decide(&self.read())?;
        let end_turn = Proposal::new(Records::default(), move |_| drop(turn));
        Ok((self.table.propose(changes).and(end_turn), answer))
    }

    /// Proposes a change and commits it.
    pub(in crate::broker) async fn change<R, E: From<StoreFailed>>(
        &self,
        decide: impl FnOnce(&T) -> Result<(Vec<T::Change>, R), E>,
    ) -> Result<R, E> {
        let (proposal, answer) = self.propose(decide).await?;
        proposal.commit(&self.committer).await?;
        Ok(answer)
    }
}
