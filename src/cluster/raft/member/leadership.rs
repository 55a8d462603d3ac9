//! Leading: the store of one leadership, and how it is handed over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::type_config::TypeConfigExt;
use openraft::{Instant, RaftMetrics};
use tokio::runtime::Handle;

use super::super::proposer::Proposer;
use super::super::replicated::Replicated;
use super::super::standing::{Standing, is_majority};
use super::super::tracker::Proposals;
use super::super::types::{Changes, Group, LogId, store_index};
use super::membership::has_caught_up;
use super::{Core, Member, MemberError, NotLeading, Running, Used, raft_error};
use crate::clock::Mandate;
use crate::store::{Journal, Proposal, Replica, Store};

/// How long a handover may take.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);

/// What the leader runs the broker with.
pub struct Led {
    /// It takes nothing any more once the leadership is lost.
    pub store: Arc<dyn Store>,
    /// Until when the broker may answer clients from memory.
    pub mandate: Arc<Mandate>,
}

/// A leadership of which everything that was proposed before is applied to its store.
pub(in super::super) struct Begun<R: Replica> {
    pub(in super::super) proposer: Proposer<R>,
    pub(in super::super) mandate: Arc<Mandate>,
}

impl Member {
    /// What the leader runs the broker with, when everything that was proposed before is applied to its store.
    pub async fn lead(&self) -> Result<Led, NotLeading> {
        let Begun { proposer, mandate } = self.begin().await?;
        let store = Replicated::new(self.store.clone(), proposer, Handle::current());
        Ok(Led {
            store: Arc::new(store),
            mandate,
        })
    }
}

impl<R: Replica + Journal> Member<R> {
    /// Begins a leadership.
    pub(in super::super) async fn begin(&self) -> Result<Begun<R>, NotLeading> {
        let Running {
            raft, durability, ..
        } = self.running().map_err(|_| NotLeading)?;
        let mut standing = self.standing();
        let Standing::Leads(leadership) = *standing.borrow_and_update() else {
            return Err(NotLeading);
        };
        let own = loop {
            // An entry of its own, behind all that an earlier broker of the same term may have proposed.
            let barrier = raft.client_write(Changes(Proposal::default()));
            tokio::select! {
                biased;
                _ = standing.changed() => return Err(NotLeading),
                applied = barrier => if let Ok(applied) = applied {
                    break *applied.log_id();
                },
            }
            tokio::select! {
                biased;
                _ = standing.changed() => return Err(NotLeading),
                () = Group::sleep(self.options.heartbeat) => {}
            }
        };
        if leader_term(&own) != leadership.term {
            return Err(NotLeading);
        }
        let proposals = Arc::new(Proposals::default());
        let until_ns = self.serves_until_ns.load(Ordering::Acquire);
        let mandate = Arc::new(Mandate::new(self.options.clocks.clone(), until_ns));
        let before = self.used.lock().replace(Used {
            leadership,
            proposals: proposals.clone(),
            mandate: mandate.clone(),
        });
        if let Some(before) = before {
            before.end();
        }
        self.end_others(&self.standing.borrow());
        Ok(Begun {
            proposer: Proposer::new(raft, own, proposals, durability, self.hurt.clone()),
            mandate,
        })
    }

    /// Hands the leadership over: to this member, or to the one that has most. Returns when another one leads. This node
    /// has ceased to serve before.
    pub async fn transfer(&self, to: Option<u64>) -> Result<(), MemberError> {
        let raft = self.running()?.raft;
        let Some(term) = self.ask_to_lead(&raft, to).await? else {
            return Ok(());
        };
        let mut metrics = raft.metrics();
        let follows = async {
            loop {
                let is_over = {
                    let metrics = metrics.borrow_watched();
                    metrics.current_term > term && metrics.current_leader.is_some()
                };
                if is_over || metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let follows = Group::timeout(TRANSFER_WITHIN, follows).await;
        follows.map_err(|_| MemberError::NotTransferred)
    }

    /// Ceases to serve, and asks another member to lead: this one, or the one that has most. Returns the term that ends
    /// so, or `None` if this node is to lead and does.
    pub(super) async fn ask_to_lead(
        &self,
        raft: &Core<R>,
        to: Option<u64>,
    ) -> Result<Option<u64>, MemberError> {
        let me = self.options.this.id;
        let (to, term) = {
            let metrics = raft.metrics();
            let metrics = metrics.borrow_watched();
            let to = match to {
                Some(to) if to == me => return Ok(None),
                to => self.successor(&metrics, to)?,
            };
            (to, metrics.current_term)
        };
        // Its votes do not wait until the lease of this node has ended.
        self.leaderships.lock().give_up(term);
        self.stand(Standing::NoMajority);
        let asked = raft.trigger().transfer_leader(to).await;
        asked.map_err(raft_error)?;
        Ok(Some(term))
    }

    /// Whether this leader has heard a member lately.
    pub(super) fn answers(&self, metrics: &RaftMetrics<Group>, id: u64) -> bool {
        let answered = metrics.heartbeat.as_ref().and_then(|all| *all.get(&id)?);
        answered.is_some_and(|at| at.elapsed() < self.options.election_timeout)
    }

    /// Whether the members that answer this leader, and have what it has, are a majority without it.
    pub(super) fn is_dispensable(&self, metrics: &RaftMetrics<Group>) -> bool {
        let me = self.options.this.id;
        let is_whole = |id: u64| self.answers(metrics, id) && has_caught_up(metrics, id);
        let is_dispensable = |voters: &BTreeSet<u64>| {
            let whole = voters.iter().filter(|id| **id != me && is_whole(**id));
            is_majority(whole.count(), voters.len())
        };
        let members = metrics.membership_config.membership();
        members.get_joint_config().iter().all(is_dispensable)
    }

    /// The voter that takes over: `to`, or the one that has most. It must have answered lately, and lack nothing but what
    /// the log has: it waits for that, and this node leads no more meanwhile.
    fn successor(&self, metrics: &RaftMetrics<Group>, to: Option<u64>) -> Result<u64, MemberError> {
        let me = self.options.this.id;
        let members = &metrics.membership_config;
        let voters: BTreeSet<u64> = members.voter_ids().filter(|id| *id != me).collect();
        let answers = |id: &u64| self.answers(metrics, *id);
        let matched = |id: &u64| metrics.replication.as_ref().and_then(|all| *all.get(id)?);
        let purged = store_index(metrics.purged.as_ref());
        let is_near = |id: &u64| store_index(matched(id).as_ref()) >= purged;
        let name = |id: u64| {
            let node = members.membership().get_node(&id);
            node.map_or_else(|| id.to_string(), |node| node.name.clone())
        };
        match to {
            Some(to) if !voters.contains(&to) => Err(MemberError::Unknown(to)),
            Some(to) if !answers(&to) => Err(MemberError::Unheard(name(to))),
            Some(to) if !is_near(&to) => Err(MemberError::NotCaughtUp(name(to))),
            Some(to) => Ok(to),
            None => {
                let live = voters.into_iter().filter(|id| answers(id) && is_near(id));
                live.max_by_key(matched).ok_or(MemberError::Alone)
            }
        }
    }
}

fn leader_term(id: &LogId) -> u64 {
    id.committed_leader_id().term
}
