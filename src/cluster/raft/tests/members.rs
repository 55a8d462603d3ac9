//! Three members: they agree, elect, catch up, and a broker that ran alone grows to three.

use super::*;

async fn three(dir: &Path, network: &Arc<Network>) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(dir, name, network).await);
    }
    nodes
}

fn infos(nodes: &[Node]) -> Vec<MemberInfo> {
    nodes.iter().map(Node::info).collect()
}

async fn agree(nodes: &[Node], upto: u8) {
    let expected: Vec<u8> = (1..=upto).collect();
    for node in nodes.iter().filter(|node| node.running.is_some()) {
        let holds = || node.values() == expected;
        let statuses = || {
            let running = nodes.iter().filter_map(|node| node.running.as_ref());
            let status = running.map(|(member, _)| member.status());
            status.collect::<Vec<_>>()
        };
        let (agrees, has) = (soon(holds).await, node.values());
        assert!(agrees, "{} has {has:?}: {:#?}", node.name, statuses());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_agree_elect_and_catch_up() {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = three(dir.path(), &network).await;
    nodes[0].member().form(infos(&nodes)).await.unwrap();
    assert!(nodes[0].member().form(infos(&nodes)).await.is_err());
    let first = leader(&nodes).await;
    let store = nodes[first].member().lead().await.unwrap().store;
    assert!(write(store, 1..20).await);
    agree(&nodes, 19).await;
    // The leader ends. What it confirmed is there, and another one leads.
    nodes[first].stop().await;
    let second = leader(&nodes).await;
    assert_ne!(first, second);
    let store = nodes[second].member().lead().await.unwrap().store;
    assert!(write(store.clone(), 20..30).await);
    agree(&nodes, 29).await;
    nodes[first].restart().await;
    agree(&nodes, 29).await;
    let status = nodes[second].member().status();
    assert_eq!(status.members.len(), 3);
    assert!(status.set.is_some() && status.set == nodes[first].member().status().set);
    // Handed over, the old leader follows.
    nodes[second].member().transfer(None).await.unwrap();
    let third = leader(&nodes).await;
    assert_ne!(second, third);
    assert!(!write(store, 99..100).await, "the leadership is over");
    let follows = || matches!(nodes[second].standing(), Standing::Follows { .. });
    eventually("it follows", follows).await;
    for node in &mut nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_confirms_nothing_and_another_leads() {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = three(dir.path(), &network).await;
    nodes[0].member().form(infos(&nodes)).await.unwrap();
    let first = leader(&nodes).await;
    let store = nodes[first].member().lead().await.unwrap().store;
    assert!(write(store.clone(), 1..5).await);
    network.cut.lock().insert(nodes[first].info().id);
    assert!(!write(store, 90..95).await);
    let lost = || nodes[first].standing() == Standing::NoMajority;
    eventually("it knows that it has no majority", lost).await;
    let second = leader(&nodes).await;
    assert_ne!(first, second);
    let store = nodes[second].member().lead().await.unwrap().store;
    assert!(write(store, 5..10).await);
    network.cut.lock().clear();
    agree(&nodes, 9).await;
    for node in &mut nodes {
        node.stop().await;
    }
}

/// A leader that does not hear the majority for less time than an election takes goes on to lead in its term. What its
/// broker has proposed may still be committed then, and the next broker must not begin before it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_begins_again_in_a_term_sees_what_the_one_before_has_proposed() {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = three(dir.path(), &network).await;
    nodes[0].member().form(infos(&nodes)).await.unwrap();
    let mut tries = 0..20;
    let seen = loop {
        assert!(tries.next().is_some(), "another node has led each time");
        let first = leader(&nodes).await;
        let member = nodes[first].member();
        let Standing::Leads(before) = nodes[first].standing() else {
            continue;
        };
        let Ok(Led { store, .. }) = member.lead().await else {
            continue;
        };
        network.cut.lock().insert(nodes[first].info().id);
        let values = 200..210;
        assert!(!write(store, values.clone()).await);
        network.cut.lock().clear();
        let mut standing = member.standing();
        // What was proposed is given up first, then the standing changes.
        let changed = standing.wait_for(|it| match it {
            Standing::NoMajority => false,
            Standing::Leads(leadership) => *leadership != before,
            Standing::Follows { .. } => true,
        });
        let changed = tokio::time::timeout(Duration::from_secs(30), changed).await;
        let changed = changed.expect("the standing of a leadership that was lost");
        let Standing::Leads(after) = changed.unwrap().clone() else {
            continue;
        };
        if before.term == after.term && member.lead().await.is_ok() {
            break (values.collect::<Vec<u8>>(), nodes[first].values());
        }
    };
    assert_eq!(seen.1, seen.0);
    for node in &mut nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_ceases_to_serve_before_it_asks_another_one_that_answers() {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = three(dir.path(), &network).await;
    nodes[0].member().form(infos(&nodes)).await.unwrap();
    let first = leader(&nodes).await;
    let (gone, other) = match first {
        0 => (1, 2),
        1 => (0, 2),
        _ => (0, 1),
    };
    let gone_id = nodes[gone].info().id;
    nodes[gone].stop().await;
    let member = nodes[first].member();
    let unheard = || {
        let status = member.status();
        let gone = status.members.iter().find(|it| it.member.id == gone_id);
        gone.and_then(|it| it.unheard)
            .is_some_and(|it| it > Duration::from_millis(400))
    };
    eventually("the election timeout has passed", unheard).await;
    let asked = member.transfer(Some(gone_id)).await;
    assert!(matches!(asked, Err(MemberError::Unheard(_))), "{asked:?}");
    assert!(nodes[first].leads());
    member.transfer(None).await.unwrap();
    assert!(!nodes[first].leads());
    eventually("the live one leads", || nodes[other].leads()).await;
    drop(member);
    for node in nodes.iter_mut().filter(|node| node.running.is_some()) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_ran_alone_grows_to_three_and_a_member_leaves() {
    let (dir, network) = (scratch(), Arc::default());
    let mut node = Node::ran_alone(dir.path(), "a", &network, 1..4);
    node.restart().await;
    let mut nodes = vec![node];
    nodes[0].member().form(infos(&nodes)).await.unwrap();
    assert_eq!(leader(&nodes).await, 0);
    let store = nodes[0].member().lead().await.unwrap().store;
    assert!(write(store.clone(), 4..8).await);
    for name in ["b", "c"] {
        let node = Node::start(dir.path(), name, &network).await;
        nodes[0].member().add(node.info()).await.unwrap();
        assert!(nodes[0].member().add(node.info()).await.is_err());
        nodes.push(node);
    }
    agree(&nodes, 7).await;
    assert!(write(store, 8..10).await);
    agree(&nodes, 9).await;
    let gone = nodes[2].info().id;
    nodes[0].member().remove(gone).await.unwrap();
    assert!(nodes[0].member().remove(gone).await.is_err());
    assert_eq!(nodes[0].member().status().members.len(), 2);
    for node in &mut nodes {
        node.stop().await;
    }
}
