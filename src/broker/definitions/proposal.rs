//! Proposals: writes the records of a change in one batch, and applies the change to memory when that is durable, even if
//! the caller goes away meanwhile.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::record::Records;
use crate::model::Ticket;
use crate::store::{Committer, StoreFailed};

/// The end of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records are durable, or it has none. Memory changes.
    Committed,
    /// It was dropped, or the store was closed before. Memory stays as it is.
    Abandoned,
}

/// Applies the change if it was committed, and lets contradicting changes go on.
type Conclusion = Box<dyn FnOnce(Outcome) + Send>;

/// A valid change. Until it is committed or dropped, no contradicting change is proposed.
#[must_use = "nothing changes until it is committed"]
pub struct Proposal {
    records: Records,
    conclusions: Conclusions,
}

/// Runs the conclusions with `Abandoned` if they are dropped.
#[derive(Default)]
struct Conclusions(Vec<Conclusion>);

impl Conclusions {
    fn run(&mut self, outcome: Outcome) {
        for conclude in self.0.drain(..) {
            conclude(outcome);
        }
    }
}

impl Drop for Conclusions {
    fn drop(&mut self) {
        self.run(Outcome::Abandoned);
    }
}

impl Proposal {
    pub fn new(records: Records, conclude: impl FnOnce(Outcome) + Send + 'static) -> Proposal {
        Proposal {
            records,
            conclusions: Conclusions(vec![Box::new(conclude)]),
        }
    }

    /// Nothing to change.
    pub fn none() -> Proposal {
        Proposal {
            records: Records::default(),
            conclusions: Conclusions::default(),
        }
    }

    /// Both, in one batch.
    pub fn and(mut self, mut other: Proposal) -> Proposal {
        self.records.append(std::mem::take(&mut other.records));
        self.conclusions.0.append(&mut other.conclusions.0);
        self
    }

    /// Writes the records and applies the change when they are durable.
    pub async fn commit(self, committer: &Arc<Committer>) -> Result<(), StoreFailed> {
        self.write(committer).applied().await
    }

    /// Adds the records to the batch that gathers.
    pub fn write(self, committer: &Arc<Committer>) -> Commit {
        let ticket = match self.records.is_empty() {
            true => None,
            false => Some(self.records.write_soon(committer)),
        };
        Commit(Some(UnderWay {
            committer: Arc::clone(committer),
            ticket,
            conclusions: self.conclusions,
        }))
    }
}

/// A proposal whose records are in a batch. Dropped, it is applied in the background when the batch is durable.
#[must_use = "wait for it, or leave it to the background"]
pub struct Commit(Option<UnderWay>);

struct UnderWay {
    committer: Arc<Committer>,
    /// `None` without records.
    ticket: Option<Ticket>,
    conclusions: Conclusions,
}

impl UnderWay {
    fn conclude(mut self, waited: Result<(), StoreFailed>) -> Result<(), StoreFailed> {
        let outcome = match waited {
            Ok(()) => Outcome::Committed,
            Err(StoreFailed) => Outcome::Abandoned,
        };
        self.conclusions.run(outcome);
        waited
    }
}

impl Commit {
    /// Waits until the change is durable, and applies it.
    pub async fn applied(mut self) -> Result<(), StoreFailed> {
        let waited = match &self.0 {
            Some(UnderWay {
                committer,
                ticket: Some(ticket),
                ..
            }) => committer.wait(*ticket).await,
            Some(_) | None => Ok(()),
        };
        match self.0.take() {
            Some(under_way) => under_way.conclude(waited),
            None => waited,
        }
    }

    /// Applies the change when it is durable, without waiting here; immediately without records.
    pub fn in_background(self) {
        drop(self);
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        let Some(mut under_way) = self.0.take() else {
            return;
        };
        let Some(ticket) = under_way.ticket else {
            under_way.conclusions.run(Outcome::Committed);
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let waited = under_way.committer.wait(ticket).await;
                // On an error the store is closed, and every caller that waits for it gets the error.
                under_way.conclude(waited)
            });
        }
    }
}
