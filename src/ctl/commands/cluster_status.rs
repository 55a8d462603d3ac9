//! The report on the cluster: a node by itself, or the set as this node sees it. With rabbitmqctl's fields.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::checks::alarm_lines;
use super::listeners::{line, listeners_json};
use crate::ctl::outcome::Reply;
use crate::views::{FEATURE_FLAGS, MemberView, NodeView, SetView};

/// What a report is made of.
struct Seen {
    name: String,
    /// All members.
    nodes: Vec<String>,
    /// Those that run and have said how they are.
    running: Vec<NodeView>,
    set: Option<SetView>,
}

/// The report of this node.
pub(super) fn report(this: NodeView, set: Option<SetView>) -> Reply {
    let others = set.iter().flat_map(SetView::running);
    let others = others.filter(|member| !member.is_this);
    let mut running: Vec<NodeView> = others.filter_map(|member| member.node.clone()).collect();
    let own = this.name.clone();
    running.push(this);
    running.sort_by(|one, other| one.name.cmp(&other.name));
    let nodes = match &set {
        Some(set) if !set.members.is_empty() => set
            .members
            .iter()
            .map(|member| member.name.clone())
            .collect(),
        Some(_) | None => vec![own.clone()],
    };
    let names = running.iter().filter_map(|node| node.cluster_name.clone());
    let seen = Seen {
        name: names.into_iter().next().unwrap_or(own),
        nodes,
        running,
        set,
    };
    Reply::Report {
        text: seen.text(),
        json: seen.json(),
    }
}

fn maintenance(node: &NodeView) -> &'static str {
    match node.is_under_maintenance {
        true => "marked for maintenance",
        false => "not under maintenance",
    }
}

fn member_json(member: &MemberView) -> Value {
    json!({
        "name": member.name,
        "id": format!("{:016x}", member.id),
        "address": member.address,
        "role": member.role(),
        "running": member.is_running,
        "lag": member.lag,
        "unheard_ms": member.unheard.map(|unheard| u64::try_from(unheard.as_millis()).unwrap_or(u64::MAX)),
    })
}

fn member_line(member: &MemberView) -> String {
    let mut text = format!(
        "Node: {}, role: {}, address: {}, {}",
        member.name,
        member.role(),
        member.address,
        if member.is_running {
            "running"
        } else {
            "not running"
        }
    );
    // Writing to a String does not fail.
    if let Some(lag) = member.lag {
        write!(text, ", behind by {lag} entries").unwrap_or_default();
    }
    text
}

impl Seen {
    fn by_node(&self, value: impl Fn(&NodeView) -> Value) -> Value {
        let pairs = self.running.iter();
        let pairs: Map<String, Value> =
            pairs.map(|node| (node.name.clone(), value(node))).collect();
        pairs.into()
    }

    /// The names of the nodes that run, also of those that have not said how they are yet.
    fn running_names(&self) -> Vec<String> {
        match &self.set {
            Some(set) if !set.members.is_empty() => {
                set.running().map(|member| member.name.clone()).collect()
            }
            Some(_) | None => self.running.iter().map(|node| node.name.clone()).collect(),
        }
    }

    fn alarms(&self) -> Vec<String> {
        self.running.iter().flat_map(alarm_lines).collect()
    }

    fn json(&self) -> Value {
        let flags = FEATURE_FLAGS.iter();
        let flags: Vec<Value> = flags
            .map(|(name, _)| json!({"name": name, "state": "enabled"}))
            .collect();
        let mut json = json!({
            "cluster_name": self.name,
            "cluster_tags": [],
            "disk_nodes": self.nodes,
            "running_nodes": self.running_names(),
            "versions": self.by_node(|node| json!({"leveret_version": node.version})),
            "cpu_cores": self.by_node(|node| node.processors.into()),
            "maintenance_status": self.by_node(|node| maintenance(node).into()),
            "alarms": self.alarms(),
            "partitions": {},
            "listeners": self.by_node(|node| listeners_json(&node.name, &node.listeners).into()),
            "feature_flags": flags,
        });
        if let (Some(set), Some(fields)) = (&self.set, json.as_object_mut()) {
            let members: Vec<Value> = set.members.iter().map(member_json).collect();
            fields.insert(
                "set".to_owned(),
                json!({
                    "id": set.id.map(|id| format!("{id:016x}")),
                    "leader": set.leader,
                    "term": set.term,
                    "elections": set.elections,
                    "last_index": set.last_index,
                    "committed": set.committed,
                    "applied": set.applied,
                    "members": members,
                    "advice": set.advice,
                }),
            );
        }
        json
    }

    fn text(&self) -> String {
        let cores: usize = self.running.iter().map(|node| node.processors).sum();
        let mut text = format!(
            "Basics\n\nCluster name: {}\nTotal CPU cores available cluster-wide: {cores}\n",
            self.name
        );
        let each = |line: &dyn Fn(&NodeView) -> String| -> Vec<String> {
            self.running.iter().map(line).collect()
        };
        let listeners = self.running.iter().flat_map(|node| {
            let lines = node.listeners.iter().map(line);
            lines.map(|line| format!("Node: {}, {}", node.name, line.replacen('I', "i", 1)))
        });
        let flags = FEATURE_FLAGS.iter();
        let flags = flags.map(|(name, _)| format!("Flag: {name}, state: enabled"));
        let mut sections = vec![
            ("Cluster Tags", Vec::new()),
            ("Disk Nodes", self.nodes.clone()),
            ("Running Nodes", self.running_names()),
            (
                "Versions",
                each(&|node| format!("{}: Leveret {}", node.name, node.version)),
            ),
            (
                "CPU Cores",
                each(&|node| {
                    format!(
                        "Node: {}, available CPU cores: {}",
                        node.name, node.processors
                    )
                }),
            ),
            (
                "Maintenance status",
                each(&|node| format!("Node: {}, status: {}", node.name, maintenance(node))),
            ),
            ("Alarms", self.alarms()),
            ("Network Partitions", Vec::new()),
            ("Listeners", listeners.collect()),
            ("Feature flags", flags.collect()),
        ];
        if let Some(set) = &self.set {
            sections.insert(1, ("Set", set.members.iter().map(member_line).collect()));
            sections.insert(1, ("What is missing", set.advice.iter().cloned().collect()));
        }
        for (heading, lines) in sections {
            let body = match lines.is_empty() {
                true => "(none)".to_owned(),
                false => lines.join("\n"),
            };
            // Writing to a String does not fail.
            write!(text, "\n{heading}\n\n{body}\n").unwrap_or_default();
        }
        text.trim_end().to_owned()
    }
}
