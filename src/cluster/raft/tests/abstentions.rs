//! A member that starts again votes for no other leader as long as the one it has heard may count on it.

use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{VoteRequest, VoteResponse};
use openraft::vote::RaftVote;

use super::*;
use crate::cluster::raft::message::{self, Envelope, kind};
use crate::cluster::raft::types::{Group, log_id};
use crate::cluster::raft::wire;
use crate::store::EntryId;

/// A candidate that has more than anyone.
struct Candidate {
    id: u64,
    origin: Origin,
    set: u64,
}

impl Candidate {
    async fn asks(&self, node: &Node, kind: u8, term: u64, is_transfer: bool) -> bool {
        let leader = LeaderId {
            term,
            voted_for: self.id,
        };
        let vote = openraft::alias::VoteOf::<Group>::from_leader_id(leader, false);
        let last = EntryId {
            term: term - 1,
            index: 1_000,
        };
        let request = VoteRequest::<Group> {
            leadership_transfer: is_transfer,
            ..VoteRequest::new(vote, log_id(last))
        };
        let envelope = Envelope {
            set: self.set,
            from: self.id,
            to: node.info().id,
        };
        let request = message::request(envelope, &wire::VoteAsked::from(request))
            .unwrap()
            .concat();
        let member = node.member();
        let answer = member.handle(&self.origin, kind, request.into());
        let answer: wire::Voted = message::read_answer(&answer.await).unwrap();
        VoteResponse::<Group>::from(answer).vote_granted
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_starts_again_votes_only_when_no_leader_can_count_on_it() {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let mut node = Node::stopped(dir.path(), name, &network);
        // Long enough for a slow machine to start again and to ask.
        node.election_timeout = Duration::from_secs(3);
        node.restart().await;
        nodes.push(node);
    }
    let members = nodes.iter().map(Node::info).collect();
    nodes[0].member().form(members).await.unwrap();
    let first = leader(&nodes).await;
    let (again, other) = ((first + 1) % 3, (first + 2) % 3);
    let set = nodes[first].member().status().set.unwrap();
    let follows = || matches!(nodes[again].standing(), Standing::Follows { .. });
    eventually("it follows", follows).await;
    let id = nodes[other].info().id;
    let candidate = Candidate {
        origin: network.origin(id),
        id,
        set,
    };
    // It hears no leader, which would keep it from voting too.
    network.cut.lock().insert(nodes[again].info().id);
    for (is_transfer, expected) in [(false, false), (true, true)] {
        nodes[again].stop().await;
        nodes[again].restart().await;
        let asked = candidate.asks(&nodes[again], kind::VOTE, 90, is_transfer);
        assert_eq!(asked.await, expected);
    }
    nodes[again].stop().await;
    nodes[again].restart().await;
    let again = &nodes[again];
    assert!(!candidate.asks(again, kind::PRE_VOTE, 95, false).await);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !candidate.asks(again, kind::PRE_VOTE, 95, false).await {
        assert!(std::time::Instant::now() < deadline, "it never votes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(candidate.asks(again, kind::VOTE, 95, false).await);
    for node in &mut nodes {
        node.stop().await;
    }
}
