//! A member whose log is damaged where a start does not look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::{Client, Peer};

use super::nodes::{Node, formed};
use super::passing::{QUEUE, connect, publish_confirmed, publisher};

const BODY: &[u8] = b"a body that is damaged afterwards";
/// Enough that Raft, which looks for the beginning of a term by halves, reads one of their entries.
const MESSAGES: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_damaged_bodies_in_its_log_gets_everything_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut set, leader) = formed(dir.path());
    let hurt = (leader + 1) % set.len();
    let mut peer = publisher(&set[leader]).await;
    for _ in 0..MESSAGES {
        publish_confirmed(&mut peer, BODY).await;
    }
    set[leader].ok(&["await_online_nodes", "3"]);
    set[hurt].kill();
    assert!(damage_bodies(&set[hurt]) > MESSAGES / 2);
    set[hurt].start();
    set[hurt].begins_anew();
    set[hurt].is_whole();
    set[leader].ok(&["transfer_leadership", set[hurt].name]);
    let mut peer = connect(&set[hurt]).await;
    for _ in 0..MESSAGES {
        assert_eq!(peer.get_no_ack(1, QUEUE).await.unwrap().body, BODY);
    }
}

/// Takes messages until there are none or the connection ends.
async fn take_all(amqp: String, bodies: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut peer = Peer::connect(amqp.parse().unwrap(), Client::default()).await;
    peer.open(1).await;
    while let Some(content) = peer.get_no_ack(1, QUEUE).await {
        bodies.lock().push(content.body);
    }
}

/// Flips a bit in each body that the log of a killed node has; returns how many there are.
fn damage_bodies(node: &Node) -> usize {
    let log = node.path("log/0.log");
    let mut octets = std::fs::read(&log).unwrap();
    let bodies = octets.windows(BODY.len()).enumerate();
    let found: Vec<usize> = bodies
        .filter(|(_, seen)| *seen == BODY)
        .map(|(at, _)| at)
        .collect();
    for at in &found {
        octets[*at] ^= 1;
    }
    std::fs::write(&log, octets).unwrap();
    found.len()
}

/// A start reads no body, so the damage shows when this node leads and a queue reads it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_read_a_message_leaves_none_out_and_gets_it_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut set, leader) = formed(dir.path());
    let hurt = (leader + 1) % set.len();
    let mut peer = publisher(&set[leader]).await;
    publish_confirmed(&mut peer, BODY).await;
    // Raft reads the entries at the end of the log.
    for _ in 0..MESSAGES {
        publish_confirmed(&mut peer, b"whole").await;
    }
    set[leader].ok(&["await_online_nodes", "3"]);
    set[hurt].kill();
    assert_eq!(damage_bodies(&set[hurt]), 1);
    set[hurt].start();
    set[leader].ok(&["await_online_nodes", "3"]);
    set[leader].ok(&["transfer_leadership", set[hurt].name]);
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while bodies.lock().len() <= MESSAGES {
        assert!(
            Instant::now() < deadline,
            "{} messages",
            bodies.lock().len()
        );
        // It ends with its connection when the node gives up its files.
        drop(tokio::spawn(take_all(set[leader].amqp.clone(), bodies.clone())).await);
    }
    let bodies = std::mem::take(&mut *bodies.lock());
    assert_eq!(bodies[0], BODY);
    assert_eq!(
        bodies.iter().filter(|body| *body == b"whole").count(),
        MESSAGES
    );
    set[hurt].begins_anew();
}
