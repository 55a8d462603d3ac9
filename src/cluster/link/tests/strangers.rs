//! What answers and calls at a node's listener without knowing the secret.

use std::collections::HashSet;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::hello::{Account, GREETING, Greeting, Purpose};
use super::super::limits::{FRAME_MAX, STRANGERS_MAX};
use super::super::trust::{PROOF, Side};
use super::*;

/// Reads until the node closes the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = timeout(LONG, stream.read_to_end(&mut rest)).await;
    match read.expect("an end in time") {
        Ok(_) | Err(_) => rest,
    }
}

fn account(node: u64) -> Vec<u8> {
    let mut account = Vec::new();
    Account {
        node,
        set: None,
        wall_ms: Settable::default().wall_ns() / 1_000_000,
        purpose: Purpose::Lane(Lane::Raft),
        name: "leveret@stranger".to_owned(),
    }
    .encode(&mut account);
    account
}

fn sealed(message: &[u8], proof: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    [&length[..], message, proof].concat()
}

/// A connection whose handshake is complete, with bytes of the test's own after it.
async fn proven(node: &Node) -> TcpStream {
    let trust = by_secret(SECRET);
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mine = Greeting::new(VERSIONS).encode();
    stream.write_all(&mine).await.unwrap();
    let mut theirs = vec![0; GREETING];
    stream.read_exact(&mut theirs).await.unwrap();
    let account = account(99);
    let proof = trust.proof(Side::Dialing, &[&mine, &theirs, &account]);
    stream.write_all(&sealed(&account, &proof)).await.unwrap();
    let length = stream.read_u16().await.unwrap();
    let mut verdict = vec![0; usize::from(length) + PROOF];
    stream.read_exact(&mut verdict).await.unwrap();
    assert_eq!(verdict[0], 0);
    stream
}

#[tokio::test]
async fn bytes_of_another_protocol_get_no_answer() {
    let node = Node::start(given(1));
    for bytes in [
        &b"AMQP\0\0\x09\x01"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
    ] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        assert!(rest(&mut stream).await.is_empty());
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_but_versions_and_that_its_proof_is_wrong() {
    let node = Node::start(given(0x1122_3344_5566_7788));
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let mine = Greeting::new(VERSIONS).encode();
    stream.write_all(&mine).await.unwrap();
    let message = sealed(&account(99), &[7; PROOF]);
    stream.write_all(&message).await.unwrap();
    let answer = rest(&mut stream).await;
    let (greeting, verdict) = answer.split_at(GREETING);
    assert!(Greeting::decode(greeting).is_some());
    // A verdict without an account, and no proof that could be tried against guessed secrets.
    let mut expected = vec![0; 2 + 9 + PROOF];
    (expected[1], expected[2]) = (9, 1);
    assert_eq!(verdict, expected);
    assert!(node.echo.callers.lock().is_empty());
}

#[tokio::test]
async fn a_recorded_handshake_proves_nothing_a_second_time() {
    let node = Node::start(given(1));
    let trust = by_secret(SECRET);
    let mine = Greeting::new(VERSIONS).encode();
    let mut recorded = None;
    let mut verdicts = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(&mine).await.unwrap();
        let mut theirs = vec![0; GREETING];
        stream.read_exact(&mut theirs).await.unwrap();
        let message = recorded.get_or_insert_with(|| {
            let account = account(99);
            let proof = trust.proof(Side::Dialing, &[&mine, &theirs, &account]);
            sealed(&account, &proof)
        });
        stream.write_all(message).await.unwrap();
        let _length = stream.read_u16().await.unwrap();
        verdicts.push(stream.read_u8().await.unwrap());
    }
    // Welcome, and another secret.
    assert_eq!(verdicts, [0, 1]);
}

#[tokio::test]
async fn a_proof_cannot_be_sent_back_to_its_maker() {
    // The stranger accepts, and answers with what it is sent.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = vec![0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut bytes).await {
            stream.write_all(&bytes[..read]).await.unwrap();
        }
    });
    let node = Node::start(given(1));
    let peer = Peer {
        node: None,
        address: address.to_string(),
    };
    let answer = node.links.call(&peer, Lane::Raft, ECHO, vec![], LONG).await;
    assert!(
        matches!(answer, Err(LinkError::Stranger { .. })),
        "{answer:?}"
    );
}

#[tokio::test]
async fn nonces_are_not_repeated() {
    let node = Node::start(given(1));
    let mut seen = HashSet::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let greeting = Greeting::new(VERSIONS).encode();
        stream.write_all(&greeting).await.unwrap();
        let mut theirs = vec![0; GREETING];
        stream.read_exact(&mut theirs).await.unwrap();
        assert!(seen.insert(theirs) && seen.insert(greeting));
    }
}

#[tokio::test]
async fn frames_that_are_too_large_or_of_no_type_end_the_connection() {
    let node = Node::start(given(1));
    let too_large = u32::try_from(FRAME_MAX + 1).unwrap().to_be_bytes();
    let mut head = [0; 16];
    head[12] = 1;
    let mut no_type = head;
    no_type[12] = 9;
    head[..4].copy_from_slice(&too_large);
    for head in [head, no_type] {
        let mut stream = proven(&node).await;
        stream.write_all(&head).await.unwrap();
        assert!(rest(&mut stream).await.is_empty());
    }
}

#[tokio::test]
async fn a_frame_that_is_cut_reaches_no_service() {
    let node = Node::start(given(1));
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = proven(&node).await;
        let mut head = [0; 16];
        head[..4].copy_from_slice(&u32::try_from(FRAME_MAX).unwrap().to_be_bytes());
        head[12] = 1;
        stream.write_all(&head).await.unwrap();
        stream.write_all(&[0; 1000]).await.unwrap();
        streams.push(stream);
    }
    for mut stream in streams {
        stream.shutdown().await.unwrap();
        assert!(rest(&mut stream).await.is_empty());
    }
    let other = Node::start(given(2));
    let answer = other.call(&node, Lane::Raft, ECHO, Bytes::new()).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert_eq!(node.echo.callers.lock().len(), 1);
}

#[tokio::test]
async fn slow_strangers_are_bounded_and_keep_no_node_out() {
    let node = Node::start(given(1));
    let mut strangers = Vec::new();
    for _ in 0..3 * STRANGERS_MAX {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(b"lev").await.unwrap();
        strangers.push(stream);
    }
    let other = Node::start(given(2));
    let deadline = tokio::time::Instant::now() + LONG;
    while let Err(error) = other.call(&node, Lane::Raft, ECHO, Bytes::new()).await {
        assert!(tokio::time::Instant::now() < deadline, "{error:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Strangers beyond their share were closed, and the others follow when their time is over.
    for stranger in &mut strangers {
        assert!(rest(stranger).await.is_empty());
    }
}
