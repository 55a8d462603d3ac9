//! This node's part in the Raft group.

mod calls; // what other members ask
mod formation; // how a set begins
mod giving_way; // what a member does about damage of its own files
mod judging; // where this node stands
mod leadership; // the store of a leadership, and its handover
mod log_bounds; // keeps the log within its bounds
mod membership; // changes of members
mod status; // the set as this member knows it
mod upkeep; // keeps the member going

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use openraft::alias::InstantOf;
use openraft::type_config::TypeConfigExt;
use openraft::{Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;

use super::awake::Awake;
use super::hurt::Hurt;
use super::log::{Durability, LogStore};
use super::machine::Machine;
use super::network::Network;
use super::origin::Impostors;
use super::peers::Peers;
use super::records::members_of;
use super::sending::Sendings;
use super::set_id::SetId;
use super::standing::{Leadership, Leaderships, MemberInfo, Standing};
use super::tracker::Proposals;
use super::types::Group;
use crate::clock::{self, Mandate};
use crate::store::{FjallStore, Journal, Replica, StoreError, Vote};

pub use leadership::Led;

/// How long members elect no other leader after they have heard theirs: longer than the election timeout, in which the
/// leader serves without an answer, by more than it takes to notice.
const LEASE_PERCENT: u32 = 130;
/// Election timeouts for which this node waits for members that are gone.
const PATIENCE: u32 = 10;
/// Election timeouts for which what a leader cannot read waits for one that can. Handovers may fail for a while.
const HURT_WAITS: u32 = 100;
/// Election timeouts after which a member whose files are damaged lets itself be elected when it has started again: the
/// others lead better.
const HURT_ELECTS_AFTER: u32 = 5;
/// How long a member that is added may take to get everything the set has.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(3600);

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
    pub clocks: Arc<dyn clock::Source>,
}

/// Why a member does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Raft cannot read what it needs of the log.
    #[error("the data directory is damaged: {0}")]
    Damaged(String),
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
    #[error(
        "leveret@{0} does not answer: it gets its vote when it does and has everything. If it is gone for good, forget it \
         ('leveret ctl forget_cluster_node')"
    )]
    Silent(String),
    #[error(
        "this node does not lead its set any more, or hears no majority: see in 'leveret ctl cluster_status' what came of the \
         change of members, and try again"
    )]
    GivenUp,
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

type Core<R> = Raft<Group, Machine<R>>;
type Moment = InstantOf<Group>;

/// This node's part in the Raft group of its set.
pub struct Member<R: Replica = FjallStore> {
    options: MemberOptions,
    store: Arc<R>,
    peers: Arc<dyn Peers>,
    set: Arc<SetId>,
    running: Mutex<Option<Running<R>>>,
    standing: watch::Sender<Standing>,
    /// When the leader was heard last, and which it is.
    heard: Mutex<Option<(u64, Moment)>>,
    /// When this node led as the only voter last, and in which term. It was a majority then, and the first other voters
    /// have heard it since.
    alone: Mutex<Option<(u64, Moment)>>,
    /// The leaderships of this node.
    leaderships: Mutex<Leaderships>,
    /// The leadership that a broker uses.
    used: Mutex<Option<Used>>,
    /// Up to when this node may serve if it leads, in nanoseconds since the machine booted.
    serves_until_ns: AtomicU64,
    awake: Mutex<Awake>,
    elections: AtomicU64,
    /// How often Raft was started.
    starts: AtomicU64,
    stopped: watch::Sender<bool>,
    /// What is damaged in the files of this node, while other members have everything.
    broken: watch::Sender<Option<String>>,
    hurt: Arc<Hurt>,
    /// Whether the set has other voters.
    has_others: AtomicBool,
    /// One change of members at a time, or one start of Raft.
    changes: tokio::sync::Mutex<()>,
    /// A look at the bounds of the log is under way.
    looks_at_log: AtomicBool,
    sendings: Arc<Sendings>,
    impostors: Impostors,
    /// One snapshot is received at a time.
    receiving: tokio::sync::Mutex<()>,
}

/// What a broker has of its leadership.
struct Used {
    leadership: Leadership,
    proposals: Arc<Proposals>,
    mandate: Arc<Mandate>,
}

struct Running<R: Replica> {
    /// Tells it from earlier ones.
    number: u64,
    raft: Core<R>,
    durability: Arc<Durability<R>>,
    abstention: Option<Abstention>,
}

impl<R: Replica> Clone for Running<R> {
    fn clone(&self) -> Running<R> {
        Running {
            number: self.number,
            raft: self.raft.clone(),
            durability: Arc::clone(&self.durability),
            abstention: self.abstention,
        }
    }
}

/// A member that starts again does not know when it has heard its leader last, and that may count on it still.
#[derive(Clone, Copy)]
struct Abstention {
    votes_from: Moment,
    /// Differs among the members, so that they do not begin together.
    elects_from: Moment,
}

