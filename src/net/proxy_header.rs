//! The PROXY protocol, versions 1 and 2: a proxy begins each connection with a header that names the real client.
//! Reads the header and not a byte more, since the client's own bytes follow.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const PREFIX: &[u8] = b"PROXY ";
/// Length of the longest header of version 1.
const LINE_MAX: usize = 107;
/// Bytes of version 2 before its addresses.
const FIXED: usize = 16;
/// Maximum number of bytes of addresses and further fields in version 2; more than any proxy sends.
const FIELDS_MAX: usize = 2048;

/// Whom a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// The client, and the address that it connected to.
    Client { peer: SocketAddr, local: SocketAddr },
    /// The proxy itself, or a client without an address: a health check.
    Proxy,
}

/// Reads the header. The caller limits the time.
pub(super) async fn read_header(socket: &mut TcpStream) -> io::Result<Named> {
    // No header of either version is shorter.
    let mut header = vec![0; SIGNATURE.len()];
    socket.read_exact(&mut header).await?;
    if header == SIGNATURE {
        read_more(socket, &mut header, FIXED - SIGNATURE.len()).await?;
        let length = match header.last_chunk::<2>() {
            Some(length) => usize::from(u16::from_be_bytes(*length)),
            None => 0,
        };
        if length > FIELDS_MAX {
            return Err(invalid("a header of the PROXY protocol is too long"));
        }
        read_more(socket, &mut header, length).await?;
        return parse_v2(&header);
    }
    if !header.starts_with(PREFIX) {
        return Err(invalid(
            "a trusted proxy sent no header of the PROXY protocol",
        ));
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= LINE_MAX {
            return Err(invalid("a header of the PROXY protocol is too long"));
        }
        read_more(socket, &mut header, 1).await?;
    }
    parse_v1(&header)
}

async fn read_more(socket: &mut TcpStream, header: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    let begun = header.len();
    header.resize(begun + bytes, 0);
    let rest = header.get_mut(begun..).unwrap_or_default();
    socket.read_exact(rest).await.map(drop)
}

fn parse_v1(header: &[u8]) -> io::Result<Named> {
    let header = v1::Header::try_from(header).map_err(|error| invalid(&error.to_string()))?;
    Ok(match header.addresses {
        v1::Addresses::Unknown => Named::Proxy,
        v1::Addresses::Tcp4(ip) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        v1::Addresses::Tcp6(ip) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
    })
}

fn parse_v2(header: &[u8]) -> io::Result<Named> {
    let header = v2::Header::try_from(header).map_err(|error| invalid(&error.to_string()))?;
    Ok(match (header.command, header.addresses) {
        (v2::Command::Local, _)
        | (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => Named::Proxy,
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => client(
            (ip.source_address, ip.source_port),
            (ip.destination_address, ip.destination_port),
        ),
    })
}

fn client(peer: impl Into<SocketAddr>, local: impl Into<SocketAddr>) -> Named {
    Named::Client {
        peer: peer.into(),
        local: local.into(),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
