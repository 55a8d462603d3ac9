//! How a set is formed, led and changed.

use super::nodes::{Node, THREE, agreed_leader, eventually, formed, nodes, until_leads};

#[test]
fn three_nodes_form_a_set_and_hand_over_without_losing_a_definition() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, leader) = formed(dir.path());
    for node in &nodes {
        node.ok(&["await_online_nodes", "3"]);
    }
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    // A node that follows has the leader carry it out.
    nodes[first].ok(&["add_vhost", "orders"]);
    assert!(nodes[second].ok(&["list_vhosts"]).contains("orders"));

    nodes[second].ok(&["transfer_leadership", nodes[first].name]);
    until_leads(&nodes.each_ref(), first);
    assert!(nodes[leader].ok(&["list_vhosts"]).contains("orders"));
    for (index, node) in nodes.iter().enumerate() {
        let leads = format!("leveret_set_leads {}", u8::from(index == first));
        eventually("the metrics say who leads", || {
            let metrics = node.metrics();
            metrics.contains(&leads).then_some(()).ok_or(metrics)
        });
    }

    nodes[first].stop();
    let rest = [&nodes[leader], &nodes[second]];
    agreed_leader(&rest);
    assert!(rest[0].ok(&["list_vhosts"]).contains("orders"));
    eventually("the stopped node is missing", || match rest[0].running() {
        2 => Ok(()),
        other => Err(format!("{other}")),
    });
}

#[test]
fn without_a_majority_the_survivor_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, leader) = formed(dir.path());
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes[leader].kill();
    nodes[first].kill();
    let survivor = &nodes[second];
    eventually("the advice", || {
        let advice = survivor.status()["set"]["advice"].clone();
        match advice.as_str() {
            Some(text) if text.starts_with("1 of 3 voting members are there") => Ok(()),
            _ => Err(advice.to_string()),
        }
    });
    let refused = survivor.try_ctl(&["list_vhosts"]).unwrap_err();
    assert!(
        refused.contains("1 of 3 voting members are there"),
        "{refused}"
    );
    nodes[first].start();
    let rest = [&nodes[first], &nodes[second]];
    agreed_leader(&rest);
    assert!(rest[0].ok(&["list_vhosts"]).contains('/'));
}

#[test]
fn a_survivor_of_three_goes_on_alone_and_a_lost_node_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, leader) = formed(dir.path());
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes[second].ok(&["add_vhost", "orders"]);
    let refused = nodes[second].try_ctl(&["force_boot", "--yes"]).unwrap_err();
    assert!(refused.contains("the set works"), "{refused}");
    nodes[leader].kill();
    nodes[first].kill();
    let survivor = &nodes[second];
    eventually("it misses both", || match survivor.running() {
        1 => Ok(()),
        other => Err(format!("{other}")),
    });
    let unanswered = survivor.try_ctl(&["force_boot"]).unwrap_err();
    assert!(unanswered.contains("add --yes"), "{unanswered}");
    let done = survivor.ok(&["force_boot", "--yes"]);
    let lost = ["leveret@a", "leveret@b", "leveret@c"];
    assert!(
        done.contains(lost[leader]) && done.contains(lost[first]),
        "{done}"
    );
    eventually("it serves", || {
        let vhosts = survivor.try_ctl(&["list_vhosts"])?;
        vhosts.contains("orders").then_some(()).ok_or(vhosts)
    });
    survivor.ok(&["add_vhost", "after"]);

    nodes[first].start();
    let advice = |node: &Node| node.status()["set"]["advice"].to_string();
    eventually("the lost node finds no set", || {
        let advice = advice(&nodes[first]);
        advice
            .contains("1 of 3 voting members")
            .then_some(())
            .ok_or(advice)
    });
    assert_eq!(nodes[second].running(), 1);

    // A crash changes nothing of that, and the set grows again.
    nodes[second].kill();
    nodes[second].start();
    nodes[second].ok(&["list_vhosts"]);
    let mut new = Node::alone(dir.path(), "d");
    new.start();
    new.ok(&["list_vhosts"]);
    new.ok(&["join_cluster", &nodes[second].address]);
    new.ok(&["await_online_nodes", "2"]);
    let vhosts = new.ok(&["list_vhosts"]);
    assert!(
        vhosts.contains("orders") && vhosts.contains("after"),
        "{vhosts}"
    );
}

#[test]
fn a_leader_that_an_operator_takes_out_of_service_hands_over_first() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, _) = formed(dir.path());
    let [a, b, c] = &nodes;
    for (out, back) in [("stop_app", "start_app"), ("drain", "revive")] {
        let leader = agreed_leader(&[a, b, c]);
        nodes[leader].ok(&[out]);
        let another = || match agreed_leader(&[a, b, c]) {
            same if same == leader => Err("it leads still".to_owned()),
            other => Ok(other),
        };
        let next = eventually(out, another);
        assert!(nodes[next].ok(&["list_vhosts"]).contains('/'));
        nodes[leader].ok(&[back]);
    }
}

