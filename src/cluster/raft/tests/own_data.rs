//! A node that has run alone, and that another set takes for a new one: it takes no part, and keeps what it has.

use super::*;
use crate::store::ReplicaState;

/// What the node has: more entries than the other set.
const OWN: std::ops::Range<u8> = 100..160;

async fn with_own_data(dir: &Path, network: &Arc<Network>) -> (Node, ReplicaState) {
    let mut node = Node::ran_alone(dir, "b", network, OWN);
    node.restart().await;
    let state = state(&node);
    assert!(state.last.index >= u64::try_from(OWN.len()).unwrap());
    (node, state)
}

fn state(node: &Node) -> ReplicaState {
    let store = &node.running.as_ref().unwrap().1;
    store.replica_state().unwrap()
}

fn is_untouched(node: &Node, before: &ReplicaState) {
    assert_eq!(state(node), *before);
    assert_eq!(node.values(), OWN.collect::<Vec<u8>>());
    let store = &node.running.as_ref().unwrap().1;
    assert_eq!(store.identity().unwrap().unwrap().set, None);
    assert_eq!(node.member().status().set, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_entries_of_its_own_is_no_part_of_a_majority() {
    let (dir, network) = (scratch(), Arc::default());
    let a = Node::start(dir.path(), "a", &network).await;
    let (b, before) = with_own_data(dir.path(), &network).await;
    let c = Node::start(dir.path(), "c", &network).await;
    let mut nodes = vec![a, b, c];
    let members = nodes.iter().map(Node::info).collect();
    nodes[0].member().form(members).await.unwrap();
    let first = leader(&nodes).await;
    assert_ne!(first, 1);
    let store = nodes[first].member().lead().await.unwrap().store;
    assert!(write(store.clone(), 1..5).await);
    is_untouched(&nodes[1], &before);
    // It counts for nothing.
    nodes[2 - first].stop().await;
    assert!(!write(store, 5..6).await);
    let lost = || nodes[first].standing() == Standing::NoMajority;
    eventually("there is no majority", lost).await;
    is_untouched(&nodes[1], &before);
    for node in nodes.iter_mut().filter(|node| node.running.is_some()) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_entries_of_its_own_gets_no_vote() {
    let (dir, network) = (scratch(), Arc::default());
    let mut a = Node::start(dir.path(), "a", &network).await;
    a.member().form(vec![a.info()]).await.unwrap();
    eventually("it leads", || a.leads()).await;
    let store = a.member().lead().await.unwrap().store;
    let (mut b, before) = with_own_data(dir.path(), &network).await;
    let member = a.member();
    let added = tokio::time::timeout(Duration::from_secs(1), member.add(b.info())).await;
    assert!(!matches!(added, Ok(Ok(()))), "it has nothing of the set");
    member.complete_change().await.unwrap();
    let status = member.status();
    let new = status.members.iter().find(|it| it.member.id == b.info().id);
    assert_ne!(new.map(|new| new.role), Some(MemberRole::Voter));
    assert!(write(store, 1..4).await);
    is_untouched(&b, &before);
    drop(member);
    a.stop().await;
    b.stop().await;
}
