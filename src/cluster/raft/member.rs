//! This node's part in the Raft group.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::alias::{InstantOf, SnapshotOf, VoteOf};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::Fatal;
use openraft::raft::{TransferLeaderRequest, VoteRequest};
use openraft::type_config::TypeConfigExt;
use openraft::{
    ChangeMembers, Config, Instant, Membership, Raft, RaftMetrics, ServerState, SnapshotPolicy,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::log::{Durability, LogStore};
use super::machine::{Image, Machine};
use super::message::{self, Envelope, MessageError, SnapshotHead, kind};
use super::network::Network;
use super::peers::{PeerStream, Peers};
use super::purge::{KeptLog, LiveMember, LogBounds, purge_upto};
use super::replicated::Replicated;
use super::sending::Sendings;
use super::set_id::{AnotherSet, SetId};
use super::standing::{
    ClusterStatus, Evidence, Leadership, Leaderships, MemberInfo, MemberRole, MemberStatus,
    Standing, standing_of,
};
use super::succession::{Question, Succession};
use super::tracker::Proposals;
use super::transfer;
use super::types::{Changes, Group, Members, NodeFacts, entry_id, log_id, members_of, store_index};
use crate::store::{EntryId, FjallStore, Journal, Proposal, Replica, Store, StoreError};

/// How long a member that is added may take to get everything the set has.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(3600);
/// Entries that a new member may lack when it gets its vote: the set waits for them then.
const LAG_MAX: u64 = 256;
/// Interval of the looks whether the log has grown beyond its bounds.
const LOG_LOOK: Duration = Duration::from_secs(1);
/// A member that was heard within this time counts as live.
const LIVE_WITHIN: Duration = Duration::from_secs(10);
/// How long a handover may take.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);
/// A leader whose disk syncs nothing for this long hands over.
const STALL_MAX: Duration = Duration::from_secs(2);
/// How long members elect no other leader after they have heard theirs: longer than the election timeout, in which the
/// leader serves without an answer, by more than it takes to notice.
const LEASE_PERCENT: u64 = 130;
/// Pause before a member that has failed starts again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// How a member runs.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// This node. Its id is the one in its data directory.
    pub this: MemberInfo,
    pub heartbeat: Duration,
    /// A leader serves for this time without an answer of a majority. The others elect another one after about twice of
    /// it.
    pub election_timeout: Duration,
    /// Bytes of the log that are kept for others; `None` for what suits the disk.
    pub keep_log_bytes: Option<u64>,
}

/// Why a member does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Raft(String),
    #[error("this node belongs to a cluster already")]
    Formed,
    #[error("this node belongs to no cluster")]
    Unformed,
    #[error(
        "its data directory is that of leveret@{was}, a member of a set, and this node is called leveret@{is}: start it \
         with --node-name {was}, or with another data directory"
    )]
    Renamed { was: String, is: String },
    #[error(
        "the other members of its set reach this node at {was}, and it is at {is} now: give it that address again, or let the \
         others forget it and let it join with another data directory"
    )]
    Moved { was: String, is: String },
    #[error("{0} is a member already")]
    Known(String),
    #[error("no member has the id {0}")]
    Unknown(u64),
    #[error("leveret@{0} has not got everything from this leader: try again")]
    NotCaughtUp(String),
    #[error("no other member answers to which this node could hand over")]
    Alone,
    #[error("{0} does not answer, and cannot take over")]
    Unheard(String),
    #[error("no other node has taken over in time")]
    NotTransferred,
}

/// This node does not lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this node does not lead its cluster")]
pub struct NotLeading;

type Core = Raft<Group, Machine<FjallStore>>;
type Moment = InstantOf<Group>;

