//! Nodes that have run alone: a set begins with what one of them has, and takes nothing away from the others.

use super::nodes::{Node, agreed_leader, eventually, nodes};
use super::passing::{QUEUE, connect, publish_confirmed};

const BODY: &[u8] = b"confirmed before there was a set";

/// Declares the queue and publishes a message to it, which is confirmed.
async fn publish(node: &Node) {
    let mut peer = connect(node).await;
    peer.declare_durable(1, QUEUE, &[]).await;
    peer.confirm_select(1).await;
    publish_confirmed(&mut peer, BODY).await;
    peer.close_connection().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_begins_with_the_messages_of_the_node_that_has_some() {
    let dir = tempfile::tempdir().unwrap();
    let mut set = nodes(dir.path(), ["a", "b", "c"]);
    // The first by name has what a first start writes, the last has never run.
    set[0].start_by_itself();
    set[0].ok(&["list_vhosts"]);
    set[0].stop();
    set[1].start_by_itself();
    publish(&set[1]).await;
    set[1].stop();
    set.iter_mut().for_each(Node::start);
    let [a, b, c] = &set;
    a.ok(&["await_online_nodes", "3"]);
    let voters = || {
        let members = a.status()["set"]["members"].clone();
        let members = members.as_array().cloned().unwrap_or_default();
        let voters = members.iter().filter(|member| member["role"] != "learner");
        voters.count()
    };
    eventually("all vote", || match voters() {
        3 => Ok(()),
        _ => Err(a.status()["set"].to_string()),
    });
    for (index, node) in set.iter().enumerate() {
        a.ok(&["transfer_leadership", node.name]);
        eventually("it leads", || match agreed_leader(&[a, b, c]) {
            leader if leader == index => Ok(()),
            other => Err(format!("{other}")),
        });
        // It comes back to the queue with the end of its channel.
        let mut peer = connect(node).await;
        let found = peer.get(1, QUEUE).await.map(|content| content.body);
        assert_eq!(found.as_deref(), Some(BODY), "{}", node.name);
        peer.close_connection().await;
    }
    assert!(a.path("before-join-1").exists());
    assert!(!b.path("before-join-1").exists() && !c.path("before-join-1").exists());
}
