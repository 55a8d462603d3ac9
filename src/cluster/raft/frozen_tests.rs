//! The messages between members, the entries in them and the record of members, as release 1 writes them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use openraft::alias::SnapshotMetaOf;
use openraft::entry::RaftEntry;
use openraft::impls::leader_id_std;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::vote::RaftVote;
use openraft::{EntryPayload, Membership};

use super::message::{self, Envelope, MessageError};
use super::records::{decode_members, encode_members};
use super::standing::MemberInfo;
use super::succession::{Finding, Question};
use super::types::{Changes, Entry, Group, LogId, Members, NodeFacts};
use super::wire;
use crate::cluster::frozen::frozen;
use crate::model::QueueId;
use crate::store::{Batch, FjallOptions, FjallStore, Op};

type Vote = openraft::alias::VoteOf<Group>;

const ENVELOPE: Envelope = Envelope {
    set: 0x0102_0304_0506_0708,
    from: 0xA1,
    to: 0xB2,
};

fn leader(term: u64, node: u64) -> leader_id_std::LeaderId<u64, u64> {
    leader_id_std::LeaderId {
        term,
        voted_for: node,
    }
}

fn vote() -> Vote {
    Vote::from_leader_id(leader(7, 0xA1), true)
}

fn id(index: u64) -> LogId {
    use openraft::vote::RaftLeaderId;
    LogId::new(leader(7, 0).to_committed(), index)
}

fn members() -> Membership<u64, NodeFacts> {
    let facts = |name: &str| NodeFacts {
        name: name.to_owned(),
        address: format!("{name}.example:25672"),
    };
    let nodes = BTreeMap::from([(0xA1, facts("a")), (0xB2, facts("b")), (0xC3, facts("c"))]);
    // b and c vote, and c is about to be replaced by a.
    let joint = vec![BTreeSet::from([0xB2, 0xC3]), BTreeSet::from([0xA1, 0xB2])];
    Membership::new(joint, nodes).expect("members")
}

/// One entry of each sort.
fn entries() -> Vec<Entry> {
    let dir = tempfile::tempdir().expect("a folder");
    let store = FjallStore::open_member(dir.path(), FjallOptions::default()).expect("a store");
    let log = QueueId(5).log(0);
    let batch = Batch {
        ops: vec![
            Op::PutChunk {
                log,
                first: 3,
                chunk: Bytes::from_static(b"the bytes of a chunk"),
            },
            Op::RemoveChunk { log, first: 2 },
            Op::Sweep { log, offsets: 0..2 },
            Op::RemoveSettledPage { log, page: 9 },
            Op::RemoveLog {
                log: QueueId(6).log(1),
            },
        ],
        ..Batch::default()
    };
    let changes = Changes(store.propose(&batch, &mut HashSet::new()));
    [
        EntryPayload::Blank,
        EntryPayload::Normal(changes),
        EntryPayload::Membership(members()),
    ]
    .into_iter()
    .zip(4..)
    .map(|(payload, index)| Entry::new(id(index), payload))
    .collect()
}

fn opened(request: Vec<u8>) -> Bytes {
    let (envelope, body) = message::open(request.into()).expect("a message of release 1");
    assert_eq!(envelope, ENVELOPE);
    body
}

#[test]
fn a_request_to_append_entries_is_frozen() {
    let append = AppendEntriesRequest::<Group> {
        vote: vote(),
        prev_log_id: Some(id(3)),
        entries: entries(),
        leader_commit: Some(id(2)),
    };
    let now = message::append_request(ENVELOPE, &append).expect("a request");
    let body = opened(frozen("append_request", &now.concat()));
    let read = message::append_body(body).expect("entries of release 1");
    assert_eq!(
        (read.vote, read.prev_log_id, read.leader_commit),
        (append.vote, append.prev_log_id, append.leader_commit)
    );
    assert_eq!(read.entries, append.entries);
}

#[test]
fn requests_for_votes_and_a_handover_are_frozen() {
    let request = VoteRequest::<Group>::new(vote(), Some(id(9)));
    let asked = wire::VoteAsked::from(request.clone());
    let now = message::request(ENVELOPE, &asked).expect("a request");
    let body = opened(frozen("vote_request", &now.concat()));
    let read: wire::VoteAsked = message::body(&body).expect("a vote of release 1");
    assert_eq!(VoteRequest::from(read), request);

    let request = TransferLeaderRequest::<Group>::new(vote(), 0xB2, Some(id(9)));
    let asked = wire::HandoverAsked::from(request.clone());
    let now = message::request(ENVELOPE, &asked).expect("a request");
    let body = opened(frozen("transfer_request", &now.concat()));
    let read: wire::HandoverAsked = message::body(&body).expect("one of release 1");
    let read = TransferLeaderRequest::from(read);
    assert_eq!(format!("{read:?}"), format!("{request:?}"));

    let now = message::request(ENVELOPE, &Question::about(vote())).expect("a request");
    let body = opened(frozen("look_request", &now.concat()));
    let read: Question = message::body(&body).expect("one of release 1");
    assert_eq!(read, Question::about(vote()));
}

