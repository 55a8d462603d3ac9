//! How far the proposals of one leadership are: each is committed when a majority has it, then applied.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;

use openraft::RaftTypeConfig;
use openraft::alias::LogIdOf;
use openraft::raft::responder::Responder;
use parking_lot::{Condvar, Mutex};

use crate::model::Ticket;

/// The proposals of one leadership, numbered from 1 on.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    reached: Mutex<Reached>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Reached {
    proposed: u64,
    committed: u64,
    applied: u64,
    /// The tickets of the batches that are not committed, by number, and of the last one that is.
    tickets: VecDeque<(u64, Ticket)>,
    committed_ticket: Ticket,
    /// The leadership is lost: nothing more is known of what is not committed.
    lost: bool,
}

impl Reached {
    fn committed_up_to(&mut self, number: u64) {
        self.committed = self.committed.max(number);
        while let Some((_, ticket)) = self.tickets.pop_front_if(|(first, _)| *first <= number) {
            self.committed_ticket = ticket;
        }
    }
}

/// The leadership is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Proposals {
    /// The tracker of the next proposal.
    pub(super) fn next<T>(self: &Arc<Self>, ticket: Ticket) -> Result<Tracker<T>, Lost> {
        let mut reached = self.reached.lock();
        if reached.lost {
            return Err(Lost);
        }
        reached.proposed += 1;
        let number = reached.proposed;
        reached.tickets.push_back((number, ticket));
        Ok(Tracker {
            proposals: Arc::clone(self),
            number,
            is_committed: false,
            is_complete: false,
            result: PhantomData,
        })
    }

    /// Ends the leadership: everything that waits fails, and nothing more is taken.
    pub(super) fn lose(&self) {
        self.reached.lock().lost = true;
        self.changed.notify_all();
    }

    /// Whether a proposal, or the leadership, was lost.
    pub(super) fn is_lost(&self) -> bool {
        self.reached.lock().lost
    }

    /// The last proposal that is committed, unless the leadership is lost.
    #[cfg(test)]
    pub(super) fn committed(&self) -> Result<u64, Lost> {
        let reached = self.reached.lock();
        match reached.lost {
            true => Err(Lost),
            false => Ok(reached.committed),
        }
    }

    /// Waits until everything is committed that was proposed before.
    pub(super) fn wait_committed(&self) -> Result<(), Lost> {
        let upto = self.reached.lock().proposed;
        self.wait(|reached| (reached.committed >= upto).then_some(()))
    }

    /// Waits until the batch with this ticket is committed, if it was proposed, and returns the ticket of the last one
    /// that is; `None` if all are.
    pub(super) fn wait_committed_some(&self, ticket: Ticket) -> Result<Option<Ticket>, Lost> {
        self.wait(|reached| {
            let are_all = reached.committed >= reached.proposed;
            let last = reached.committed_ticket;
            (are_all || last >= ticket).then_some((!are_all).then_some(last))
        })
    }

    fn wait<T>(&self, found: impl Fn(&Reached) -> Option<T>) -> Result<T, Lost> {
        let mut reached = self.reached.lock();
        loop {
            // What is committed is so for good. But the broker that reports it must end first.
            if reached.lost {
                return Err(Lost);
            }
            if let Some(found) = found(&reached) {
                return Ok(found);
            }
            self.changed.wait(&mut reached);
        }
    }

    /// Waits until everything is applied that is committed now.
    pub(super) fn wait_applied(&self) -> Result<(), Lost> {
        let mut reached = self.reached.lock();
        let upto = reached.committed;
        while reached.applied < upto {
            if reached.lost {
                return Err(Lost);
            }
            self.changed.wait(&mut reached);
        }
        Ok(())
    }
}

/// Follows one proposal.
#[derive(Debug)]
pub(super) struct Tracker<T> {
    proposals: Arc<Proposals>,
    number: u64,
    is_committed: bool,
    is_complete: bool,
    result: PhantomData<fn(T)>,
}

impl<C: RaftTypeConfig, T: Send + 'static> Responder<C, T> for Tracker<T> {
    fn on_commit(&mut self, _: LogIdOf<C>) {
        self.is_committed = true;
        let mut reached = self.proposals.reached.lock();
        reached.committed_up_to(self.number);
        drop(reached);
        self.proposals.changed.notify_all();
    }

    fn on_complete(mut self, _: T) {
        if self.is_committed {
            self.is_complete = true;
            let mut reached = self.proposals.reached.lock();
            reached.applied = reached.applied.max(self.number);
            drop(reached);
            self.proposals.changed.notify_all();
        }
    }
}

impl<T> Drop for Tracker<T> {
    /// Raft drops a proposal that is not complete when the leadership is lost or Raft has ended.
    fn drop(&mut self) {
        if !self.is_complete {
            self.proposals.lose();
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::cluster::raft::types::{Group, LogId};

    fn some_id() -> LogId {
        let leader = openraft::impls::leader_id_std::LeaderId {
            term: 1_u64,
            voted_for: 1_u64,
        };
        LogId::new(leader.to_committed(), 1)
    }

    #[test]
    fn proposals_are_committed_then_applied_and_fail_when_one_is_dropped() {
        let proposals = Arc::new(Proposals::default());
        assert_eq!(proposals.wait_committed(), Ok(()));
        let mut first: Tracker<u8> = proposals.next(Ticket(3)).unwrap();
        let mut second: Tracker<u8> = proposals.next(Ticket(5)).unwrap();
        Responder::<Group, u8>::on_commit(&mut first, some_id());
        assert_eq!(
            proposals.wait_committed_some(Ticket(3)),
            Ok(Some(Ticket(3)))
        );
        Responder::<Group, u8>::on_commit(&mut second, some_id());
        assert_eq!(proposals.wait_committed(), Ok(()));
        Responder::<Group, u8>::on_complete(first, 1);
        Responder::<Group, u8>::on_complete(second, 1);
        assert_eq!(proposals.wait_applied(), Ok(()));
        let third: Tracker<u8> = proposals.next(Ticket(8)).unwrap();
        Responder::<Group, u8>::on_complete(third, 1); // refused: it was never committed
        assert_eq!(proposals.wait_committed(), Err(Lost));
        assert!(proposals.next::<u8>(Ticket(9)).is_err());
    }
}
