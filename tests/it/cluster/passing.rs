//! Clients of nodes that follow: the leader serves them, and they see no difference.

use leveret::wire::AMQPClass;
use leveret::wire::protocol::basic;

use super::nodes::{Node, formed};
use crate::support::{Client, Peer, eventually, eventually_eq};

pub(super) const QUEUE: &str = "jobs";
/// Several frames, and more than the buffers on the way.
const LARGE: usize = 3_000_000;

/// Waits until clients of this node are served.
pub(super) async fn serves(node: &Node) {
    let ready = || node.check("ready-to-serve-clients") == "200";
    eventually("clients are served", ready).await;
}

/// A client of this node, with channel 1, as soon as the node or its leader serves clients.
pub(super) async fn connect(node: &Node) -> Peer {
    serves(node).await;
    let mut peer = Peer::connect(node.amqp.parse().unwrap(), Client::default()).await;
    peer.open(1).await;
    peer
}

/// Such a client, which gets confirms and has declared the queue.
pub(super) async fn publisher(node: &Node) -> Peer {
    let mut peer = connect(node).await;
    peer.declare_durable(1, QUEUE, &[]).await;
    peer.confirm_select(1).await;
    peer
}

pub(super) async fn publish_confirmed(peer: &mut Peer, body: &[u8]) {
    peer.publish(1, QUEUE, body).await;
    let (_, confirm) = peer.method().await;
    let acked = AMQPClass::Basic(basic::AMQPMethod::Ack(basic::Ack::default()));
    assert_eq!(confirm.get_amqp_method_id(), acked.get_amqp_method_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_follower_are_served_by_the_leader_and_go_on_when_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut set, leader) = formed(dir.path());
    let follower = (leader + 1) % set.len();
    let mut peer = publisher(&set[follower]).await;
    publish_confirmed(&mut peer, b"one").await;
    publish_confirmed(&mut peer, &vec![7; LARGE]).await;
    assert_eq!(peer.get_no_ack(1, QUEUE).await.unwrap().body, b"one");
    // The leader knows the client by its own address, and where it has connected.
    let (_, port) = set[follower].amqp.rsplit_once(':').unwrap();
    let listed = set[leader].ok(&["list_connections", "peer_host", "port", "--quiet"]);
    assert!(listed.contains(&format!("127.0.0.1\t{port}")), "{listed}");
    for (index, node) in set.iter().enumerate() {
        let expected = if index == leader { "200" } else { "503" };
        assert_eq!(node.check("is-leader"), expected, "{}", node.name);
        assert_eq!(node.check("ready-to-serve-clients"), "200");
    }

    set[leader].kill();
    let mut peer = connect(&set[follower]).await;
    let ready =
        || set[follower].try_ctl(&["list_queues", "messages", "--quiet", "--no-table-headers"]);
    eventually_eq("the message is there", Ok("1\n".to_owned()), ready).await;
    assert_eq!(peer.get_no_ack(1, QUEUE).await.unwrap().body.len(), LARGE);
    assert_eq!(peer.get_no_ack(1, QUEUE).await, None);
}