fn answered(answer: &impl serde::Serialize) -> Bytes {
    message::answer(serde_json::to_vec(answer).map_err(MessageError::from))
}

fn read<T: serde::de::DeserializeOwned>(name: &str, now: Bytes) -> T {
    message::read_answer(&frozen(name, &now).into()).expect("an answer")
}

#[test]
fn a_snapshots_head_and_answer_are_frozen() {
    let meta = SnapshotMetaOf::<Group> {
        last_log_id: Some(id(9)),
        last_membership: Members::new(Some(id(6)), members()),
    };
    let head = wire::SnapshotHead::new(vote(), &meta);
    let now = message::request(ENVELOPE, &head).expect("a request");
    let body = opened(frozen("snapshot_head", &now.concat()));
    let read_head: wire::SnapshotHead = message::body(&body).expect("one of release 1");
    assert_eq!(read_head.open().expect("members"), (vote(), meta));
    let taken = SnapshotResponse::<Group>::new(vote());
    let now = answered(&wire::SnapshotTaken::from(taken.clone()));
    let answer: wire::SnapshotTaken = read("snapshot_taken", now);
    assert_eq!(SnapshotResponse::from(answer), taken);
}

#[test]
fn answers_are_frozen() {
    type Appended = AppendEntriesResponse<Group>;
    for (name, answer) in [
        ("appended", Appended::Success),
        ("appended_in_part", Appended::PartialSuccess(Some(id(5)))),
        ("append_conflicts", Appended::Conflict),
        ("append_of_an_old_term", Appended::HigherVote(vote())),
    ] {
        let now = answered(&wire::Appended::from(answer.clone()));
        let read: wire::Appended = read(name, now);
        assert_eq!(Appended::from(read), answer);
    }
    let answer = VoteResponse::<Group>::new(vote(), Some(id(9)), true);
    let voted: wire::Voted = read(
        "vote_response",
        answered(&wire::Voted::from(answer.clone())),
    );
    assert_eq!(VoteResponse::from(voted), answer);
    let finding = Finding::new(true, Some(id(9)));
    assert_eq!(read::<Finding>("look_answer", answered(&finding)), finding);
    for (name, response) in [
        ("handover_taken", Ok(())),
        (
            "handover_too_late",
            Err(TransferLeaderError::VoteChanged {
                expected: vote(),
                actual: vote(),
            }),
        ),
        (
            "handover_too_early",
            Err(TransferLeaderError::LogNotFlushed {
                expected: Some(id(9)),
                actual: None,
            }),
        ),
    ] {
        let now = answered(&wire::handover_answer(response.clone()));
        let answer = wire::handover_response(read(name, now));
        assert_eq!(format!("{answer:?}"), format!("{response:?}"));
    }
    let now = message::answer(Err(MessageError::Refused("no".to_owned())));
    let refused = message::read_answer::<Appended>(&frozen("refusal", &now).into());
    assert!(matches!(refused, Err(MessageError::Refused(text)) if text == "no"));
}

#[test]
fn the_record_of_members_is_frozen() {
    let stored = Members::new(Some(id(6)), members());
    let now = encode_members(&stored).expect("JSON");
    let read = decode_members(&frozen("members.json", &now)).expect("a record");
    assert_eq!(read, stored);
    let member = MemberInfo {
        id: 0xA1,
        name: "a".to_owned(),
        address: "a.example:25672".to_owned(),
    };
    let now = serde_json::to_vec(&member).expect("JSON");
    let read: MemberInfo = serde_json::from_slice(&frozen("member.json", &now)).expect("a member");
    assert_eq!(read, member);
}

/// A later release may add fields; a message of a later version is refused with a text.
#[test]
fn additions_are_passed_over_and_later_versions_refused() {
    let request = VoteRequest::<Group>::new(vote(), Some(id(9)));
    let asked = || wire::VoteAsked::from(request.clone());
    let mut json = serde_json::to_value(asked()).expect("JSON");
    json["of_a_later_release"] = true.into();
    let added = message::request(ENVELOPE, &json).expect("a request");
    let body = opened(added.concat());
    let read: wire::VoteAsked = message::body(&body).expect("what it knows");
    assert_eq!(VoteRequest::from(read), request);

    let mut later = message::request(ENVELOPE, &asked())
        .expect("a request")
        .concat();
    later[0] = 2;
    let refused = message::open(later.into()).expect_err("a later version");
    assert_eq!(
        refused.to_string(),
        "a message of version 2, which this release does not know"
    );
}