/// This node's part in the Raft group of its set.
pub struct Member {
    options: MemberOptions,
    store: Arc<FjallStore>,
    peers: Arc<dyn Peers>,
    set: Arc<SetId>,
    running: Mutex<Option<Running>>,
    standing: watch::Sender<Standing>,
    /// When the leader was heard last, and which it is.
    heard: Mutex<Option<(u64, Moment)>>,
    /// When this node led as the only voter last, and in which term. It was a majority then, and the first other voters
    /// have heard it since.
    alone: Mutex<Option<(u64, Moment)>>,
    /// The leaderships of this node.
    leaderships: Mutex<Leaderships>,
    /// The leadership that a broker uses, and what was proposed in it.
    used: Mutex<Option<(Leadership, Arc<Proposals>)>>,
    elections: AtomicU64,
    /// How often Raft was started.
    starts: AtomicU64,
    stopped: watch::Sender<bool>,
    /// The files of this node are damaged, and other members have everything.
    broken: watch::Sender<bool>,
    /// Whether the set has other voters.
    has_others: AtomicBool,
    /// One change of members at a time.
    changes: tokio::sync::Mutex<()>,
    sendings: Arc<Sendings>,
    /// One snapshot is received at a time.
    receiving: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Running {
    /// Tells it from earlier ones.
    number: u64,
    raft: Core,
    durability: Arc<Durability<FjallStore>>,
}

fn raft_error(error: impl std::fmt::Display) -> MemberError {
    MemberError::Raft(error.to_string())
}

impl Member {
    /// Starts the member over the store of its data directory.
    pub async fn start(
        options: MemberOptions,
        store: Arc<FjallStore>,
        peers: Arc<dyn Peers>,
    ) -> Result<Arc<Member>, MemberError> {
        let identity = store.identity()?.ok_or(StoreError::Closed)?;
        let members = members_of(&store.replica_state()?).map_err(raft_error)?;
        let known = members.membership().get_node(&identity.node);
        if let Some(known) = known.filter(|known| known.name != options.this.name) {
            return Err(MemberError::Renamed {
                was: known.name.clone(),
                is: options.this.name,
            });
        }
        let is_alone = members.nodes().count() < 2;
        if let Some(known) =
            known.filter(|known| !is_alone && known.address != options.this.address)
        {
            return Err(MemberError::Moved {
                was: known.address.clone(),
                is: options.this.address,
            });
        }
        let set = Arc::new(SetId::new(identity.set));
        let member = Arc::new(Member {
            options: MemberOptions {
                this: MemberInfo {
                    id: identity.node,
                    ..options.this
                },
                ..options
            },
            store,
            peers,
            set,
            running: Mutex::default(),
            standing: watch::Sender::new(Standing::NoMajority),
            heard: Mutex::default(),
            alone: Mutex::default(),
            leaderships: Mutex::default(),
            used: Mutex::default(),
            elections: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            stopped: watch::Sender::new(false),
            broken: watch::Sender::new(false),
            has_others: AtomicBool::new(false),
            changes: tokio::sync::Mutex::default(),
            sendings: Arc::default(),
            receiving: tokio::sync::Mutex::default(),
        });
        member.run().await?;
        tokio::spawn(Arc::clone(&member).watch());
        Ok(member)
    }

    async fn run(&self) -> Result<(), MemberError> {
        let log = LogStore::open(self.store.clone(), self.options.this.id)?;
        let durability = Arc::new(log.durability());
        let machine = Machine::new(self.store.clone(), log.durability());
        let network = Network {
            peers: self.peers.clone(),
            me: self.options.this.id,
            set: self.set.clone(),
            sendings: self.sendings.clone(),
            replica: PhantomData,
            unanswered: Arc::default(),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "leveret".to_owned(),
            heartbeat_interval: millis(self.options.heartbeat),
            // Raft takes the upper end as the lease of a leader, too, and lets the time of an election pass after it.
            election_timeout_min: millis(self.options.election_timeout) * 4 / 5,
            election_timeout_max: millis(self.options.election_timeout) * LEASE_PERCENT / 100,
            enable_pre_vote: Some(true),
            enable_leader_restore: Some(false),
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            backoff: "50ms 100ms 200ms ...1s".to_owned(),
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(raft_error)?);
        let raft = Raft::new(self.options.this.id, config, network, log, machine).await;
        let raft = raft.map_err(raft_error)?;
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        *self.running.lock() = Some(Running {
            number,
            raft,
            durability,
        });
        Ok(())
    }

    fn running(&self) -> Result<Running, MemberError> {
        let running = self.running.lock().clone();
        running
            .ok_or_else(|| MemberError::Raft("this node has failed, and starts again".to_owned()))
    }

    /// This node, with the id of its data directory.
    pub fn this(&self) -> &MemberInfo {
        &self.options.this
    }

    /// Who leads, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// True once the files of this node turn out to be damaged. It takes no part any more then.
    pub fn broken(&self) -> watch::Receiver<bool> {
        self.broken.subscribe()
    }

