//! What must hold in a simulation: confirmed writes stay, in order and once; no two nodes serve together; what is applied
//! is the same everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::Proposal;
use crate::store::replica_model::ReplicaModel;

/// What is known of a simulation. The first violation stays.
#[derive(Debug, Default)]
pub(super) struct Checker(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The leadership that has proposed each number, from 1 on.
    proposed: Vec<u64>,
    /// Leadership and number, in the order in which they were confirmed.
    confirmed: Vec<(u64, u64)>,
    /// Entries that some node has applied, from the first one on.
    applied: Vec<Proposal>,
    /// Up to where each node's entries were compared with these.
    compared: BTreeMap<u64, usize>,
    leaderships: u64,
    /// How often something has come true.
    done: BTreeMap<&'static str, u64>,
    violation: Option<String>,
}

impl Checker {
    pub(super) fn new() -> Arc<Checker> {
        Arc::default()
    }

    /// The next write of a leadership.
    pub(super) fn propose(&self, leadership: u64) -> u64 {
        let mut known = self.0.lock();
        known.proposed.push(leadership);
        known.proposed.len() as u64
    }

    pub(super) fn confirm(&self, leadership: u64, number: u64) {
        self.0.lock().confirmed.push((leadership, number));
    }

    pub(super) fn confirmed(&self) -> usize {
        self.0.lock().confirmed.len()
    }

    pub(super) fn leaderships(&self) -> u64 {
        self.0.lock().leaderships
    }

    /// Something has come true.
    pub(super) fn count(&self, what: &'static str, times: u64) {
        *self.0.lock().done.entry(what).or_default() += times;
    }

    pub(super) fn done(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().done.clone()
    }

    pub(super) fn violate(&self, what: String) {
        self.0.lock().violation.get_or_insert(what);
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.0.lock().violation.clone()
    }

    /// A broker begins on what its node has applied: everything that was confirmed before must be there. Returns which
    /// leadership it is.
    pub(super) fn begin(&self, node: u64, store: &ReplicaModel) -> u64 {
        self.compare(node, store);
        let found = numbers(&store.applied());
        let mut known = self.0.lock();
        known.leaderships += 1;
        if let Some(wrong) = known.what_is_wrong(&found) {
            let what = format!("node {node} begins to serve: {wrong}");
            known.violation.get_or_insert(what);
        }
        known.leaderships
    }

    /// Compares what a node has applied with what others have.
    pub(super) fn compare(&self, node: u64, store: &ReplicaModel) {
        let applied = store.applied();
        let mut known = self.0.lock();
        let from = known.compared.get(&node).copied().unwrap_or(0);
        let from = from.min(applied.len());
        for (at, (id, proposal)) in applied.iter().enumerate().skip(from) {
            match known.applied.get(at) {
                Some(other) if other == proposal => {}
                Some(_) => {
                    let what = format!("node {node} has applied another entry {id:?}");
                    known.violation.get_or_insert(what);
                    return;
                }
                None => known.applied.push(proposal.clone()),
            }
        }
        known.compared.insert(node, applied.len());
    }

    /// Compares everything that a node has applied.
    pub(super) fn compare_all(&self, node: u64, store: &ReplicaModel) {
        self.0.lock().compared.remove(&node);
        self.compare(node, store);
    }

    /// All nodes but this one are lost for good, and what it does not have with them. What it has must stay.
    pub(super) fn lose_others(&self, node: u64, store: &ReplicaModel) {
        self.compare(node, store);
        let log = store.log();
        let mut known = self.0.lock();
        let proposed = &known.proposed;
        let kept = numbers(&log).into_iter();
        known.confirmed = kept.map(|it| (proposed[at(it)], it)).collect();
        let both = known.applied.iter().zip(&log);
        let same = both.take_while(|(known, (_, proposal))| *known == proposal);
        let same = same.count();
        known.applied.truncate(same);
        known.compared.retain(|id, _| *id == node);
    }

    /// Only one of these serves.
    pub(super) fn serve(&self, nodes: &[u64]) {
        if nodes.len() > 1 {
            self.violate(format!("nodes {nodes:?} serve together"));
        }
    }
}

/// Where a number is in the list of those that were proposed.
fn at(number: u64) -> usize {
    usize::try_from(number).unwrap() - 1
}

fn numbers(entries: &[(crate::store::EntryId, Proposal)]) -> Vec<u64> {
    let proposals = entries.iter().map(|(_, proposal)| proposal);
    proposals.filter_map(ReplicaModel::number).collect()
}

impl Known {
    /// What is wrong with these writes, if anything. Each is there once, all that were confirmed are, and those of a
    /// leadership in their order. None comes behind those of a later leadership, which began without it.
    fn what_is_wrong(&self, found: &[u64]) -> Option<String> {
        let mut places = BTreeMap::new();
        let mut latest = 0;
        for (place, number) in found.iter().enumerate() {
            if places.insert(*number, place).is_some() {
                return Some(format!("write {number} is applied twice"));
            }
            let leadership = self.proposed[at(*number)];
            if leadership < latest {
                return Some(format!(
                    "write {number} comes after a later broker has begun"
                ));
            }
            latest = leadership;
        }
        let mut last: BTreeMap<u64, usize> = BTreeMap::new();
        for (leadership, number) in &self.confirmed {
            let Some(place) = places.get(number) else {
                return Some(format!("write {number} was confirmed, and is lost"));
            };
            let before = last.insert(*leadership, *place);
            if before.is_some_and(|before| before > *place) {
                return Some(format!("write {number} is out of order"));
            }
        }
        None
    }
}
