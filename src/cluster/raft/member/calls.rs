//! What other members ask of this one.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::RaftError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::type_config::TypeConfigExt;
use tokio::sync::oneshot;
use tracing::info;

use super::super::machine::Image;
use super::super::message::{self, Envelope, MessageError, kind};
use super::super::origin::Origin;
use super::super::peers::PeerStream;
use super::super::runtime::blocking;
use super::super::set_id::AnotherSet;
use super::super::snapshot_stream;
use super::super::succession::{Question, Succession};
use super::super::types::{Group, entry_id};
use super::super::wire;
use super::{Member, MemberError, Running};
use crate::store::{Journal, Replica};

impl<R: Replica> Running<R> {
    /// Answers a heartbeat, or a question what this member has. Raft would wait for the disk here, whatever is asked. But
    /// when this leader is followed, and what it asks for is durable, all is known that the answer says.
    async fn answer_without_entries(
        &self,
        append: AppendEntriesRequest<Group>,
    ) -> Result<AppendEntriesResponse<Group>, RaftError<Group>> {
        let (vote, previous) = (append.vote, append.prev_log_id);
        let mut answer = pin!(self.raft.append_entries(append));
        // Raft takes this up after the append, which has renewed the leader's lease by then. What it has decided to cut off
        // may be on disk still.
        let (tell, told) = oneshot::channel();
        let look = self.raft.external_request(move |state| {
            let has_previous = previous.is_none_or(|id| state.log_ids.get(id.index()) == Some(id));
            // The caller has gone if the answer was there first.
            let has_it = *state.vote_ref() == vote && has_previous;
            tell.send(has_it).unwrap_or_default();
        });
        let has_it = async { look.await.is_ok() && told.await.unwrap_or(false) };
        let has_it = tokio::select! {
            biased;
            answer = answer.as_mut() => return answer,
            has_it = has_it => vote.is_committed() && has_it,
        };
        match has_it && previous.is_none_or(|id| self.durability.has(&id)) {
            true => Ok(AppendEntriesResponse::Success),
            false => answer.await,
        }
    }

    /// What a candidate hears as long as this member abstains. One that was asked to take over need not wait.
    fn refusal_of(&self, request: &VoteRequest<Group>) -> Option<VoteResponse<Group>> {
        let abstains = self
            .abstention
            .is_some_and(|it| Group::now() < it.votes_from);
        if !abstains || request.leadership_transfer {
            return None;
        }
        let vote = self.raft.metrics().borrow_watched().vote;
        Some(VoteResponse::new(vote, self.durability.last(), false))
    }
}

impl<R: Replica + Journal> Member<R> {
    /// Answers a call of another member.
    pub async fn handle(&self, from: &Origin, kind: u8, request: Bytes) -> Bytes {
        message::answer(self.try_handle(from, kind, request).await)
    }

    async fn try_handle(
        &self,
        from: &Origin,
        kind: u8,
        request: Bytes,
    ) -> Result<Vec<u8>, MessageError> {
        let (envelope, body) = message::open(request)?;
        self.check(from, envelope)?;
        let refused = |error: String| MessageError::Refused(error);
        let running = self.running().map_err(|e| refused(e.to_string()))?;
        let raft = &running.raft;
        let fatal = |error: &dyn std::fmt::Display| MessageError::Refused(error.to_string());
        Ok(match kind {
            kind::APPEND => {
                let append = message::append_body(body)?;
                let vote = append.vote;
                let answer = match append.entries.is_empty() {
                    true => running.answer_without_entries(append).await,
                    false => raft.append_entries(append).await,
                };
                let answer = answer.map_err(|e| fatal(&e))?;
                self.hear(&vote, &answer);
                serde_json::to_vec(&wire::Appended::from(answer))?
            }
            kind::VOTE => {
                let vote = message::body::<wire::VoteAsked>(&body)?.into();
                let answer = match running.refusal_of(&vote) {
                    Some(refusal) => refusal,
                    None => raft.vote(vote).await.map_err(|e| fatal(&e))?,
                };
                serde_json::to_vec(&wire::Voted::from(answer))?
            }
            kind::PRE_VOTE => {
                let vote = message::body::<wire::VoteAsked>(&body)?.into();
                let answer = match running.refusal_of(&vote) {
                    Some(refusal) => refusal,
                    None => raft.pre_vote(vote).await.map_err(|e| fatal(&e))?,
                };
                serde_json::to_vec(&wire::Voted::from(answer))?
            }
            kind::TRANSFER => {
                let asked = message::body::<wire::HandoverAsked>(&body)?;
                let outcome = raft.handle_transfer_leader(asked.into()).await;
                let outcome = outcome.map_err(|e| fatal(&e))?;
                serde_json::to_vec(&wire::handover_answer(outcome))?
            }
            kind::LOOK => {
                let question: Question = message::body(&body)?;
                let succession = self.succession().map_err(|e| refused(e.to_string()))?;
                serde_json::to_vec(&succession.look(&question).await)?
            }
            other => return Err(refused(format!("no request of kind {other}"))),
        })
    }

