//! Changes of members, when members are gone on the way.

use super::*;

/// Three members, which of them leads, and the ids of the two others.
async fn three(dir: &Path, network: &Arc<Network>) -> (Vec<Node>, usize, [u64; 2]) {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(dir, name, network).await);
    }
    let infos: Vec<MemberInfo> = nodes.iter().map(Node::info).collect();
    nodes[0].member().form(infos.clone()).await.unwrap();
    let first = leader(&nodes).await;
    // Until the first members are certain they are not changed.
    nodes[first].member().lead().await.unwrap();
    let others = [(first + 1) % 3, (first + 2) % 3].map(|other| infos[other].id);
    (nodes, first, others)
}

fn role(member: &Member, id: u64) -> Option<MemberRole> {
    let status = member.status();
    let known = status.members.iter().find(|it| it.member.id == id);
    known.map(|known| known.role)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_goes_on_alone_while_a_change_waits_for_the_majority_that_is_lost() {
    let (dir, network) = (scratch(), Arc::default());
    let (mut nodes, first, others) = three(dir.path(), &network).await;
    network.cut.lock().extend(others);
    let member = nodes[first].member();
    let removal = tokio::spawn({
        let member = member.clone();
        async move { member.remove(others[0]).await }
    });
    let lost = || nodes[first].standing() == Standing::NoMajority;
    eventually("it knows that it has no majority", lost).await;
    assert!(!removal.is_finished());
    let alone = tokio::time::timeout(Duration::from_secs(10), member.stand_alone());
    alone.await.expect("it waits for the majority").unwrap();
    assert!(removal.await.unwrap().is_err());
    eventually("it leads", || nodes[first].leads()).await;
    assert_eq!(member.status().members.len(), 1);
    drop(member);
    for node in &mut nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_addition_of_a_node_that_does_not_answer_is_given_up() {
    let (dir, network) = (scratch(), Arc::default());
    let mut first = Node::start(dir.path(), "a", &network).await;
    let mut second = Node::start(dir.path(), "b", &network).await;
    let (member, id) = (first.member(), second.info().id);
    member.form(vec![first.info()]).await.unwrap();
    eventually("it leads", || first.leads()).await;
    network.cut.lock().insert(id);
    let added = tokio::time::timeout(Duration::from_secs(30), member.add(second.info()));
    let added = added.await.expect("it waits for ever");
    assert!(matches!(added, Err(MemberError::Silent(_))), "{added:?}");
    member.remove(id).await.unwrap();
    eventually("it is forgotten", || role(&member, id).is_none()).await;
    drop(member);
    first.stop().await;
    second.stop().await;
}

/// What a leader has begun that is lost between the two steps of a removal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_was_cut_short_is_completed_without_the_removed_member() {
    let (dir, network) = (scratch(), Arc::default());
    let (mut nodes, first, [gone, other]) = three(dir.path(), &network).await;
    let member = nodes[first].member();
    network.cut.lock().extend([gone, other]);
    let last = || member.status().last_index;
    let before = last();
    let removal = tokio::spawn({
        let member = member.clone();
        async move { member.remove(gone).await }
    });
    eventually("the first step is begun", || last() > before).await;
    removal.abort();
    assert!(removal.await.is_err());
    network.cut.lock().remove(&other);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while let Some(role) = role(&member, gone) {
        assert_eq!(role, MemberRole::Voter, "until it is none of the members");
        assert!(std::time::Instant::now() < deadline, "it stays");
        // Refused while the first step is not certain.
        drop(member.complete_change().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(role(&member, other), Some(MemberRole::Voter));
    drop(member);
    for node in &mut nodes {
        node.stop().await;
    }
}
