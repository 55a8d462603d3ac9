//! A follower takes over from a leader whose process is gone for certain, without waiting until its lease is over. A
//! majority must have found that, each member by its own look. Votes go on as in a handover.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use openraft::alias::VoteOf;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use openraft::type_config::TypeConfigExt;
use openraft::{Raft, ServerState};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::log::Durability;
use super::machine::Machine;
use super::message::{self, Envelope, kind};
use super::peers::{Lane, Peers};
use super::set_id::SetId;
use super::standing::MemberInfo;
use super::types::{Group, LogId, Members, NodeFacts};
use super::wire;
use crate::store::Replica;

/// How long another member may look.
const LOOK_WITHIN: Duration = Duration::from_secs(1);
/// Pauses before a follower looks and asks the others, in milliseconds.
const PAUSES_MS: [u64; 6] = [0, 5, 15, 30, 50, 100];

/// Asks whether this leader's process is gone.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    leader: wire::Vote,
}

impl Question {
    pub(super) fn about(leader: VoteOf<Group>) -> Question {
        Question {
            leader: leader.into(),
        }
    }
}

/// What a member has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finding {
    is_gone: bool,
    /// The last entry of the member's log.
    last: Option<wire::Position>,
}

#[cfg(test)]
impl Finding {
    pub(super) fn new(is_gone: bool, last: Option<LogId>) -> Finding {
        Finding {
            is_gone,
            last: last.map(wire::Position::from),
        }
    }
}

/// What a follower needs to take over.
pub(super) struct Succession<R: Replica> {
    pub(super) raft: Raft<Group, Machine<R>>,
    pub(super) durability: Arc<Durability<R>>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) me: u64,
    pub(super) set: Arc<SetId>,
}

/// The leader that this node follows.
struct Followed {
    vote: VoteOf<Group>,
    leader: MemberInfo,
    members: Members,
}

impl<R: Replica> Succession<R> {
    fn followed(&self) -> Option<Followed> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let members = metrics.membership_config.clone();
        let facts: &NodeFacts = members.membership().get_node(&leader)?;
        let follows = metrics.state == ServerState::Follower && metrics.vote.is_committed();
        follows.then(|| Followed {
            vote: metrics.vote,
            leader: facts.member(leader),
            members: (*members).clone(),
        })
    }

    /// What this member finds about a leader that it follows.
    pub(super) async fn look(&self, question: &Question) -> Finding {
        let followed = self
            .followed()
            .filter(|followed| wire::Vote::from(followed.vote) == question.leader);
        let is_gone = match followed {
            Some(followed) => self.peers.is_gone(&followed.leader).await,
            None => false,
        };
        Finding {
            is_gone,
            last: self.durability.last().map(wire::Position::from),
        }
    }

    /// Takes over if `node` leads, its process is gone, and this member is the one that shall follow it. A process does
    /// not end in an instant, and the others may notice a little later.
    pub(super) async fn succeed(&self, node: u64) {
        let Some(followed) = self.followed().filter(|it| it.leader.id == node) else {
            return;
        };
        for pause in PAUSES_MS {
            Group::sleep(Duration::from_millis(pause)).await;
            let is_current = self.followed().is_some_and(|now| now.vote == followed.vote);
            if !is_current {
                return;
            }
            let last = self.durability.last();
            if self.peers.is_gone(&followed.leader).await
                && self.ask_others(&followed, last).await == Turn::Mine
            {
                info!(
                    leader = followed.leader.name,
                    "the leader's process is gone: this node takes over"
                );
                let succession = TransferLeaderRequest::new(followed.vote, self.me, last);
                // It fails only if Raft has ended.
                drop(self.raft.handle_transfer_leader(succession).await);
                return;
            }
        }
    }

    async fn ask_others(&self, followed: &Followed, last: Option<LogId>) -> Turn {
        let others = followed.members.voter_ids();
        let others = others.filter(|id| *id != self.me && *id != followed.leader.id);
        let asked = others.filter_map(|id| {
            let member = followed.members.membership().get_node(&id)?.member(id);
            Some(self.ask(member, followed.vote))
        });
        let findings: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let configs = followed.members.membership().get_joint_config();
        turn(configs, (self.me, last), &findings)
    }

    async fn ask(&self, member: MemberInfo, leader: VoteOf<Group>) -> Option<(u64, Finding)> {
        let envelope = Envelope {
            set: self.set.get()?,
            from: self.me,
            to: member.id,
        };
        let question = message::request(envelope, &Question::about(leader)).ok()?;
        let answer = self
            .peers
            .call(&member, Lane::Control, kind::LOOK, question, LOOK_WITHIN);
        let finding = message::read_answer(&answer.await.ok()?).ok()?;
        Some((member.id, finding))
    }
}

/// Whose turn it is to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Mine,
    Another,
    /// No majority has found that the leader is gone.
    Unclear,
}

/// A majority of each of these groups of voters must agree. Of those that do, the one with most entries takes over, and
/// of several the one with the highest id, so that no two begin together.
fn turn<'a>(
    configs: impl IntoIterator<Item = &'a std::collections::BTreeSet<u64>>,
    (me, last): (u64, Option<LogId>),
    findings: &[(u64, Finding)],
) -> Turn {
    let agree = findings.iter().filter(|(_, finding)| finding.is_gone);
    let agree: Vec<_> = agree
        .map(|(id, finding)| (wire::log_id(finding.last), *id))
        .collect();
    let is_majority = |voters: &std::collections::BTreeSet<u64>| {
        let agreeing = agree.iter().filter(|(_, id)| voters.contains(id)).count();
        let own = usize::from(voters.contains(&me));
        (agreeing + own) * 2 > voters.len()
    };
    let mut configs = configs.into_iter().peekable();
    if configs.peek().is_none() || !configs.all(is_majority) {
        return Turn::Unclear;
    }
    match agree.iter().any(|other| *other > (last, me)) {
        true => Turn::Another,
        false => Turn::Mine,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cluster::raft::types::log_id;
    use crate::store::EntryId;

    #[test]
    fn one_of_a_majority_that_agrees_takes_over() {
        let last = |index| log_id(EntryId { term: 1, index });
        let found = |id, is_gone, index| (id, Finding::new(is_gone, last(index)));
        let three = [BTreeSet::from([1, 2, 3])];
        let five = [BTreeSet::from([1, 2, 3, 4, 5])];
        let joint = [BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 4, 5])];
        for (configs, findings, expected) in [
            (&three[..], vec![], Turn::Unclear),
            (&three, vec![found(3, false, 5)], Turn::Unclear),
            (&three, vec![found(1, true, 5)], Turn::Mine),
            (&three, vec![found(3, true, 5)], Turn::Another),
            (&three, vec![found(3, true, 4)], Turn::Mine),
            (&three, vec![found(1, true, 6)], Turn::Another),
            (&five, vec![found(3, true, 4)], Turn::Unclear),
            (
                &five,
                vec![found(3, true, 4), found(4, false, 9)],
                Turn::Unclear,
            ),
            (
                &five,
                vec![found(3, true, 4), found(1, true, 5)],
                Turn::Mine,
            ),
            (&joint, vec![found(1, true, 4)], Turn::Unclear),
            (
                &joint,
                vec![found(1, true, 4), found(4, true, 4)],
                Turn::Mine,
            ),
            (&[], vec![found(1, true, 4)], Turn::Unclear),
        ] {
            assert_eq!(
                turn(configs, (2, last(5)), &findings),
                expected,
                "{findings:?}"
            );
        }
    }
}
