//! Nodes that have run alone: a set begins with what one of them has, and takes nothing away from the others.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;

use super::nodes::{Node, PATIENCE, THREE, eventually, nodes, until_leads};
use super::passing::{QUEUE, connect, publish_confirmed, publisher};

const BODY: &[u8] = b"confirmed before there was a set";

/// Declares the queue and publishes a message to it, which is confirmed.
async fn publish(node: &Node) {
    let mut peer = publisher(node).await;
    publish_confirmed(&mut peer, BODY).await;
    peer.close_connection().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_begins_with_the_messages_of_the_node_that_has_some() {
    let dir = tempfile::tempdir().unwrap();
    let mut set = nodes(dir.path(), THREE);
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
        until_leads(&[a, b, c], index);
        // It comes back to the queue with the end of its channel.
        let mut peer = connect(node).await;
        let found = peer.get(1, QUEUE).await.map(|content| content.body);
        assert_eq!(found.as_deref(), Some(BODY), "{}", node.name);
        peer.close_connection().await;
    }
    assert!(a.path("before-join-1").exists());
    assert!(!b.path("before-join-1").exists() && !c.path("before-join-1").exists());
}

/// Lets one link to `target` through as soon as the test says so, and tells when it waits for that.
fn gate(target: String) -> (String, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (waits, waiting) = mpsc::channel();
    let (open, opened) = mpsc::channel();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let near = near?;
            if waits.send(()).is_err() || opened.recv().is_err() {
                break;
            }
            let far = TcpStream::connect(&target)?;
            let (to, from) = (near.try_clone()?, far.try_clone()?);
            std::thread::spawn(move || pump(from, to));
            std::thread::spawn(move || pump(near, far));
        }
        Ok::<_, io::Error>(())
    });
    (address, waiting, open)
}

fn pump(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    io::copy(&mut from, &mut to)?;
    to.shutdown(Shutdown::Both)
}

/// The node has looked whether it has anything, and asks the other set. What a client is told meanwhile holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_gets_a_message_while_it_asks_another_set_does_not_join_it() {
    let dir = tempfile::tempdir().unwrap();
    let [mut other, mut node] = ["a", "b"].map(|name| Node::alone(dir.path(), name));
    other.start();
    node.start();
    other.ok(&["list_vhosts"]);
    let mut peer = connect(&node).await;
    let (address, waiting, open) = gate(other.address.clone());
    let mut declare_and_publish = || {
        let published = async {
            peer.declare_durable(1, QUEUE, &[]).await;
            peer.confirm_select(1).await;
            publish_confirmed(&mut peer, BODY).await;
        };
        tokio::runtime::Handle::current().block_on(published);
    };
    let refusal = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let join = scope.spawn(|| node.try_ctl(&["join_cluster", &address]));
            waiting.recv_timeout(PATIENCE).unwrap();
            declare_and_publish();
            open.send(()).unwrap();
            join.join().unwrap().unwrap_err()
        })
    });
    // On a slow machine the other set does not answer in time.
    assert!(
        refusal.contains("queues or virtual hosts of its own") || refusal.contains("in time"),
        "{refusal}"
    );
    assert!(!node.path("before-join-1").exists());
    let mut peer = connect(&node).await;
    assert_eq!(peer.get_no_ack(1, QUEUE).await.unwrap().body, BODY);
}