#[test]
fn a_forgotten_node_is_told_so_and_data_under_another_name_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, leader) = formed(dir.path());
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes[first].stop();
    let refusal = nodes[first].refusal_as("another");
    let was = format!("is that of leveret@{}, a member of a set", THREE[first]);
    assert!(refusal.contains(&was), "{refusal}");
    nodes[second].ok(&["forget_cluster_node", THREE[first]]);
    nodes[first].start();
    eventually("it is told", || {
        let advice = nodes[first].status()["set"]["advice"].to_string();
        let is_told = advice.contains("this node was forgotten");
        is_told.then_some(()).ok_or(advice)
    });
}

#[test]
fn a_set_loads_a_definitions_file_once_and_goes_on_without_a_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("definitions.json");
    std::fs::write(&file, r#"{"vhosts": [{"name": "loaded"}]}"#).unwrap();
    let mut nodes = nodes(dir.path(), THREE);
    for (node, file) in nodes
        .iter_mut()
        .zip([file.as_path(), file.as_path(), "/nowhere".as_ref()])
    {
        node.options = vec!["--load-definitions".to_owned(), file.display().to_string()];
        node.start();
    }
    let [a, b, c] = &nodes;
    a.ok(&["await_online_nodes", "3"]);
    let transfer = |to: usize| {
        a.ok(&["transfer_leadership", THREE[to]]);
        until_leads(&[a, b, c], to);
    };
    transfer(0);
    assert!(a.ok(&["list_vhosts"]).contains("loaded"));
    a.ok(&["delete_vhost", "loaded"]);
    for to in [1, 2, 0] {
        transfer(to);
        let vhosts = nodes[to].ok(&["list_vhosts"]);
        assert!(!vhosts.contains("loaded"), "{to}: {vhosts}");
    }
}

#[test]
fn a_single_node_grows_to_three_and_a_dead_one_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Node::alone(dir.path(), "a");
    first.start();
    first.ok(&["add_vhost", "orders"]);
    let mut others = ["b", "c"].map(|name| Node::alone(dir.path(), name));
    for node in &mut others {
        node.start();
        node.ok(&["list_vhosts"]);
        node.ok(&["join_cluster", &first.address]);
    }
    let [b, c] = &others;
    c.ok(&["await_online_nodes", "3"]);
    assert_eq!(agreed_leader(&[&first, b, c]), 0);
    assert!(c.ok(&["list_vhosts"]).contains("orders"));
    let refused = b.try_ctl(&["forget_cluster_node", "c"]).unwrap_err();
    assert!(refused.contains("leveret@c runs"), "{refused}");
    let refused = b.try_ctl(&["join_cluster", &first.address]).unwrap_err();
    assert!(
        refused.contains("is a member of a set with other nodes"),
        "{refused}"
    );

    others[1].kill();
    others[0].ok(&["forget_cluster_node", "leveret@c"]);
    let mut last = Node::alone(dir.path(), "d");
    last.start();
    last.ok(&["list_vhosts"]);
    last.ok(&["join_cluster", &others[0].address]);
    last.ok(&["await_online_nodes", "3"]);
    assert!(last.ok(&["list_vhosts"]).contains("orders"));
}

#[test]
fn many_changes_of_the_leader_leave_no_thread_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (nodes, _) = formed(dir.path());
    let [a, b, c] = &nodes;
    let mut threads = Vec::new();
    for change in 0..20 {
        let to = &nodes[change % 3];
        a.ok(&["transfer_leadership", to.name]);
        until_leads(&[a, b, c], change % 3);
        to.ok(&["list_vhosts"]);
        if change >= 3 {
            threads.push(to.threads());
        }
    }
    let (early, late) = (threads[0], *threads.last().unwrap());
    assert!(late <= early + 8, "{threads:?}");
}

#[test]
fn a_member_whose_files_are_damaged_gets_everything_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut nodes, leader) = formed(dir.path());
    let (hurt, other) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes[leader].ok(&["add_vhost", "orders"]);
    eventually("the members are noted", || {
        match nodes[hurt].path("members.json").exists() {
            true => Ok(()),
            false => Err("they are not".to_owned()),
        }
    });
    nodes.iter_mut().for_each(Node::kill);
    let vote = nodes[hurt].path("log/vote");
    let len = std::fs::metadata(&vote).unwrap().len();
    std::fs::write(&vote, vec![7; usize::try_from(len).unwrap()]).unwrap();
    // Nothing tells that the others have everything.
    nodes[hurt].start();
    assert!(nodes[hurt].has_refused());
    assert!(!nodes[hurt].path("damaged/member-1").exists());
    nodes[leader].start();
    nodes[other].start();
    let rest = [&nodes[leader], &nodes[other]];
    let leader = [leader, other][agreed_leader(&rest)];
    nodes[leader].ok(&["add_vhost", "invoices"]);
    // It knows the others from its last life.
    nodes[hurt].peers = "none".to_owned();
    nodes[hurt].start();
    nodes[hurt].begins_anew();
    nodes[hurt].is_whole();
    nodes[leader].ok(&["await_online_nodes", "3"]);
    nodes[leader].ok(&["transfer_leadership", nodes[hurt].name]);
    eventually("it leads", || match nodes[hurt].leader() {
        Some(name) if name == nodes[hurt].name => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let vhosts = nodes[hurt].ok(&["list_vhosts"]);
    assert!(
        vhosts.contains("orders") && vhosts.contains("invoices"),
        "{vhosts}"
    );
    assert!(nodes[hurt].path("damaged/member-1/log/vote").exists());
}
