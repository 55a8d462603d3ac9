//! TLS handshakes that go wrong: peers that stall, speak something else, or leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret::net::{Capacity, Tls, TlsVersion};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificates::{Certificates, connect};
use super::door::{Door, Limits};
use crate::support::PATIENCE;

/// Greets each connection and waits for its end.
fn greeting_door(tls: &Arc<Tls>, limits: Limits) -> Door {
    Door::open(tls, limits, |mut transport, _, permit| async move {
        permit.admit();
        transport.write_all(b"hello").await.unwrap();
        transport.flush().await.unwrap();
        drop(transport.read(&mut [0]).await);
    })
}

async fn is_greeted(connector: TlsConnector, address: SocketAddr) -> bool {
    let Ok(mut peer) = connect(&connector, address).await else {
        return false;
    };
    let mut greeting = [0; 5];
    peer.read_exact(&mut greeting).await.is_ok() && &greeting == b"hello"
}

#[tokio::test]
async fn peers_that_stall_in_their_handshake_are_ended_and_keep_nobody_out() {
    let certificates = Certificates::new();
    let tls = Arc::new(Tls::load(certificates.settings()).unwrap());
    let limits = Limits {
        capacity: Capacity {
            authenticated: 2,
            newcomers: 8,
        },
        patience: Duration::from_secs(3),
    };
    let door = greeting_door(&tls, limits);
    let mut stalled = Vec::new();
    for n in 0..40 {
        let mut peer = TcpStream::connect(door.address).await.unwrap();
        // The begin of a ClientHello.
        let begin: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252];
        // The broker may have ended it already.
        drop(peer.write_all(&begin[..n % begin.len()]).await);
        stalled.push(peer);
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    let connector = certificates.connector(&[&TLS13], None);
    assert!(
        timeout(PATIENCE, is_greeted(connector, door.address))
            .await
            .unwrap()
    );
    for peer in &mut stalled {
        let end = timeout(PATIENCE, peer.read(&mut [0; 8]))
            .await
            .expect("an end in time");
        assert!(matches!(end, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_peer_that_speaks_plain_amqp_gets_an_alert() {
    let certificates = Certificates::new();
    let tls = Arc::new(Tls::load(certificates.settings()).unwrap());
    let door = greeting_door(&tls, Limits::default());
    let mut peer = TcpStream::connect(door.address).await.unwrap();
    peer.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, peer.read_to_end(&mut answer))
        .await
        .expect("an end in time")
        .unwrap();
    // An alert: content type 21, level fatal.
    assert_eq!(
        (answer.first(), answer.get(5)),
        (Some(&21), Some(&2)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn only_the_configured_versions_are_spoken() {
    let certificates = Certificates::new();
    for (ours, spoken) in [
        (TlsVersion::V1_2, [true, false]),
        (TlsVersion::V1_3, [false, true]),
    ] {
        let mut settings = certificates.settings();
        settings.versions = vec![ours];
        let door = greeting_door(&Arc::new(Tls::load(settings).unwrap()), Limits::default());
        for (version, is_spoken) in [&TLS12, &TLS13].into_iter().zip(spoken) {
            let connector = certificates.connector(&[version], None);
            let connected = connect(&connector, door.address).await;
            assert_eq!(connected.is_ok(), is_spoken, "{ours:?} {version:?}");
        }
    }
}

#[tokio::test]
async fn many_handshakes_at_a_time_all_succeed() {
    let certificates = Certificates::new();
    let tls = Arc::new(Tls::load(certificates.settings()).unwrap());
    let door = greeting_door(&tls, Limits::default());
    let connector = certificates.connector(&[&TLS13], None);
    let mut all = JoinSet::new();
    for _ in 0..40 {
        all.spawn(is_greeted(connector.clone(), door.address));
    }
    while let Some(greeted) = timeout(PATIENCE, all.join_next())
        .await
        .expect("a handshake in time")
    {
        assert!(greeted.unwrap());
    }
}