    /// Begins a set with these members, of which this node is one. What a broker that ran alone has left here is what
    /// the set begins with; then the others are added.
    pub async fn form(&self, members: Vec<MemberInfo>) -> Result<(), MemberError> {
        let change = self.changes.lock().await;
        let state = self.store.replica_state()?;
        let raft = self.running()?.raft;
        let has_members = raft.with_raft_state(|state| {
            let members = state.membership_state.effective();
            members.nodes().next().is_some()
        });
        if state.members.is_some() || has_members.await.map_err(raft_error)? {
            return Err(MemberError::Formed);
        }
        let set = rand::random::<u64>().max(1);
        self.store.note_set(set)?;
        self.set.put(set);
        if state.last.index == 0 {
            let nodes: BTreeMap<u64, NodeFacts> = members
                .iter()
                .map(|member| (member.id, NodeFacts::of(member)))
                .collect();
            return raft.initialize(nodes).await.map_err(raft_error);
        }
        let me = &self.options.this;
        self.shut_down().await;
        self.store.begin_set(&sole_member(me, state.applied)?)?;
        self.run().await?;
        drop(change);
        self.until_leading().await?;
        for member in members {
            if member.id != me.id {
                self.add(member).await?;
            }
        }
        Ok(())
    }

    /// Goes on as the only member, in a new set, with everything that this node has. All of its log counts as committed,
    /// since a majority may have had it.
    pub async fn stand_alone(&self) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        if self.set.get().is_none() {
            return Err(MemberError::Unformed);
        }
        self.shut_down().await;
        let set = rand::random::<u64>().max(1);
        let (store, me) = (self.store.clone(), self.options.this.clone());
        let begun = tokio::task::spawn_blocking(move || give_up_others(&store, &me, set));
        let begun = begun.await.map_err(raft_error).flatten();
        if begun.is_ok() {
            self.set.put(set);
        }
        // Without a new set it goes on in the old one.
        self.run().await?;
        begun
    }

    async fn until_leading(&self) -> Result<(), MemberError> {
        let mut standing = self.standing();
        let leads = standing.wait_for(|standing| matches!(standing, Standing::Leads(_)));
        let leads = tokio::time::timeout(CATCH_UP_WITHIN, leads).await;
        leads.map_err(raft_error)?.map_err(raft_error)?;
        Ok(())
    }

