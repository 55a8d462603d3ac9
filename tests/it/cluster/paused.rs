//! A leader that stood still while another one was elected answers nothing from its memory when it goes on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use leveret::wire::AMQPClass;
use leveret::wire::protocol::{basic, connection};

use super::nodes::{Node, PATIENCE, agreed_leader, formed};
use super::passing::{QUEUE, connect};
use crate::support::{Event, Peer, long, text};

/// The more clients, the surer one of them is served before the node notices what has happened.
const CLIENTS: usize = 40;
/// Longer than it takes until held-back publishers are told.
const TTL: Duration = Duration::from_secs(4);

/// A request whose answer is read later.
fn ask_whether_it_leads(node: &Node) -> TcpStream {
    let mut socket = TcpStream::connect(&node.management).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        "GET /api/health/checks/is-leader HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// Clients that are connected to this node.
async fn clients(node: &Node) -> Vec<Peer> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(connect(node).await);
    }
    clients
}

/// The leader stands still from now on, until the others follow one of them.
fn pause_until_another_leads(set: &[Node; 3], leader: usize) {
    set[leader].pause();
    let others = [(leader + 1) % 3, (leader + 2) % 3].map(|other| &set[other]);
    agreed_leader(&others);
}

/// The queue gets room the moment that the leader goes on, and all of them learn that together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_paused_ends_the_publishers_that_a_full_queue_holds_back() {
    let dir = tempfile::tempdir().unwrap();
    let (set, leader) = formed(dir.path());
    let mut clients = clients(&set[leader]).await;
    let arguments = [
        ("x-max-length", long(1)),
        ("x-message-ttl", long(TTL.as_millis().try_into().unwrap())),
        ("x-overflow", text("block-publish")),
    ];
    clients[0].declare_durable(1, QUEUE, &arguments).await;
    for client in &mut clients {
        client.publish(1, QUEUE, b"job").await;
        client.publish(1, QUEUE, b"job").await;
    }
    let over = Instant::now() + TTL;
    for client in &mut clients {
        assert!(is_blocked(client.next().await));
    }
    pause_until_another_leads(&set, leader);
    tokio::time::sleep_until(over.into()).await; // the message's time ends while the leader stands still
    set[leader].resume();
    for client in &mut clients {
        loop {
            match client.next().await {
                Event::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(_)))
                | Event::End => break,
                Event::Method(0, AMQPClass::Connection(_)) => {} // it may publish again
                other => panic!("{other:?}"),
            }
        }
    }
}

fn is_blocked(event: Event) -> bool {
    matches!(
        event,
        Event::Method(0, AMQPClass::Connection(connection::AMQPMethod::Blocked(_)))
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_paused_answers_no_client_from_its_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (set, leader) = formed(dir.path());
    let mut clients = clients(&set[leader]).await;
    clients[0].declare_durable(1, QUEUE, &[]).await;
    pause_until_another_leads(&set, leader);
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
