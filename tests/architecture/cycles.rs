//! Cycles in a directed graph.

use std::collections::{BTreeMap, BTreeSet};

/// Groups of nodes that lead to each other, each sorted; none if the graph has no cycle.
pub(crate) fn cycles<N: Ord + Copy>(edges: &BTreeMap<N, BTreeSet<N>>) -> Vec<BTreeSet<N>> {
    let reached: BTreeMap<N, BTreeSet<N>> = edges
        .keys()
        .map(|node| (*node, reach(edges, *node)))
        .collect();
    let leads = |from: &N, to: &N| reached.get(from).is_some_and(|nodes| nodes.contains(to));
    let mut groups: Vec<BTreeSet<N>> = Vec::new();
    for node in edges.keys().filter(|node| leads(node, node)) {
        if !groups.iter().any(|group| group.contains(node)) {
            let group = edges
                .keys()
                .filter(|other| leads(node, other) && leads(other, node));
            groups.push(group.copied().collect());
        }
    }
    groups
}

/// All nodes that can be reached from `node` by one step or more.
fn reach<N: Ord + Copy>(edges: &BTreeMap<N, BTreeSet<N>>, node: N) -> BTreeSet<N> {
    let mut found = BTreeSet::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        for next in edges.get(&node).into_iter().flatten() {
            if found.insert(*next) {
                open.push(*next);
            }
        }
    }
    found
}

#[test]
fn a_cycle_is_found_with_all_its_nodes_and_no_others() {
    let graph = |edges: &[(u8, u8)]| {
        let mut graph: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry(*from).or_default().insert(*to);
            graph.entry(*to).or_default();
        }
        cycles(&graph)
    };
    assert_eq!(graph(&[(1, 2), (2, 3), (1, 3)]), []);
    assert_eq!(
        graph(&[(1, 2), (2, 3), (3, 1), (0, 1), (3, 4)]),
        [BTreeSet::from([1, 2, 3])]
    );
    assert_eq!(
        graph(&[(1, 2), (2, 1), (3, 4), (4, 3), (2, 3)]),
        [BTreeSet::from([1, 2]), BTreeSet::from([3, 4])]
    );
}
