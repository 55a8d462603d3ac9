//! This node in its set: its member of the Raft group, its links, and what it knows of the other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::bridge::peer;
use super::error::SetError;
use super::facts::Facts;
use super::forming::{self, Asked, Heard, Step};
use super::group::Group;
use super::kinds::{FACTS, FORGET, JOIN, TRANSFER};
use super::membership::{self, ALIVE_WITHIN, Addition};
use super::overview::Overview;
use crate::clock::monotonic;
use crate::cluster::link::{Caller, Lane, LinkStream, Links, Peer};
use crate::cluster::raft::{ClusterStatus, MemberInfo, Standing};
use crate::store::Store;

/// How long an answer may take.
const FACTS_WITHIN: Duration = Duration::from_secs(1);
/// How long a change of members may take: a new one first gets what the set has.
const CHANGE_WITHIN: Duration = Duration::from_secs(3600);
/// How long a handover may take.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);

/// What the process does for its set.
pub trait Node: Send + Sync + 'static {
    /// What operators see of this node, for the other nodes.
    fn report(&self) -> String;

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
    /// The last facts of others and when they came, by id.
    heard: Mutex<HashMap<u64, (Facts, Instant)>>,
    /// What a new node waits for.
    waits_for: Mutex<Option<String>>,
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
    ) -> SetNode {
        SetNode {
            peers,
            group,
            links,
            node,
            heard: Mutex::default(),
            waits_for: Mutex::default(),
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

    /// True once the files of this node turn out to be damaged.
    pub fn broken(&self) -> watch::Receiver<bool> {
        self.group.broken()
    }

    /// The store on which this node runs the broker; waits until all that was committed before is applied.
    pub async fn lead(&self) -> Result<Arc<dyn Store>, SetError> {
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
        }
    }

    /// Makes this new node a member of the set whose leader `target` knows: a configured name, or an address.
    pub async fn join(&self, target: &str) -> Result<(), SetError> {
        let status = self.group.status();
        if status.set.is_some() && !self.overview().has_not_joined_yet() {
            return Err(SetError::Refused(
                "this node belongs to a set already".to_owned(),
            ));
        }
        self.ask_to_join(target).await
    }

    /// Makes this node, whose files were damaged, a member again, in the place of the one that it was. True when it has
    /// what the set has.
    pub(super) async fn join_again(&self) -> bool {
        let mut refused = "no other node of --cluster-peers answers".to_owned();
        for (name, _) in &self.peers {
            match self.ask_to_join(name).await {
                Ok(()) => {
                    *self.waits_for.lock() = None;
                    self.node.is_whole_again();
                    return true;
                }
                Err(error) => refused = error.to_string(),
            }
        }
        let mut waits_for = self.waits_for.lock();
        let why = format!(
            "the files of this node were damaged, and it gets everything from the other members: {refused}"
        );
        if waits_for.as_ref() != Some(&why) {
            warn!("this node is not whole yet: {why}");
        }
        *waits_for = Some(why);
        false
    }

    async fn ask_to_join(&self, target: &str) -> Result<(), SetError> {
        let status = self.group.status();
        let facts = self.ask(&address_of(&self.peers, target)?).await?;
        let leader = leader_of(target, facts)?;
        let request = serde_json::to_vec(&status.this).unwrap_or_default();
        let request = vec![Bytes::from(request)];
        let to = peer(&leader);
        let joined = self
            .links
            .call(&to, Lane::Control, JOIN, request, CHANGE_WITHIN);
        joined.await?;
        info!(leader = leader.name, "this node is a member of the set");
        Ok(())
    }

    /// As the leader: makes a node a member. It has what the set has when this returns.
    pub(super) async fn admit(&self, new: MemberInfo) -> Result<(), SetError> {
        let _turn = self.changing.lock().await;
        let addition =
            membership::may_add(&self.group.status(), &new).map_err(SetError::Refused)?;
        match addition {
            Addition::Done => return Ok(()),
            Addition::Replaces(old) => {
                self.knows_who_is_there()?;
                self.group.remove(old).await?;
                info!(
                    name = new.name,
                    "a member that is gone is forgotten for its successor"
                );
            }
            Addition::New => {}
        }
        info!(
            name = new.name,
            address = new.address,
            "a node joins the set"
        );
        self.group.add(new).await?;
        Ok(())
    }

    /// Removes a member that is gone, by its name. Any member can be asked.
    pub async fn forget(&self, name: &str) -> Result<(), SetError> {
        let name = name.strip_prefix("leveret@").unwrap_or(name);
        match self.leader()? {
            None => self.dismiss(name).await,
            Some(leader) => self.ask_leader(&leader, FORGET, name, CHANGE_WITHIN).await,
        }
    }

    /// As the leader: removes a member.
    pub(super) async fn dismiss(&self, name: &str) -> Result<(), SetError> {
        let _turn = self.changing.lock().await;
        let status = self.group.status();
        let member = status
            .members
            .iter()
            .find(|known| known.member.name == name);
        let id = member.map(|known| known.member.id).ok_or_else(|| {
            SetError::Refused(format!("leveret@{name} is not a member of the set"))
        })?;
        membership::may_remove(&status, id).map_err(SetError::Refused)?;
        self.knows_who_is_there()?;
        self.group.remove(id).await?;
        info!(name, "a member is forgotten");
        Ok(())
    }

    /// A leader that was just elected has not heard all members yet, and would take a live one for gone.
    fn knows_who_is_there(&self) -> Result<(), SetError> {
        let leads_since = *self.leads_since.lock();
        match leads_since.is_some_and(|since| since.elapsed() >= ALIVE_WITHIN) {
            true => Ok(()),
            false => Err(SetError::Refused(
                "this set has a new leader, which does not know yet which members are there: try again in some seconds"
                    .to_owned(),
            )),
        }
    }

    /// Notes since when this node leads, and completes changes of members that an earlier leader began.
    async fn look_after_members(&self) {
        let leads = matches!(self.group.status().standing, Standing::Leads(_));
        {
            let mut leads_since = self.leads_since.lock();
            *leads_since = match (leads, *leads_since) {
                (false, _) => None,
                (true, None) => Some(monotonic()),
                (true, since) => since,
            };
        }
        if leads && let Err(error) = self.group.complete_change().await {
            warn!("a change of members that was begun is not complete: {error}");
        }
    }

    /// Goes on without the other members, which are lost, in a new set. Returns their names.
    pub async fn go_on_alone(&self) -> Result<Vec<String>, SetError> {
        let _turn = self.changing.lock().await;
        let others = self
            .overview()
            .may_go_on_alone()
            .map_err(SetError::Refused)?;
        let names = others.join(", ");
        warn!("an operator gives up {names}: this node goes on alone, in a new set");
        self.group.stand_alone().await?;
        // The links speak for the new set, so that a node of the old one is refused. Raft may not have told its members yet.
        if let Some(set) = self.group.status().set {
            self.links.belong_to(set);
        }
        Ok(others)
    }

    /// Has the leader hand over, to a member or to the one that is furthest. Any member can be asked.
    pub async fn transfer(&self, name: Option<&str>) -> Result<(), SetError> {
        let name = name.map(|name| name.strip_prefix("leveret@").unwrap_or(name));
        match self.leader()? {
            None => self.hand_over(name).await,
            Some(leader) => {
                let name = name.unwrap_or_default();
                self.ask_leader(&leader, TRANSFER, name, TRANSFER_WITHIN)
                    .await
            }
        }
    }

    /// Opens a stream to the leader, which is another node.
    pub async fn open_to_leader(&self, kind: u8) -> Result<LinkStream, SetError> {
        let leader = self.leader()?.ok_or_else(|| {
            SetError::Refused("this node leads its set and begins to serve: try again".to_owned())
        })?;
        Ok(self.links.open(&peer(&leader), kind, Bytes::new()).await?)
    }

    /// As the leader: hands over.
    pub async fn hand_over(&self, name: Option<&str>) -> Result<(), SetError> {
        let status = self.group.status();
        let to = match name {
            None => None,
            Some(name) => {
                let member = status
                    .members
                    .iter()
                    .find(|known| known.member.name == name);
                let member = member.ok_or_else(|| {
                    SetError::Refused(format!("leveret@{name} is not a member of the set"))
                })?;
                if member.member.id == status.this.id {
                    return Ok(());
                }
                Some(member.member.id)
            }
        };
        let transfer = tokio::time::timeout(TRANSFER_WITHIN, self.group.transfer(to));
        match transfer.await {
            Ok(transferred) => Ok(transferred?),
            Err(_) => Err(SetError::Refused(
                "no other member took over in time".to_owned(),
            )),
        }
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

    async fn ask(&self, address: &str) -> Result<Facts, SetError> {
        let to = Peer {
            node: None,
            address: address.to_owned(),
        };
        let answer = self
            .links
            .call(&to, Lane::Control, FACTS, Vec::new(), FACTS_WITHIN);
        Facts::decode(&answer.await?).map_err(SetError::Refused)
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

    /// One try to form the set.
    pub(super) async fn try_to_form(&self) {
        let status = self.group.status();
        let mut asked = Vec::new();
        for (name, address) in &self.peers {
            let heard = match self.ask(address).await {
                Ok(facts) => Heard::Facts(facts),
                Err(error) => Heard::Nothing(error.to_string()),
            };
            asked.push(Asked {
                name: name.clone(),
                address: address.clone(),
                heard,
            });
        }
        match forming::next(&status.this, &asked) {
            Step::Form(members) => {
                let count = members.len();
                match self.group.form(members).await {
                    Ok(()) => info!(members = count, "a set of nodes begins"),
                    Err(error) => self.wait_for(Some(error.to_string())),
                }
            }
            Step::Wait(why) | Step::Outside(why) => self.wait_for(Some(why)),
        }
    }

    /// Shows what a new node waits for, and logs it when it changes.
    fn wait_for(&self, why: Option<String>) {
        let mut waits_for = self.waits_for.lock();
        if let Some(why) = why.as_ref().filter(|_| *waits_for != why) {
            warn!("this node has no set yet: {why}");
        }
        *waits_for = why;
    }

    /// Asks all other members how they are.
    pub(super) async fn ask_members(self: &Arc<SetNode>) {
        self.look_after_members().await;
        let status = self.group.status();
        let others = status.members.iter().map(|known| &known.member);
        let others = others.filter(|other| other.id != status.this.id);
        let mut asking = JoinSet::new();
        for other in others.cloned() {
            let set = Arc::clone(self);
            asking.spawn(async move {
                // A node that does not answer has no facts; the age of its last ones tells.
                if let Ok(facts) = set.ask(&other.address).await {
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

/// Asks the node at an address for its facts.
pub(super) async fn ask(links: &Links, address: &str) -> Result<Facts, SetError> {
    let to = Peer {
        node: None,
        address: address.to_owned(),
    };
    let answer = links.call(&to, Lane::Control, FACTS, Vec::new(), FACTS_WITHIN);
    Facts::decode(&answer.await?).map_err(SetError::Refused)
}

/// The address of a node that an operator names.
pub(super) fn address_of(peers: &[(String, String)], target: &str) -> Result<String, SetError> {
    let name = target.strip_prefix("leveret@").unwrap_or(target);
    let has_port = || {
        let port = name.rsplit_once(':').map(|(_, port)| port);
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    match peers.iter().find(|(known, _)| known == name) {
        Some((_, address)) => Ok(address.clone()),
        None if has_port() => Ok(name.to_owned()),
        None => Err(SetError::Refused(format!(
            "--cluster-peers has no node {name}: give its address, HOST:PORT"
        ))),
    }
}

/// The leader that a node of the set to join knows.
pub(super) fn leader_of(target: &str, facts: Facts) -> Result<MemberInfo, SetError> {
    facts.leader.ok_or_else(|| {
        SetError::Refused(format!(
            "{target} knows no leader of its set now: try again later"
        ))
    })
}
