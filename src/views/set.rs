//! The set of nodes that this node belongs to, as it sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::node_view::NodeView;

/// The set as this node sees it.
#[derive(Clone, Debug, Default)]
pub struct SetView {
    /// The name of this node.
    pub this: String,
    /// The set's id; `None` for a new node that waits for its set.
    pub id: Option<u64>,
    /// Who leads, as this node knows.
    pub leader: Option<String>,
    pub term: u64,
    pub last_index: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    /// Changes of leader that this node has seen since its start.
    pub elections: u64,
    /// In the order of their names.
    pub members: Vec<MemberView>,
    /// What is missing, and what an operator can do; `None` while the set serves clients.
    pub advice: Option<String>,
    /// Whether the set loses its majority when this node goes.
    pub is_critical: bool,
}

/// A member of the set.
#[derive(Clone, Debug)]
pub struct MemberView {
    pub name: String,
    pub id: u64,
    /// Where other nodes reach it.
    pub address: String,
    pub is_voter: bool,
    pub is_leader: bool,
    pub is_this: bool,
    pub is_running: bool,
    /// Entries of the leader's log that it does not have; only the leader knows.
    pub lag: Option<u64>,
    /// Time since this node heard it.
    pub unheard: Option<Duration>,
    /// What it has said of itself, if it runs.
    pub node: Option<NodeView>,
}

/// Where the views of the set come from.
#[derive(Clone)]
pub struct SetSource(Arc<dyn Fn() -> SetView + Send + Sync>);

impl SetSource {
    pub fn new(view: impl Fn() -> SetView + Send + Sync + 'static) -> SetSource {
        SetSource(Arc::new(view))
    }

    pub fn view(&self) -> SetView {
        (self.0)()
    }
}

impl fmt::Debug for SetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetSource")
    }
}

impl SetView {
    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        self.leader.as_ref() == Some(&self.this)
    }

    pub fn running(&self) -> impl Iterator<Item = &MemberView> {
        self.members.iter().filter(|member| member.is_running)
    }
}

impl MemberView {
    /// What the member is, in a word.
    pub fn role(&self) -> &'static str {
        match (self.is_leader, self.is_voter) {
            (true, _) => "leader",
            (false, true) => "follower",
            (false, false) => "learner",
        }
    }
}
