//! Floods of connections: those that say nothing keep nobody out, and the store keeps its files.

use std::time::{Duration, Instant};

use leveret::accept::Capacity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::cmq;
use crate::support::{Client, PATIENCE, Peer, TestServer};

/// Sockets that are open and say nothing, as many as the machine lets be.
async fn silent(address: std::net::SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(TcpStream::connect(address).await.unwrap());
    }
    sockets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqp_clients_connect_whatever_says_nothing() {
    let connections = Capacity {
        known: 3,
        newcomers: 20,
    };
    let server = TestServer::start_with(|settings| settings.connections = connections).await;
    let mut before = Peer::new(&server).await;
    let mut sockets = silent(server.address, 300).await;
    // The last of them may still be within their grace.
    sleep(Duration::from_millis(150)).await;
    let mut during = timeout(PATIENCE, Peer::new(&server)).await.unwrap();
    for peer in [&mut before, &mut during] {
        peer.declare(1, "q").await;
    }
    // Those that waited longest were hung up on.
    let ended = timeout(PATIENCE, sockets[0].read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_refused_in_rabbitmqs_words() {
    let connections = Capacity {
        known: 2,
        newcomers: 8,
    };
    let server = TestServer::start_with(|settings| settings.connections = connections).await;
    let first = Peer::new(&server).await;
    let _second = Peer::new(&server).await;
    let mut third = Peer::asking(server.address, Client::default()).await;
    let text = "NOT_ALLOWED - connection refused: node connection limit (2) is reached";
    assert_eq!(third.closed().await, (530, text.to_owned()));
    drop(first);
    // The broker notices when it reads.
    let mut tries = 0;
    while !Peer::is_let_in(server.address).await {
        tries += 1;
        assert!(tries < 500, "there is a place again");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cmq_clients_are_served_whatever_says_nothing_or_little() {
    let connections = Capacity {
        known: 10,
        newcomers: 40,
    };
    let server = TestServer::start_with_cmq(|config| config.connections = connections).await;
    let mut before = cmq::client(&server).await;
    before.ok("CreateQueue", &[("queueName", "q")]).await;
    let mut sockets = silent(server.cmq, 400).await;
    let mut more = Vec::new();
    for n in 0..160 {
        let mut stream = TcpStream::connect(server.cmq).await.unwrap();
        let begun: &[u8] = match n % 2 {
            0 => b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\nmsgBody=x",
            _ => b"GET /?msg",
        };
        // It may have been hung up on already.
        stream.write_all(begun).await.unwrap_or_default();
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
    sleep(Duration::from_millis(150)).await;
    let begun = Instant::now();
    let body = "x".repeat(60_000);
    let send = [("queueName", "q"), ("msgBody", body.as_str())];
    let mut during = before.another().await;
    for client in [&mut during, &mut before] {
        client.ok("SendMessage", &send).await;
    }
    // Long before those who say nothing have to go.
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(server.numbers("q").0, 2);
    let ended = timeout(PATIENCE, sockets[0].read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_nothing_in_time_is_hung_up_on() {
    let server = TestServer::start_with_cmq(|config| {
        config.newcomer_timeout = Duration::from_millis(300);
    })
    .await;
    let mut silent = TcpStream::connect(server.cmq).await.unwrap();
    let mut unsigned = cmq::client(&server).await;
    unsigned.raw(b"GET /?a=b HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(cmq::codes(&unsigned.answer().await), (4000, 10390));
    let mut known = cmq::client(&server).await;
    known.ok("CreateQueue", &[("queueName", "q")]).await;
    timeout(PATIENCE, unsigned.ended()).await.unwrap();
    let ended = timeout(PATIENCE, silent.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    // Who is known may wait for long, and say nothing between.
    let wait = [("queueName", "q"), ("pollingWaitSeconds", "1")];
    assert_eq!(known.refused("ReceiveMessage", &wait).await, (7000, 10200));
    known.ok("ListQueue", &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cmq_client_too_many_is_served_and_not_kept() {
    let connections = Capacity {
        known: 1,
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
