//! Bytes through TLS: order and completeness for any sizes, ends, and bounds of memory.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use leveret::net::{Tls, Transport};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::certificates::{Certificates, connect};
use super::door::{Door, Limits};
use crate::support::PATIENCE;

fn tls(certificates: &Certificates) -> Arc<Tls> {
    Arc::new(Tls::load(certificates.settings()).unwrap())
}

/// Returns everything to the peer by reads and writes that do not wait, as AMQP's rounds do.
async fn echo_by_rounds(mut transport: Transport, room: usize, piece: usize) -> io::Result<()> {
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut is_over = false;
    while !is_over || !output.is_empty() {
        let mut moved = false;
        if !is_over && output.len() < 256 * 1024 {
            input.reserve(room);
            match transport.try_read(&mut input) {
                Ok(0) => is_over = true,
                Ok(_) => moved = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => moved = true,
                Err(error) => return Err(error),
            }
            output.unsplit(input.split());
        }
        if !output.is_empty() {
            let (first, rest) = output.split_at(piece.min(output.len()));
            let slices = [IoSlice::new(first), IoSlice::new(rest)];
            match transport.try_write_vectored(&slices) {
                Ok(taken) => {
                    output.advance(taken);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !moved {
            let interest = match output.is_empty() {
                true => Interest::READABLE,
                false if is_over => Interest::WRITABLE,
                false => Interest::READABLE | Interest::WRITABLE,
            };
            transport.ready(interest).await?;
        }
    }
    transport.shutdown().await
}

/// Returns everything to the peer by poll, as hyper reads and writes.
async fn echo_by_poll(mut transport: Transport, room: usize) -> io::Result<()> {
    let mut buffer = vec![0; room];
    loop {
        let read = transport.read(&mut buffer).await?;
        if read == 0 {
            return transport.shutdown().await;
        }
        transport.write_all(&buffer[..read]).await?;
        transport.flush().await?;
    }
}

/// Sends `sizes` pieces, and reads `read` bytes at a time what comes back.
async fn exchange(
    door: &Door,
    connector: &tokio_rustls::TlsConnector,
    sizes: &[usize],
    read: usize,
) {
    let stream = connect(connector, door.address).await.unwrap();
    let (mut from, mut to) = tokio::io::split(stream);
    let pieces: Vec<Vec<u8>> = (0_u8..)
        .zip(sizes)
        .map(|(i, &size)| vec![i; size])
        .collect();
    let expected = pieces.concat();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            to.write_all(&piece).await.unwrap();
            to.flush().await.unwrap();
        }
        to.shutdown().await.unwrap();
    });
    let mut came = Vec::new();
    let mut buffer = vec![0; read];
    loop {
        let next = timeout(PATIENCE, from.read(&mut buffer))
            .await
            .expect("bytes in time");
        match next.expect("a clean end") {
            0 => break,
            bytes => came.extend_from_slice(&buffer[..bytes]),
        }
    }
    sending.await.unwrap();
    assert!(
        came == expected,
        "{} of {} bytes came back",
        came.len(),
        expected.len()
    );
}

#[test]
fn all_bytes_come_back_in_order_whatever_the_sizes() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let certificates = Certificates::new();
    let tls = tls(&certificates);
    let connectors = [&TLS12, &TLS13].map(|version| certificates.connector(&[version], None));
    let sizes = proptest::collection::vec(
        prop_oneof![1..64_usize, 1..20_000_usize, 60_000..400_000_usize],
        0..8,
    );
    let mut runner = TestRunner::new(ProptestConfig::with_cases(25));
    let strategy = (
        sizes,
        1..70_000_usize,
        1..70_000_usize,
        1..40_000_usize,
        0..2_usize,
        any::<bool>(),
    );
    let run = runner.run(&strategy, |(sizes, read, room, piece, version, by_poll)| {
        runtime.block_on(async {
            let door = Door::open(
                &tls,
                Limits::default(),
                move |transport, _, _permit| async move {
                    let echoed = match by_poll {
                        true => echo_by_poll(transport, room).await,
                        false => echo_by_rounds(transport, room, piece).await,
                    };
                    echoed.unwrap();
                },
            );
            exchange(&door, &connectors[version], &sizes, read).await;
        });
        Ok(())
    });
    run.unwrap();
}

