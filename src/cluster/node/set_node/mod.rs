//! This node in its set: its member of the Raft group, its links, and what it knows of the other nodes.

mod changes; // who belongs to the set
mod handover; // of the leadership
mod joining; // how a new node becomes a member

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::asking::ask;
use super::bridge::peer;
use super::error::SetError;
use super::facts::{Facts, Holds};
use super::group::Group;
use super::overview::Overview;
use crate::clock::monotonic;
use crate::cluster::link::{Caller, Lane, LinkStream, Links};
use crate::cluster::raft::{ClusterStatus, Led, MemberInfo, Standing};

/// How long a change of members may take: a new one first gets what the set has.
const CHANGE_WITHIN: Duration = Duration::from_secs(3600);

/// What the process does for its set.
pub trait Node: Send + Sync + 'static {
    /// What operators see of this node, for the other nodes.
    fn report(&self) -> String;

    /// The members of the set have changed, as this node knows.
    fn note_members(&self, members: Vec<MemberInfo>);

    /// This node, which has begun anew, has everything that the set has.
    fn is_whole_again(&self);

    /// Takes a stream of another node that is not the group's own.
    fn take(&self, from: &Caller, kind: u8, header: Bytes, stream: LinkStream);
}

/// Where this node's part in its set is found, while it has one.
#[derive(Clone, Default)]
pub struct Current(Arc<RwLock<Weak<SetNode>>>);

impl Current {
    pub fn get(&self) -> Option<Arc<SetNode>> {
        self.0.read().upgrade()
    }

    pub fn set(&self, set: &Arc<SetNode>) {
        *self.0.write() = Arc::downgrade(set);
    }
}

/// This node in its set.
pub struct SetNode {
    peers: Vec<(String, String)>,
    group: Arc<dyn Group>,
    links: Arc<Links>,
    node: Arc<dyn Node>,
    /// What this node had before it was in a set.
    own: Holds,
    /// Whether it gives that up, since another node begins the set.
    gives_up: watch::Sender<bool>,
    /// The last facts of others and when they came, by id.
    heard: Mutex<HashMap<u64, (Facts, Instant)>>,
    /// The members that the process has noted.
    noted: Mutex<Vec<MemberInfo>>,
    /// What a new node waits for.
    waits_for: Mutex<Option<String>>,
    /// Since when this node asks the others.
    begun: Instant,
    /// When this node was first seen to lead, if it does.
    leads_since: Mutex<Option<Instant>>,
    /// One change of members at a time.
    changing: tokio::sync::Mutex<()>,
}