    /// Takes a stream of another member: a snapshot.
    pub async fn receive(&self, from: &Origin, header: Bytes, mut stream: Box<dyn PeerStream>) {
        let outcome = self.receive_snapshot(from, header, &mut *stream).await;
        if let Err(failure) = &outcome {
            info!(%failure, "a snapshot was not received");
        }
        // Who has sent it may be gone.
        drop(snapshot_stream::answer(&mut *stream, &message::answer(outcome)).await);
    }

    async fn receive_snapshot(
        &self,
        from: &Origin,
        header: Bytes,
        stream: &mut dyn PeerStream,
    ) -> Result<Vec<u8>, MessageError> {
        let refused = |error: &dyn std::fmt::Display| MessageError::Refused(error.to_string());
        let (envelope, body) = message::open(header)?;
        self.check(from, envelope)?;
        let head: wire::SnapshotHead = message::body(&body)?;
        let (vote, meta) = head.open().map_err(|_| MessageError::Malformed)?;
        let last = meta.last_log_id.ok_or(MessageError::Malformed)?;
        let Ok(_receiving) = self.receiving.try_lock() else {
            return Err(refused(&"this node receives another snapshot"));
        };
        let number = self.running().map_err(|e| refused(&e))?.number;
        let store = self.store.clone();
        let incoming = blocking(move || store.receive_snapshot()).await;
        let incoming = incoming.map_err(|e| refused(&e))?;
        let incoming = incoming.map_err(|e| refused(&e))?;
        let received = snapshot_stream::receive(stream, incoming, entry_id(&last)).await;
        let received = received.map_err(|e: io::Error| refused(&e))?;
        let running = self.running().map_err(|e| refused(&e))?;
        if running.number != number {
            return Err(refused(&"this node has started again meanwhile"));
        }
        let snapshot = SnapshotOf::<Group, Image<R>> {
            meta,
            snapshot: Image::Received(received),
        };
        let installed = running.raft.install_full_snapshot(vote, snapshot).await;
        let taken = wire::SnapshotTaken::from(installed.map_err(|e| refused(&e))?);
        Ok(serde_json::to_vec(&taken)?)
    }

    /// The links of a member have ended: takes over from it if it led and its process is gone for certain.
    pub async fn succeed(&self, node: u64) {
        if let Ok(succession) = self.succession() {
            succession.succeed(node).await;
        }
    }

    fn succession(&self) -> Result<Succession<R>, MemberError> {
        let running = self.running()?;
        Ok(Succession {
            raft: running.raft,
            durability: running.durability,
            peers: Arc::clone(&self.peers),
            me: self.options.this.id,
            set: Arc::clone(&self.set),
        })
    }

    /// Refuses what is not meant for this node in its set. A node without a set takes the one of the first message, if
    /// it has nothing of its own: its entries would pass for those of the set.
    fn check(&self, from: &Origin, envelope: Envelope) -> Result<(), MessageError> {
        let refused = |text: &str| Err(MessageError::Refused(text.to_owned()));
        if envelope.to != self.options.this.id {
            return refused("another node had this address: its data are not here");
        }
        if let Ok(running) = self.running() {
            let metrics = running.raft.metrics();
            let metrics = metrics.borrow_watched();
            let known = metrics.membership_config.membership().get_node(&from.id);
            self.impostors.check(from, &envelope, known)?;
        }
        match self.set.get() {
            Some(set) if set == envelope.set => Ok(()),
            Some(_) => refused("this node belongs to another cluster"),
            None if envelope.set == 0 => refused("this node belongs to no cluster yet"),
            None => {
                let is_empty = self.store.is_empty();
                if !is_empty.map_err(|error| MessageError::Refused(error.to_string()))? {
                    return refused("this node has data of its own, and enters no other cluster");
                }
                let note = || self.store.note_set(envelope.set);
                match self.set.adopt(envelope.set, note) {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(AnotherSet)) => refused("this node belongs to another cluster"),
                    Err(error) => refused(&error.to_string()),
                }
            }
        }
    }

    /// Notes that a leader was heard.
    fn hear(&self, vote: &VoteOf<Group>, answer: &AppendEntriesResponse<Group>) {
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            let leader = vote.leader_id().voted_for;
            *self.heard.lock() = Some((leader, Group::now()));
        }
    }
}