    /// The store on which the leader runs the broker, when everything that was proposed before is applied to it. It
    /// takes nothing any more once the leadership is lost.
    pub async fn lead(&self) -> Result<Arc<dyn Store>, NotLeading> {
        let raft = self.running().map_err(|_| NotLeading)?.raft;
        let mut standing = self.standing();
        let Standing::Leads(leadership) = *standing.borrow_and_update() else {
            return Err(NotLeading);
        };
        let own = loop {
            // An entry of its own, behind all that an earlier broker of the same term may have proposed.
            let barrier = raft.client_write(Changes(Proposal::default()));
            tokio::select! {
                applied = barrier => if let Ok(applied) = applied {
                    break *applied.log_id();
                },
                _ = standing.changed() => return Err(NotLeading),
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.heartbeat) => {}
                _ = standing.changed() => return Err(NotLeading),
            }
        };
        if leader_term(&own) != leadership.term {
            return Err(NotLeading);
        }
        let proposals = Arc::new(Proposals::default());
        let before = self.used.lock().replace((leadership, proposals.clone()));
        if let Some((_, before)) = before {
            before.lose();
        }
        self.end_others(&self.standing.borrow());
        Ok(Arc::new(Replicated::new(
            self.store.clone(),
            raft,
            own,
            proposals,
            Handle::current(),
        )))
    }

    /// Adds a node. It has what the set has, and votes, when this returns.
    pub async fn add(&self, new: MemberInfo) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        let raft = self.running()?.raft;
        let members = raft.metrics().borrow_watched().membership_config.clone();
        let clash = members.nodes().find(|(id, node)| {
            let (id, is_voter) = (**id, members.voter_ids().any(|voter| voter == **id));
            match id == new.id {
                true => is_voter || **node != NodeFacts::of(&new),
                false => node.name == new.name || node.address == new.address,
            }
        });
        if let Some((_, node)) = clash {
            return Err(MemberError::Known(node.name.clone()));
        }
        let learner = raft.add_learner(new.id, NodeFacts::of(&new), false).await;
        learner.map_err(raft_error)?;
        let caught_up = self.until_caught_up(&raft, &new);
        let caught_up = tokio::time::timeout(CATCH_UP_WITHIN, caught_up).await;
        caught_up.map_err(raft_error)??;
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([new.id]));
        raft.change_membership(change, true)
            .await
            .map_err(raft_error)?;
        Ok(())
    }

    /// As the leader: completes a change of members between whose two steps an earlier leader was lost.
    pub async fn complete_change(&self) -> Result<(), MemberError> {
        // One that is under way here completes itself.
        let Ok(_change) = self.changes.try_lock() else {
            return Ok(());
        };
        let raft = self.running()?.raft;
        let members = raft.metrics().borrow_watched().membership_config.clone();
        if members.membership().get_joint_config().len() < 2 {
            return Ok(());
        }
        info!("an earlier change of members is completed");
        let no_voters = ChangeMembers::AddVoterIds(BTreeSet::new());
        raft.change_membership(no_voters, true)
            .await
            .map_err(raft_error)?;
        Ok(())
    }

    /// Waits until a member lacks so little that the set can wait for it.
    async fn until_caught_up(&self, raft: &Core, new: &MemberInfo) -> Result<(), MemberError> {
        let mut changes = raft.metrics();
        loop {
            {
                let metrics = changes.borrow_watched();
                let Some(all) = &metrics.replication else {
                    return Err(MemberError::NotCaughtUp(new.name.clone()));
                };
                let last = metrics.last_log_index.unwrap_or(0);
                let matched = all.get(&new.id).and_then(Option::as_ref);
                if matched.is_some_and(|matched| last.saturating_sub(matched.index()) <= LAG_MAX) {
                    return Ok(());
                }
            }
            changes.changed().await.map_err(raft_error)?;
        }
    }

    /// Removes a member for good.
    pub async fn remove(&self, id: u64) -> Result<(), MemberError> {
        let _change = self.changes.lock().await;
        let raft = self.running()?.raft;
        let members = raft.metrics().borrow_watched().membership_config.clone();
        let ids = BTreeSet::from([id]);
        let change = if members.voter_ids().any(|voter| voter == id) {
            ChangeMembers::RemoveVoters(ids)
        } else if members.nodes().any(|(known, _)| *known == id) {
            ChangeMembers::RemoveNodes(ids)
        } else {
            return Err(MemberError::Unknown(id));
        };
        raft.change_membership(change, false)
            .await
            .map_err(raft_error)?;
        Ok(())
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
        let follows = tokio::time::timeout(TRANSFER_WITHIN, follows).await;
        follows.map_err(|_| MemberError::NotTransferred)
    }

    /// Ceases to serve, and asks another member to lead: this one, or the one that has most. Returns the term that ends
    /// so, or `None` if this node is to lead and does.
    async fn ask_to_lead(&self, raft: &Core, to: Option<u64>) -> Result<Option<u64>, MemberError> {
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

    /// The voter that takes over: `to`, or the one that has most. It must have answered lately.
    fn successor(&self, metrics: &RaftMetrics<Group>, to: Option<u64>) -> Result<u64, MemberError> {
        let me = self.options.this.id;
        let members = &metrics.membership_config;
        let voters: BTreeSet<u64> = members.voter_ids().filter(|id| *id != me).collect();
        let answers = |id: &u64| {
            let answered = metrics.heartbeat.as_ref().and_then(|all| *all.get(id)?);
            answered.is_some_and(|at| at.elapsed() < self.options.election_timeout)
        };
        let matched = |id: &u64| metrics.replication.as_ref().and_then(|all| *all.get(id)?);
        match to {
            Some(to) if !voters.contains(&to) => Err(MemberError::Unknown(to)),
            Some(to) if !answers(&to) => {
                let node = members.membership().get_node(&to);
                let name = node.map_or_else(|| to.to_string(), |node| node.name.clone());
                Err(MemberError::Unheard(name))
            }
            Some(to) => Ok(to),
            None => {
                let live = voters.into_iter().filter(answers);
                live.max_by_key(matched).ok_or(MemberError::Alone)
            }
        }
    }

    /// The set as this node knows it.
    pub fn status(&self) -> ClusterStatus {
        let state = self.store.replica_state().unwrap_or_default();
        let mut status = ClusterStatus {
            this: self.options.this.clone(),
            set: self.set.get(),
            standing: self.standing.borrow().clone(),
            term: state.vote.term,
            last_index: Some(state.last.index),
            committed: Some(state.majority),
            applied: Some(state.applied.index),
            purged: Some(state.purged.index),
            elections: self.elections.load(Ordering::Relaxed),
            members: Vec::new(),
        };
        let Ok(running) = self.running() else {
            return status;
        };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        status.term = metrics.current_term;
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let heard = *self.heard.lock();
        for (id, node) in metrics.membership_config.nodes() {
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?);
            let answered = metrics.heartbeat.as_ref().and_then(|all| *all.get(id)?);
            let heard = heard.filter(|(leader, _)| leader == id);
            let unheard = match answered {
                Some(at) => Some(at.elapsed()),
                None => heard.map(|(_, at)| at.elapsed()),
            };
            status.members.push(MemberStatus {
                member: node.member(*id),
                role: match voters.contains(id) {
                    true => MemberRole::Voter,
                    false => MemberRole::Learner,
                },
                matched: matched.map(|id| id.index() + 1),
                unheard: if *id == self.options.this.id {
                    None
                } else {
                    unheard
                },
            });
        }
        status
    }

    /// Answers a call of another member.
    pub async fn handle(&self, kind: u8, request: Bytes) -> Bytes {
        message::answer(self.try_handle(kind, request).await)
    }

    async fn try_handle(&self, kind: u8, request: Bytes) -> Result<Vec<u8>, MessageError> {
        let (envelope, body) = message::open(request)?;
        self.check(envelope)?;
        let refused = |error: String| MessageError::Refused(error);
        let raft = self.running().map_err(|e| refused(e.to_string()))?.raft;
        let fatal = |error: &dyn std::fmt::Display| MessageError::Refused(error.to_string());
        Ok(match kind {
            kind::APPEND => {
                let append = message::append_body(body)?;
                let vote = append.vote;
                let answer = raft.append_entries(append).await.map_err(|e| fatal(&e))?;
                self.hear(&vote, &answer);
                serde_json::to_vec(&answer)?
            }
            kind::VOTE => {
                let vote: VoteRequest<Group> = message::body(&body)?;
                serde_json::to_vec(&raft.vote(vote).await.map_err(|e| fatal(&e))?)?
            }
            kind::PRE_VOTE => {
                let vote: VoteRequest<Group> = message::body(&body)?;
                serde_json::to_vec(&raft.pre_vote(vote).await.map_err(|e| fatal(&e))?)?
            }
            kind::TRANSFER => {
                let transfer: TransferLeaderRequest<Group> = message::body(&body)?;
                let outcome = raft.handle_transfer_leader(transfer).await;
                serde_json::to_vec(&outcome.map_err(|e| fatal(&e))?)?
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
    pub async fn receive(&self, header: Bytes, mut stream: Box<dyn PeerStream>) {
        let outcome = self.receive_snapshot(header, &mut *stream).await;
        if let Err(failure) = &outcome {
            info!(%failure, "a snapshot was not received");
        }
        // Who has sent it may be gone.
        drop(transfer::answer(&mut *stream, &message::answer(outcome)).await);
    }

    async fn receive_snapshot(
        &self,
        header: Bytes,
        stream: &mut dyn PeerStream,
    ) -> Result<Vec<u8>, MessageError> {
        let refused = |error: &dyn std::fmt::Display| MessageError::Refused(error.to_string());
        let (envelope, body) = message::open(header)?;
        self.check(envelope)?;
        let SnapshotHead { vote, meta } = message::body(&body)?;
        let last = meta.last_log_id.ok_or(MessageError::Malformed)?;
        let Ok(_receiving) = self.receiving.try_lock() else {
            return Err(refused(&"this node receives another snapshot"));
        };
        let number = self.running().map_err(|e| refused(&e))?.number;
        let incoming = self.store.receive_snapshot().map_err(|e| refused(&e))?;
        let received = transfer::receive(stream, incoming, entry_id(&last)).await;
        let received = received.map_err(|e: io::Error| refused(&e))?;
        let running = self.running().map_err(|e| refused(&e))?;
        if running.number != number {
            return Err(refused(&"this node has started again meanwhile"));
        }
        let snapshot = SnapshotOf::<Group, Image<FjallStore>> {
            meta,
            snapshot: Image::Received(received),
        };
        let installed = running.raft.install_full_snapshot(vote, snapshot).await;
        Ok(serde_json::to_vec(&installed.map_err(|e| refused(&e))?)?)
    }

    /// The links of a member have ended: takes over from it if it led and its process is gone for certain.
    pub async fn succeed(&self, node: u64) {
        if let Ok(succession) = self.succession() {
            succession.succeed(node).await;
        }
    }

    fn succession(&self) -> Result<Succession<FjallStore>, MemberError> {
        let running = self.running()?;
        Ok(Succession {
            raft: running.raft,
            durability: running.durability,
            peers: Arc::clone(&self.peers),
            me: self.options.this.id,
            set: Arc::clone(&self.set),
        })
    }

    /// Refuses what is not meant for this node in its set. A node without a set takes the one of the first message.
    fn check(&self, envelope: Envelope) -> Result<(), MessageError> {
        let refused = |text: &str| Err(MessageError::Refused(text.to_owned()));
        if envelope.to != self.options.this.id {
            return refused("another node had this address: its data are not here");
        }
        match self.set.get() {
            Some(set) if set == envelope.set => Ok(()),
            Some(_) => refused("this node belongs to another cluster"),
            None if envelope.set == 0 => refused("this node belongs to no cluster yet"),
            None => {
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
    fn hear(&self, vote: &VoteOf<Group>, answer: &openraft::raft::AppendEntriesResponse<Group>) {
        if !matches!(answer, openraft::raft::AppendEntriesResponse::HigherVote(_)) {
            let leader = vote.leader_id().voted_for;
            *self.heard.lock() = Some((leader, Group::now()));
        }
    }

    /// Takes no part any more.
    pub async fn stop(&self) {
        self.stopped.send_replace(true);
        self.shut_down().await;
        self.stand(Standing::NoMajority);
    }

    async fn shut_down(&self) {
        let running = self.running.lock().take();
        Member::end(running).await;
    }

    /// As [`Member::shut_down`], unless another one runs already.
    async fn shut_down_only(&self, number: u64) {
        let running = {
            let mut running = self.running.lock();
            let is_same = running.as_ref().is_some_and(|it| it.number == number);
            if is_same { running.take() } else { None }
        };
        Member::end(running).await;
    }

    async fn end(running: Option<Running>) {
        let Some(running) = running else {
            return;
        };
        if let Err(failure) = running.raft.shutdown().await {
            warn!(%failure, "the member did not end as it should");
        }
        // What it has not written yet must not come after what the next one writes.
        running.durability.wait_over().await;
    }

    /// Keeps the standing up to date, and starts the member again when it has failed.
    async fn watch(self: Arc<Member>) {
        let mut stopped = self.stopped.subscribe();
        while !*stopped.borrow_and_update() {
            let running = self.running.lock().clone();
            match running {
                Some(running) => self.follow(&running, &mut stopped).await,
                None => self.restart(&mut stopped).await,
            }
        }
    }

    /// Follows Raft's metrics until it ends. They change with each entry, so once it is known who leads only changes of
    /// that count, and time.
    async fn follow(&self, running: &Running, stopped: &mut watch::Receiver<bool>) {
        let mut changes = running.raft.metrics();
        let mut roles = running.raft.server_metrics();
        let mut stall = Stall::default();
        let mut looked = Group::now();
        loop {
            let role = roles.borrow_and_update().clone();
            let metrics = changes.borrow_and_update().clone();
            if let Err(failure) = &metrics.running_state {
                if !matches!(failure, Fatal::Stopped) {
                    error!(%failure, "this node takes no part in the cluster until its store works again");
                }
                self.stand(Standing::NoMajority);
                self.shut_down_only(running.number).await;
                if let Some(damage) = running.durability.damage() {
                    self.break_down(&damage);
                }
                return;
            }
            let others = metrics.membership_config.voter_ids();
            let others = others.filter(|id| *id != self.options.this.id).count();
            self.has_others.store(others > 0, Ordering::Relaxed);
            self.stand(self.judge(&metrics));
            self.look_at_disk(&mut stall, running).await;
            if looked.elapsed() >= LOG_LOOK {
                looked = Group::now();
                if let Some(damage) = self.sendings.take_damage() {
                    self.break_down(&damage);
                }
                self.look_at_log(&running.raft, &metrics).await;
            }
            let is_whole = (metrics.state, metrics.vote) == (role.state, role.vote);
            let is_settled = is_whole && !matches!(*self.standing.borrow(), Standing::NoMajority);
            let changed = async {
                match is_settled {
                    true => roles.changed().await,
                    false => changes.changed().await,
                }
            };
            tokio::select! {
                changed = changed => if changed.is_err() {
                    self.stand(Standing::NoMajority);
                    self.shut_down_only(running.number).await;
                    return;
                },
                () = tokio::time::sleep(self.options.heartbeat) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    /// Starts the member again after a pause, unless a change of members does so.
    async fn restart(&self, stopped: &mut watch::Receiver<bool>) {
        self.stand(Standing::NoMajority);
        tokio::select! {
            () = tokio::time::sleep(RESTART_AFTER) => {}
            _ = stopped.changed() => return,
        }
        let Ok(_change) = self.changes.try_lock() else {
            return;
        };
        if self.running.lock().is_some() || *self.broken.borrow() {
            return;
        }
        let store = self.store.clone();
        let reopened = tokio::task::spawn_blocking(move || store.reopen()).await;
        let restarted = match reopened {
            Ok(Ok(())) => self.run().await.map_err(|e| e.to_string()),
            Ok(Err(failure)) => {
                if failure.is_damage() {
                    self.break_down(&failure.damage());
                }
                Err(failure.to_string())
            }
            Err(failure) => Err(failure.to_string()),
        };
        match restarted {
            Ok(()) => info!("this node takes part in the cluster again"),
            Err(failure) => warn!(failure, "this node cannot take part in the cluster yet"),
        }
    }

    /// Says that the files are damaged, if other members have what is in them.
    fn break_down(&self, damage: &str) {
        if self.has_others.load(Ordering::Relaxed) {
            error!(damage, "the files of this node are damaged");
            self.broken.send_replace(true);
        }
    }

    fn judge(&self, metrics: &RaftMetrics<Group>) -> Standing {
        let heard = *self.heard.lock();
        let leader = metrics.current_leader.and_then(|leader| {
            let node = metrics.membership_config.membership().get_node(&leader)?;
            Some(node.member(leader))
        });
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let is_alone = voters == [self.options.this.id];
        let unheard = match metrics.state {
            ServerState::Leader if is_alone => {
                *self.alone.lock() = Some((metrics.current_term, Group::now()));
                Some(Duration::ZERO)
            }
            ServerState::Leader => {
                let acked = metrics.last_quorum_acked.map(|at| at.elapsed());
                let alone = self.alone.lock().filter(|it| it.0 == metrics.current_term);
                acked
                    .into_iter()
                    .chain(alone.map(|it| it.1.elapsed()))
                    .min()
            }
            _ => heard
                .filter(|(id, _)| leader.as_ref().is_some_and(|leader| leader.id == *id))
                .map(|(_, at)| at.elapsed()),
        };
        let evidence = Evidence {
            leads: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            leader,
            unheard,
        };
        let has_lost = self.used.lock().as_ref().is_some_and(|it| it.1.is_lost());
        let mut leaderships = self.leaderships.lock();
        if has_lost {
            leaderships.end();
        }
        standing_of(evidence, self.options.election_timeout, &mut leaderships)
    }

    fn stand(&self, new: Standing) {
        self.end_others(&new);
        self.standing.send_if_modified(|standing| {
            let is_new = *standing != new;
            let has_leader = !matches!(new, Standing::NoMajority);
            if is_new && has_leader {
                self.elections.fetch_add(1, Ordering::Relaxed);
            }
            if is_new {
                *standing = new;
            }
            is_new
        });
    }

    /// Ends the leadership that a broker uses, unless it is this one.
    fn end_others(&self, standing: &Standing) {
        let mut used = self.used.lock();
        let holds = match (&*used, standing) {
            (Some((leadership, _)), Standing::Leads(now)) => leadership == now,
            (None, _) => true,
            (Some(_), Standing::Follows { .. } | Standing::NoMajority) => false,
        };
        if !holds && let Some((_, proposals)) = used.take() {
            proposals.lose();
        }
    }

    /// Purges what the log has beyond its bounds.
    async fn look_at_log(&self, raft: &Core, metrics: &RaftMetrics<Group>) {
        let Ok(Some(upto)) = self.purge_due(metrics) else {
            return; // a store that has failed purges later
        };
        // Raft purges only what it knows to be in a snapshot. Building one costs nothing here.
        let purged = match store_index(metrics.snapshot.as_ref()) >= upto {
            true => raft.trigger().purge_log(upto - 1).await,
            false => raft.trigger().snapshot().await,
        };
        if let Err(failure) = purged {
            debug!(%failure, "the log is purged later");
        }
    }

    fn purge_due(&self, metrics: &RaftMetrics<Group>) -> Result<Option<u64>, StoreError> {
        let (_, kept) = self.store.kept_entries()?;
        let bounds = match self.options.keep_log_bytes {
            Some(keep_bytes) => LogBounds::keeping(keep_bytes),
            None => LogBounds::of_room(self.store.free_bytes().map(|free| free + kept)),
        };
        // Not for every entry.
        if kept <= bounds.keep_bytes + bounds.keep_bytes / 16 {
            return Ok(None);
        }
        let state = self.store.replica_state()?;
        let log = KeptLog {
            purged: state.purged.index,
            applied: state.applied.index,
            excess: self.store.excess_upto(bounds.keep_bytes)?,
            excess_for_live: self.store.excess_upto(bounds.keep_for_live_bytes)?,
        };
        Ok(purge_upto(log, &self.live_members(metrics)))
    }

    /// The other members that this leader hears; none if it does not lead.
    fn live_members(&self, metrics: &RaftMetrics<Group>) -> Vec<LiveMember> {
        let snapshots = self.sendings.entries();
        let heard = metrics.heartbeat.iter().flatten();
        let live = heard.filter(|(id, at)| {
            let is_heard = at.is_some_and(|at| at.elapsed() < LIVE_WITHIN);
            is_heard && **id != self.options.this.id
        });
        let members = live.map(|(id, _)| {
            let matched = metrics.replication.as_ref().and_then(|all| *all.get(id)?);
            LiveMember {
                matched: store_index(matched.as_ref()),
                snapshot: snapshots.get(id).copied(),
            }
        });
        members.collect()
    }

    /// Hands over when this leader's disk has stalled, if another member answers.
    async fn look_at_disk(&self, stall: &mut Stall, running: &Running) {
        let leads = matches!(*self.standing.borrow(), Standing::Leads(_));
        let is_due = stall.is_due(running.durability.progress(), Group::now());
        if leads && is_due {
            warn!("the disk of this leader has stalled: it hands over");
            if let Err(failure) = self.ask_to_lead(&running.raft, None).await {
                warn!(%failure, "cannot hand over");
            }
        }
    }
}

/// The record of members of a set that begins with this member alone, after this entry.
fn sole_member(me: &MemberInfo, applied: EntryId) -> Result<Vec<u8>, MemberError> {
    let nodes = BTreeMap::from([(me.id, NodeFacts::of(me))]);
    let alone = Membership::new(vec![BTreeSet::from([me.id])], nodes).map_err(raft_error)?;
    serde_json::to_vec(&Members::new(log_id(applied), alone)).map_err(raft_error)
}

/// Applies all that the log has, and makes this member the only one. A crash on the way leaves a node without a majority,
/// which the other members refuse.
fn give_up_others(store: &FjallStore, me: &MemberInfo, set: u64) -> Result<(), MemberError> {
    store.sync_log()?;
    let last = store.replica_state()?.last;
    store.note_majority(last);
    store.apply_entries(last.index)?;
    store.note_set(set)?;
    let applied = store.replica_state()?.applied;
    store.begin_set(&sole_member(me, applied)?)?;
    Ok(())
}

fn leader_term(id: &super::types::LogId) -> u64 {
    id.committed_leader_id().term
}

/// Watches whether the disk goes on.
#[derive(Default)]
struct Stall {
    /// What was durable, and since when nothing more is although more is written.
    since: Option<(u64, Moment)>,
}

impl Stall {
    /// Whether it has stalled for too long; then it counts anew. `progress` is what is durable, and whether more waits.
    fn is_due(&mut self, progress: (u64, bool), now: Moment) -> bool {
        let (durable, waits) = progress;
        match self.since {
            Some((before, since)) if waits && before == durable => {
                if now.saturating_duration_since(since) < STALL_MAX {
                    return false;
                }
                self.since = None;
                true
            }
            _ => {
                self.since = waits.then_some((durable, now));
                false
            }
        }
    }
}