fn raft_error(error: impl std::fmt::Display) -> MemberError {
    MemberError::Raft(error.to_string())
}

impl<R: Replica + Journal> Member<R> {
    /// Starts the member over the store of its data directory.
    pub async fn start(
        options: MemberOptions,
        store: Arc<R>,
        peers: Arc<dyn Peers>,
    ) -> Result<Arc<Member<R>>, MemberError> {
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
        let hurt = Arc::new(Hurt::new(options.election_timeout * HURT_WAITS));
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
            serves_until_ns: AtomicU64::new(0),
            awake: Mutex::default(),
            elections: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            stopped: watch::Sender::new(false),
            broken: watch::Sender::new(None),
            hurt,
            has_others: AtomicBool::new(false),
            changes: tokio::sync::Mutex::default(),
            looks_at_log: AtomicBool::new(false),
            sendings: Arc::default(),
            impostors: Impostors::default(),
            receiving: tokio::sync::Mutex::default(),
        });
        member.run().await?;
        drop(Group::spawn(Arc::clone(&member).watch()));
        Ok(member)
    }

    async fn run(&self) -> Result<(), MemberError> {
        let log = LogStore::open(self.store.clone(), self.options.this.id)?;
        let durability = Arc::new(log.durability());
        let machine = Machine::new(self.store.clone(), log.durability(), self.hurt.clone());
        let network = Network {
            peers: self.peers.clone(),
            me: self.options.this.id,
            set: self.set.clone(),
            sendings: self.sendings.clone(),
            replica: PhantomData,
            unanswered: Arc::default(),
        };
        let abstention = self.abstention()?;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            cluster_name: "leveret".to_owned(),
            heartbeat_interval: millis(self.options.heartbeat),
            // Raft takes the upper end as the lease of a leader, too, and lets the time of an election pass after it.
            election_timeout_min: millis(self.options.election_timeout) * 4 / 5,
            election_timeout_max: millis(self.options.election_timeout) * u64::from(LEASE_PERCENT)
                / 100,
            enable_pre_vote: Some(true),
            enable_elect: abstention.is_none(),
            enable_leader_restore: Some(false),
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            backoff: "50ms 100ms 200ms ...1s".to_owned(),
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(raft_error)?);
        let raft = Raft::new(self.options.this.id, config, network, log, machine).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(failure) => {
                durability.wait_over().await;
                let damage = durability.damage();
                return Err(damage.map_or_else(|| raft_error(failure), MemberError::Damaged));
            }
        };
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        *self.running.lock() = Some(Running {
            number,
            raft,
            durability,
            abstention,
        });
        Ok(())
    }

    /// The abstention of a member that may have heard a leader in its last life.
    fn abstention(&self) -> Result<Option<Abstention>, MemberError> {
        let state = self.store.replica_state()?;
        let members = members_of(&state).map_err(raft_error)?;
        let me = self.options.this.id;
        // A set that was just formed has no record yet.
        let is_sole = members.voter_ids().eq([me]);
        if is_sole || state.vote == Vote::default() {
            return Ok(None);
        }
        let timeout = self.options.election_timeout;
        let lease = timeout * LEASE_PERCENT / 100;
        let votes_from = Group::now() + lease;
        let part = u32::try_from(me % 100).unwrap_or_default();
        let later = match self.hurt.damage() {
            Some(_) => timeout * HURT_ELECTS_AFTER,
            None => timeout * part / 200,
        };
        Ok(Some(Abstention {
            votes_from,
            elects_from: votes_from + later,
        }))
    }

    fn running(&self) -> Result<Running<R>, MemberError> {
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

    /// What is damaged, once the files of this node turn out to be. It takes no part any more then.
    pub fn broken(&self) -> watch::Receiver<Option<String>> {
        self.broken.subscribe()
    }

    /// Takes no part any more.
    pub async fn stop(&self) {
        self.stopped.send_replace(true);
        drop(self.shut_down_in_turn().await);
        self.stand(Standing::NoMajority);
    }

    /// As [`Member::shut_down`]. What held the turn is over: a change of members, which ends with Raft, or a start.
    async fn shut_down_in_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shut_down().await;
        let turn = self.changes.lock().await;
        self.shut_down().await;
        turn
    }

    async fn shut_down(&self) {
        let running = self.running.lock().take();
        Self::end(running).await;
    }

    /// As [`Member::shut_down`], unless another one runs already.
    async fn shut_down_only(&self, number: u64) {
        let running = {
            let mut running = self.running.lock();
            let is_same = running.as_ref().is_some_and(|it| it.number == number);
            if is_same { running.take() } else { None }
        };
        Self::end(running).await;
    }

    async fn end(running: Option<Running<R>>) {
        let Some(running) = running else {
            return;
        };
        if let Err(failure) = running.raft.shutdown().await {
            warn!(%failure, "the member did not end as it should");
        }
        // What it has not written yet must not come after what the next one writes.
        running.durability.wait_over().await;
    }
}
