//! Starts and stops this node's part in its set.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::asking::{address_of, ask, leader_of};
use super::bridge::Bridge;
use super::error::SetError;
use super::facts::Holds;
use super::group::Group;
use super::requests::Requests;
use super::set_node::{Node, SetNode};
use crate::clock;
use crate::cluster::link::{Identity, Links, Trust};
use crate::cluster::raft::{MemberInfo, Peers};
use crate::net::Listener;

/// Interval at which nodes ask each other how they are, and a leader completes changes of members.
const FACTS_EVERY: Duration = Duration::from_secs(1);
/// Interval at which a new node asks its peers.
const FORM_EVERY: Duration = Duration::from_millis(250);

/// How this node takes part in its set.
#[derive(Clone, Debug)]
pub struct SetOptions {
    pub name: String,
    /// Where other nodes reach this one, `HOST:PORT`.
    pub address: String,
    /// The other members of a new set with their addresses.
    pub peers: Vec<(String, String)>,
    pub trust: Trust,
    /// This node's id, from its data directory.
    pub id: u64,
    /// The set that it belongs to; `None` for a new node.
    pub set: Option<u64>,
    /// What it has without a set.
    pub holds: Holds,
    pub beginning: Beginning,
}

/// What a node without a set does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// It forms a set with its peers, or by itself.
    Forms,
    /// It waits until it has joined one.
    Joins,
    /// Its files were damaged: it becomes a member again.
    JoinsAgain,
}

/// This node's part in its set, while it runs. Dropping it cuts the links.
pub struct RunningSet {
    set: Arc<SetNode>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl RunningSet {
    /// Opens the links and takes part in the group that `join` begins. A new node forms its set in the background.
    pub async fn start<F>(
        options: SetOptions,
        listener: Listener,
        node: Arc<dyn Node>,
        join: impl FnOnce(MemberInfo, Arc<dyn Peers>) -> F,
    ) -> Result<RunningSet, SetError>
    where
        F: Future<Output = Result<Arc<dyn Group>, SetError>>,
    {
        let identity = Identity {
            node: options.id,
            name: options.name.clone(),
            set: options.set,
        };
        let links = Links::new(identity, options.trust, Arc::new(clock::System));
        let links = Arc::new(links);
        let this = MemberInfo {
            id: options.id,
            name: options.name,
            address: options.address,
        };
        let group = join(this, Arc::new(Bridge(Arc::clone(&links)))).await?;
        let (peers, own) = (options.peers, options.holds);
        let set = SetNode::new(peers, group, Arc::clone(&links), node, own);
        let set = Arc::new(set);
        let (stop, stopped) = watch::channel(false);
        let service = Arc::new(Requests(Arc::downgrade(&set)));
        let mut tasks = JoinSet::new();
        tasks.spawn(links.serve(listener, service, stopped));
        tasks.spawn(form(Arc::downgrade(&set), options.beginning));
        let this = Arc::downgrade(&set);
        tasks.spawn(each_second(this.clone(), |set| async move {
            set.ask_members().await
        }));
        // By itself: a change may wait for members that are gone.
        tasks.spawn(each_second(this, |set| async move {
            set.complete_change().await
        }));
        Ok(RunningSet { set, stop, tasks })
    }

    pub fn set(&self) -> &Arc<SetNode> {
        &self.set
    }

    /// Finds that the set of `target` has a leader and would speak with this node, before it gives its own up.
    pub async fn probe(
        name: &str,
        trust: Trust,
        peers: &[(String, String)],
        target: &str,
    ) -> Result<(), SetError> {
        let stranger = Identity {
            node: rand::random(),
            name: name.to_owned(),
            set: None,
        };
        let links = Links::new(stranger, trust, Arc::new(clock::System));
        let facts = ask(&links, &address_of(peers, target)?).await?;
        leader_of(target, facts)?;
        Ok(())
    }

    /// The leader of the set, or of any set if that is not known, as one of its peers knows it. It is another node.
    pub async fn leader_of_peers(
        name: &str,
        trust: Trust,
        peers: &[(String, String)],
        set: Option<u64>,
    ) -> Option<String> {
        let stranger = Identity {
            node: rand::random(),
            name: name.to_owned(),
            set: None,
        };
        let links = Links::new(stranger, trust, Arc::new(clock::System));
        for (_, address) in peers {
            let Ok(facts) = ask(&links, address).await else {
                continue;
            };
            let is_same = facts.set.is_some() && (set.is_none() || facts.set == set);
            let leader = facts.leader.filter(|leader| is_same && leader.name != name);
            if let Some(leader) = leader {
                return Some(leader.name);
            }
        }
        None
    }

    /// Leaves the links and the group. The set goes on without this node.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.tasks.shutdown().await;
        self.set.group().stop().await;
    }
}

/// Forms the set of a new node, or waits until it has one.
async fn form(set: Weak<SetNode>, beginning: Beginning) {
    let mut ticks = interval(FORM_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(set) = set.upgrade() else {
            return;
        };
        let has_set = set.has_set();
        match beginning {
            Beginning::JoinsAgain => {
                if set.join_again().await {
                    set.has_set();
                    return;
                }
            }
            Beginning::Forms | Beginning::Joins if has_set => return,
            Beginning::Forms => set.try_to_form().await,
            Beginning::Joins => {}
        }
    }
}

async fn each_second<F: Future<Output = ()>>(set: Weak<SetNode>, act: impl Fn(Arc<SetNode>) -> F) {
    let mut ticks = interval(FACTS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(set) = set.upgrade() else {
            return;
        };
        act(set).await;
    }
}
