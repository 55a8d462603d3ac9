//! Floods of connections: silent ones lock out no client, and one connection too many is refused.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use leveret::cmq::error::CmqError;
use leveret::net::Capacity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::cmq;
use crate::support::reply_code::NOT_ALLOWED;
use crate::support::{Client, PATIENCE, Peer, TestServer};

/// For this long a new connection may be silent before it has to make room for another, and a little more.
const NEWCOMER_GRACE: Duration = Duration::from_millis(150);

/// Opens sockets that send nothing.
async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(TcpStream::connect(address).await.unwrap());
    }
    sockets
}

/// Waits for the end of a connection, in order or by a reset.
async fn assert_ended(socket: &mut TcpStream) {
    let ended = timeout(PATIENCE, socket.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_do_not_keep_amqp_clients_out() {
    let connections = Capacity {
        authenticated: 3,
        newcomers: 20,
    };
    let server = TestServer::start_with(|settings| settings.connections = connections).await;
    let mut before = Peer::new(&server).await;
    let mut sockets = silent(server.address, 300).await;
    sleep(NEWCOMER_GRACE).await;
    let mut during = timeout(PATIENCE, Peer::new(&server)).await.unwrap();
    for peer in [&mut before, &mut during] {
        peer.declare(1, "q").await;
    }
    // The oldest silent connections had to make room.
    assert_ended(&mut sockets[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_amqp_connection_too_many_is_refused_in_rabbitmqs_words() {
    let connections = Capacity {
        authenticated: 2,
        newcomers: 8,
    };
    let server = TestServer::start_with(|settings| settings.connections = connections).await;
    let first = Peer::new(&server).await;
    let _second = Peer::new(&server).await;
    let mut third = Peer::connect_to_open(server.address, Client::default()).await;
    let text = "NOT_ALLOWED - connection refused: node connection limit (2) is reached";
    assert_eq!(third.closed().await, (NOT_ALLOWED, text.to_owned()));
    drop(first);
    let accepted = async {
        while !Peer::is_accepted(server.address).await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let freed = timeout(PATIENCE, accepted).await;
    assert!(
        freed.is_ok(),
        "the place of a closed connection stays taken"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_and_dripping_connections_do_not_keep_cmq_clients_out() {
    let connections = Capacity {
        authenticated: 10,
        newcomers: 40,
    };
    let server = TestServer::start_with_cmq(|config| config.connections = connections).await;
    let mut before = cmq::client(&server).await;
    before.ok("CreateQueue", &[("queueName", "q")]).await;
    let mut sockets = silent(server.cmq, 400).await;
    let mut more = Vec::new();
    for n in 0..160 {
        let mut stream = TcpStream::connect(server.cmq).await.unwrap();
        let start: &[u8] = match n % 2 {
            0 => b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\nmsgBody=x",
            _ => b"GET /?msg",
        };
        // The broker may have closed it already.
        stream.write_all(start).await.unwrap_or_default();
        more.push(stream);
    }
    let dripping = tokio::spawn(async move {
        loop {
            for stream in &mut more {
                stream.write_all(b"x").await.unwrap_or_default();
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    sleep(NEWCOMER_GRACE).await;
    let began = Instant::now();
    let body = "x".repeat(60_000);
    let send = [("queueName", "q"), ("msgBody", body.as_str())];
    let mut during = before.another().await;
    for client in [&mut during, &mut before] {
        client.ok("SendMessage", &send).await;
    }
    // Long before the timeout of the silent connections.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(server.ready("q"), 2);
    assert_ended(&mut sockets[0]).await;
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_signed_request_in_time_is_closed() {
    let server = TestServer::start_with_cmq(|config| {
        config.newcomer_timeout = Duration::from_millis(300);
    })
    .await;
    let mut silent = TcpStream::connect(server.cmq).await.unwrap();
    let mut unsigned = cmq::client(&server).await;
    unsigned.raw(b"GET /?a=b HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(
        cmq::Refusal::of(&unsigned.answer().await),
        CmqError::Missing("Action".into())
    );
    let mut known = cmq::client(&server).await;
    known.ok("CreateQueue", &[("queueName", "q")]).await;
    timeout(PATIENCE, unsigned.ended()).await.unwrap();
    assert_ended(&mut silent).await;
    // A connection with a signed request may stay silent for longer.
    let wait = [("queueName", "q"), ("pollingWaitSeconds", "1")];
    assert_eq!(
        known.refused("ReceiveMessage", &wait).await,
        CmqError::NoMessage
    );
    known.ok("ListQueue", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cmq_connection_too_many_is_served_and_then_closed() {
    let connections = Capacity {
        authenticated: 1,
        newcomers: 8,
    };
    let server = TestServer::start_with_cmq(|config| config.connections = connections).await;
    let mut first = cmq::client(&server).await;
    first.ok("CreateQueue", &[("queueName", "q")]).await;
    let mut second = first.another().await;
    second.ok("ListQueue", &[]).await;
    timeout(PATIENCE, second.ended()).await.unwrap();
    first.ok("ListQueue", &[]).await;
}
