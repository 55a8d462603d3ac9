//! The PROXY protocol: who may send a header, and whose address counts then.

use std::io;

use leveret::model::IpRange;
use leveret::net::{Capacity, Listener};
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certificates::{Certificates, tls_over};
use super::door::{Door, Limits};
use crate::support::PATIENCE;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Tells each client its address and the address that it connected to, and repeats four of its bytes.
fn open(listener: Listener, limits: Limits) -> Door {
    Door::on(listener, limits, |mut transport, peer, permit| async move {
        // Held to the end, as a front door holds it.
        let _permit = permit;
        let local = transport.local_addr().unwrap();
        let greeting = format!("{peer} {local} ");
        transport.write_all(greeting.as_bytes()).await.unwrap();
        transport.flush().await.unwrap();
        let mut own = [0; 4];
        if transport.read_exact(&mut own).await.is_ok() {
            transport.write_all(&own).await.unwrap();
            transport.shutdown().await.unwrap();
        }
    })
}

fn listener(trusted: &str) -> Listener {
    let trusted: IpRange = trusted.parse().unwrap();
    let listener = Listener::open(([127, 0, 0, 1], 0).into()).unwrap();
    listener.with_proxies([trusted].into())
}

/// The answer to bytes that arrive in pieces.
async fn answer(door: &Door, pieces: &[&[u8]]) -> io::Result<String> {
    let mut socket = TcpStream::connect(door.address).await?;
    socket.set_nodelay(true)?;
    for piece in pieces {
        socket.write_all(piece).await?;
        tokio::task::yield_now().await;
    }
    let mut text = String::new();
    timeout(PATIENCE, socket.read_to_string(&mut text))
        .await
        .expect("an end in time")?;
    Ok(text)
}

fn v2(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
    [V2, &[0x20 | command, family], &length, fields].concat()
}

#[tokio::test]
async fn headers_name_the_client() {
    let door = open(listener("127.0.0.0/8"), Limits::default());
    let four = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x16, 0x28];
    let six = [
        &[0x20, 1, 0xd, 0xb8][..],
        &[0; 11],
        &[9],
        &[0x20, 1, 0xd, 0xb8],
        &[0; 11],
        &[1],
        &[0x30, 0x39, 0x16, 0x28],
    ]
    .concat();
    let with_field = [&four[..], &[4, 0, 3, 1, 2, 3]].concat();
    for (header, expected) in [
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 5672\r\n".to_vec(),
            "192.0.2.7:12345 10.0.0.1:5672",
        ),
        (
            b"PROXY TCP6 2001:db8::9 2001:db8::1 12345 5672\r\n".to_vec(),
            "[2001:db8::9]:12345 [2001:db8::1]:5672",
        ),
        (v2(1, 0x11, &four), "192.0.2.7:12345 10.0.0.1:5672"),
        (v2(1, 0x11, &with_field), "192.0.2.7:12345 10.0.0.1:5672"),
        (v2(1, 0x21, &six), "[2001:db8::9]:12345 [2001:db8::1]:5672"),
    ] {
        let whole = [&header[..], b"AMQP"].concat();
        let expected = format!("{expected} AMQP");
        assert_eq!(answer(&door, &[&whole]).await.unwrap(), expected);
        // Byte by byte.
        let split: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(answer(&door, &split).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn headers_without_a_client_leave_the_proxys_address() {
    let door = open(listener("127.0.0.1"), Limits::default());
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 9 10\r\n".to_vec(),
        v2(0, 0, &[]),
        v2(1, 0, &[]),
    ] {
        let text = answer(&door, &[&header, b"AMQP"]).await.unwrap();
        assert!(
            text.starts_with("127.0.0.1:") && text.ends_with(&format!("{} AMQP", door.address)),
            "{text}"
        );
    }
}

#[tokio::test]
async fn anything_else_from_a_proxy_is_refused() {
    let door = open(listener("127.0.0.1"), Limits::default());
    let long = [b"PROXY TCP4 ", &[b'1'; 200][..], b"\r\n"].concat();
    for bytes in [
        b"AMQP\0\0\x09\x01AMQP".to_vec(),
        b"PROXY NONSENSE\r\nAMQP".to_vec(),
        b"PROXY TCP4 300.0.0.1 10.0.0.1 1 2\r\nAMQP".to_vec(),
        long,
        v2(1, 0x11, &[1, 2, 3]),
        v2(7, 0x11, &[0; 12]),
        v2(1, 0x11, &[0; 3000]),
    ] {
        let text = answer(&door, &[&bytes]).await.unwrap_or_default();
        assert_eq!(text, "", "{:?}", bytes.escape_ascii().to_string());
    }
}

#[tokio::test]
async fn others_cannot_pretend_to_be_proxies() {
    let door = open(listener("10.0.0.0/8"), Limits::default());
    let text = answer(&door, &[b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 5672\r\n"]).await;
    let text = text.unwrap_or_default();
    assert!(
        text.is_empty() || (text.starts_with("127.0.0.1:") && text.ends_with(" PROX")),
        "{text}"
    );
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let certificates = Certificates::new();
    let tls = leveret::net::Tls::load(certificates.settings()).unwrap();
    let door = open(
        listener("127.0.0.1").with_tls(tls.into()),
        Limits::default(),
    );
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    socket
        .write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 5671\r\n")
        .await
        .unwrap();
    let connector = certificates.connector(&[&TLS13], None);
    let mut peer = tls_over(&connector, socket).await.unwrap();
    peer.write_all(b"AMQP").await.unwrap();
    peer.flush().await.unwrap();
    let mut text = String::new();
    timeout(PATIENCE, peer.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, "192.0.2.7:12345 10.0.0.1:5671 AMQP");
}

#[tokio::test]
async fn the_clients_of_one_proxy_do_not_share_the_limit_of_an_address() {
    let capacity = Capacity {
        authenticated: 4,
        newcomers: 8,
    };
    let door = open(
        listener("127.0.0.1"),
        Limits {
            capacity,
            ..Limits::default()
        },
    );
    let mut waiting = Vec::new();
    // More than half of the newcomers come through the proxy, from addresses of their own.
    for client in 0..8 {
        let mut socket = TcpStream::connect(door.address).await.unwrap();
        let header = format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 12345 5672\r\n");
        socket.write_all(header.as_bytes()).await.unwrap();
        waiting.push(socket);
    }
    for (client, socket) in waiting.iter_mut().enumerate() {
        socket.write_all(b"AMQP").await.unwrap();
        let mut text = String::new();
        timeout(PATIENCE, socket.read_to_string(&mut text))
            .await
            .unwrap()
            .unwrap();
        assert!(text.starts_with(&format!("192.0.2.{client}:")), "{text}");
    }
    // One address has half of them.
    let mut same = Vec::new();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(door.address).await.unwrap();
        let header = b"PROXY TCP4 192.0.2.9 10.0.0.1 12345 5672\r\n";
        socket.write_all(header).await.unwrap();
        // The greeting shows that the address is known. The fifth may find no place.
        let greeted = timeout(PATIENCE, socket.read(&mut [0])).await.unwrap();
        assert!(same.len() == 4 || greeted.unwrap() == 1);
        same.push(socket);
    }
    let mut ended = 0;
    for socket in &mut same {
        let sent = socket.write_all(b"AMQP").await;
        let mut text = String::new();
        let read = timeout(PATIENCE, socket.read_to_string(&mut text))
            .await
            .unwrap();
        ended += usize::from(sent.is_err() || read.is_err() || !text.ends_with("AMQP"));
    }
    assert_eq!(ended, 1, "one of five");
}