impl SetNode {
    pub(super) fn new(
        peers: Vec<(String, String)>,
        group: Arc<dyn Group>,
        links: Arc<Links>,
        node: Arc<dyn Node>,
        own: Holds,
    ) -> SetNode {
        SetNode {
            peers,
            group,
            links,
            node,
            own,
            gives_up: watch::Sender::new(false),
            heard: Mutex::default(),
            noted: Mutex::default(),
            waits_for: Mutex::default(),
            begun: monotonic(),
            leads_since: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    pub fn links(&self) -> &Arc<Links> {
        &self.links
    }

    pub(super) fn group(&self) -> &Arc<dyn Group> {
        &self.group
    }

    pub(super) fn node(&self) -> &Arc<dyn Node> {
        &self.node
    }

    /// Who leads, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.group.standing()
    }

    /// What is damaged, once the files of this node turn out to be.
    pub fn broken(&self) -> watch::Receiver<Option<String>> {
        self.group.broken()
    }

    /// Whether this node gives up what it had before it was in a set.
    pub fn gives_up(&self) -> watch::Receiver<bool> {
        self.gives_up.subscribe()
    }

    /// What this node has without a set.
    pub fn holds(&self) -> Holds {
        match self.group.status().members.is_empty() {
            true => self.own,
            false => Holds::Nothing,
        }
    }

    /// What this node runs the broker with; waits until all that was committed before is applied.
    pub async fn lead(&self) -> Result<Led, SetError> {
        Ok(self.group.lead().await?)
    }

    /// The set as this node sees it.
    pub fn overview(&self) -> Overview {
        let heard = self.heard.lock();
        let age = |id: u64| {
            let (facts, at) = heard.get(&id)?;
            Some((facts.clone(), at.elapsed()))
        };
        Overview::new(self.group.status(), self.waits_for.lock().clone(), age)
    }

    /// What this node says of itself.
    pub(super) fn facts(&self) -> Facts {
        let status = self.group.status();
        Facts {
            leader: leader(&status),
            // Without members the set was not formed: a crash came between.
            set: status.set.filter(|_| !status.members.is_empty()),
            members: status.members.iter().map(|known| known.member.id).collect(),
            this: status.this,
            report: self.node.report(),
            wall_ms: Some(self.links.wall_ms()),
            holds: Some(self.holds()),
        }
    }

    /// Opens a stream to the leader, which is another node.
    pub async fn open_to_leader(&self, kind: u8) -> Result<LinkStream, SetError> {
        let leader = self.leader()?.ok_or_else(|| {
            SetError::Refused("this node leads its set and begins to serve: try again".to_owned())
        })?;
        Ok(self.links.open(&peer(&leader), kind, Bytes::new()).await?)
    }

    /// The leader, unless this node leads.
    fn leader(&self) -> Result<Option<MemberInfo>, SetError> {
        match self.group.status().standing {
            Standing::Leads(_) => Ok(None),
            Standing::Follows { leader, .. } => Ok(Some(leader)),
            Standing::NoMajority => {
                let advice = self.overview().advice();
                let advice = advice.unwrap_or_else(|| "the set has no leader now".to_owned());
                Err(SetError::Refused(advice))
            }
        }
    }

    async fn ask_leader(
        &self,
        leader: &MemberInfo,
        kind: u8,
        request: &str,
        within: Duration,
    ) -> Result<(), SetError> {
        let request = vec![Bytes::copy_from_slice(request.as_bytes())];
        let to = peer(leader);
        self.links
            .call(&to, Lane::Control, kind, request, within)
            .await?;
        Ok(())
    }

    /// Whether this node belongs to a set; its links speak for it then.
    pub(super) fn has_set(&self) -> bool {
        let status = self.group.status();
        let set = status.set.filter(|_| !status.members.is_empty());
        if let Some(set) = set {
            self.links.belong_to(set);
            self.wait_for(None);
        }
        set.is_some()
    }

    /// Shows what a new node waits for, and logs it when it changes.
    fn wait_for(&self, why: Option<String>) {
        let mut waits_for = self.waits_for.lock();
        if let Some(why) = why.as_ref().filter(|_| *waits_for != why) {
            warn!("this node has no set yet: {why}");
        }
        *waits_for = why;
    }

    fn note_members(&self, status: &ClusterStatus) {
        let members = status.members.iter().map(|known| known.member.clone());
        let members: Vec<MemberInfo> = members.collect();
        let mut noted = self.noted.lock();
        if !members.is_empty() && *noted != members {
            noted.clone_from(&members);
            self.node.note_members(members);
        }
    }

    /// Asks all other members how they are.
    pub(super) async fn ask_members(self: &Arc<SetNode>) {
        self.note_leading();
        let status = self.group.status();
        self.note_members(&status);
        let others = status.members.iter().map(|known| &known.member);
        let others = others.filter(|other| other.id != status.this.id);
        let mut asking = JoinSet::new();
        for other in others.cloned() {
            let set = Arc::clone(self);
            asking.spawn(async move {
                // A node that does not answer has no facts; the age of its last ones tells.
                if let Ok(facts) = ask(&set.links, &other.address).await {
                    set.heard.lock().insert(other.id, (facts, monotonic()));
                }
            });
        }
        while asking.join_next().await.is_some() {}
        let is_member = |id: &u64| status.members.iter().any(|known| known.member.id == *id);
        self.heard.lock().retain(|id, _| is_member(id));
    }
}

fn leader(status: &ClusterStatus) -> Option<MemberInfo> {
    match &status.standing {
        Standing::Leads(_) => Some(status.this.clone()),
        Standing::Follows { leader, .. } => Some(leader.clone()),
        Standing::NoMajority => None,
    }
}
