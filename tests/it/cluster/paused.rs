//! A leader that stood still while another one was elected answers nothing from its memory when it goes on.

use std::io::{Read, Write};
use std::net::TcpStream;

use leveret::wire::AMQPClass;
use leveret::wire::protocol::basic;

use super::nodes::{Node, PATIENCE, agreed_leader, nodes};
use crate::support::{Client, Event, Peer, eventually};

const QUEUE: &str = "jobs";
/// The more clients, the surer one of them is served before the node notices what has happened.
const CLIENTS: usize = 40;

async fn serves(node: &Node) {
    let ready = || node.check("ready-to-serve-clients") == "200";
    eventually("clients are served", ready).await;
}

/// A request whose answer is read later.
fn ask_whether_it_leads(node: &Node) -> TcpStream {
    let mut socket = TcpStream::connect(&node.management).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        "GET /api/health/checks/is-leader HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_paused_answers_no_client_from_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut set = nodes(dir.path(), ["a", "b", "c"]);
    set.iter_mut().for_each(Node::start);
    let leader = agreed_leader(&set.each_ref());
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    serves(&set[leader]).await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let address = set[leader].amqp.parse().unwrap();
        let mut client = Peer::connect(address, Client::default()).await;
        client.open(1).await;
        clients.push(client);
    }
    clients[0].declare_durable(1, QUEUE, &[]).await;
    set[leader].pause();
    let next = [one, other][agreed_leader(&[&set[one], &set[other]])];
    assert_ne!(next, leader);
    for client in &mut clients {
        let get = basic::Get {
            queue: QUEUE.into(),
            no_ack: true,
        };
        client.basic(1, basic::AMQPMethod::Get(get)).await;
    }
    let mut asked: Vec<_> = (0..CLIENTS)
        .map(|_| ask_whether_it_leads(&set[leader]))
        .collect();
    set[leader].resume();
    for client in &mut clients {
        match client.next().await {
            Event::Method(0, AMQPClass::Connection(_)) | Event::End => {}
            answer => panic!("the old leader answers {answer:?}"),
        }
    }
    for socket in &mut asked {
        let mut answer = String::new();
        // It may close the connection without a word.
        drop(socket.read_to_string(&mut answer));
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