#[tokio::test]
async fn a_peer_that_reads_nothing_holds_little_memory() {
    let certificates = Certificates::new();
    let tls = tls(&certificates);
    let (told, mut accepted) = mpsc::channel(1);
    let door = Door::open(&tls, Limits::default(), move |mut transport, _, _permit| {
        let told = told.clone();
        async move {
            let bytes = vec![7; 1 << 20];
            let mut sent = 0;
            // Far more than the buffers of two sockets hold.
            while sent < (256 << 20) {
                match transport.try_write_vectored(&[IoSlice::new(&bytes)]) {
                    Ok(taken) => sent += taken,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                        // The system may move bytes to the peer's side for a moment.
                        if timeout(
                            Duration::from_millis(500),
                            transport.ready(Interest::WRITABLE),
                        )
                        .await
                        .is_err()
                        {
                            break;
                        }
                    }
                }
            }
            told.send((sent, transport)).await.unwrap();
        }
    });
    let connector = certificates.connector(&[&TLS13], None);
    let mut peer = connect(&connector, door.address).await.unwrap();
    let (sent, mut transport) = accepted.recv().await.unwrap();
    assert!(sent < (256 << 20), "the stream took everything");
    // All that was taken arrives, once the peer reads and while the broker only waits for something to read.
    let mut came = 0;
    let mut buffer = vec![0; 1 << 16];
    while came < sent {
        let next = async {
            tokio::select! {
                read = peer.read(&mut buffer) => read.unwrap(),
                ready = transport.ready(Interest::READABLE) => panic!("nothing was sent: {ready:?}"),
            }
        };
        came += timeout(PATIENCE, next).await.expect("bytes in time");
    }
    assert_eq!(came, sent);
}

#[tokio::test]
async fn each_end_is_seen() {
    let certificates = Certificates::new();
    let tls = tls(&certificates);
    let (told, mut seen) = mpsc::channel(8);
    let door = Door::open(&tls, Limits::default(), move |mut transport, _, _permit| {
        let told = told.clone();
        async move {
            let mut input = BytesMut::with_capacity(100);
            let end = loop {
                match transport.try_read(&mut input) {
                    Ok(0) => break "end".to_owned(),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        transport.ready(Interest::READABLE).await.unwrap();
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break error.kind().to_string(),
                }
            };
            told.send((String::from_utf8(input.to_vec()).unwrap(), end))
                .await
                .unwrap();
        }
    });
    let connector = certificates.connector(&[&TLS13], None);
    // A goodbye.
    let mut peer = connect(&connector, door.address).await.unwrap();
    peer.write_all(b"one").await.unwrap();
    peer.shutdown().await.unwrap();
    assert_eq!(
        seen.recv().await.unwrap(),
        ("one".to_owned(), "end".to_owned())
    );
    // The broker's goodbye: the peer sees a clean end, not a cut.
    assert_eq!(peer.read(&mut [0; 8]).await.unwrap(), 0);
    // A socket that ends in the middle of a record.
    let mut peer = connect(&connector, door.address).await.unwrap();
    peer.write_all(b"two").await.unwrap();
    peer.flush().await.unwrap();
    let (mut socket, _) = peer.into_inner();
    socket
        .write_all(&[23, 3, 3, 0, 200, 1, 2, 3])
        .await
        .unwrap();
    drop(socket);
    assert_eq!(
        seen.recv().await.unwrap(),
        ("two".to_owned(), "end".to_owned())
    );
    // Bytes that are no TLS.
    let mut peer = connect(&connector, door.address).await.unwrap();
    peer.write_all(b"three").await.unwrap();
    peer.flush().await.unwrap();
    let (mut socket, _) = peer.into_inner();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(
        seen.recv().await.unwrap(),
        ("three".to_owned(), "invalid data".to_owned())
    );
}
