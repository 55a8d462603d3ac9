//! The handshake of a link, on either side of a connection. The caller limits its time.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::hello::{
    Account, GREETING, Greeting, Purpose, Versions, Waited, decode_verdict, encode_verdict, judge,
};
use super::limits::ACCOUNT_MAX;
use super::refused::Refused;
use super::trust::{PROOF, Side, Trust};
use crate::clock::Source;

/// This node, as it presents itself.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) node: u64,
    pub(super) name: String,
    pub(super) set: Mutex<Option<u64>>,
    pub(super) versions: Versions,
    pub(super) clock: Arc<dyn Source>,
    pub(super) trust: Trust,
}

/// The other node, which has proven itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) node: u64,
    pub(super) name: String,
    pub(super) set: Option<u64>,
    pub(super) version: u16,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it does not speak the protocol of links")]
    Protocol,
    #[error(
        "it speaks versions {} to {} of links, and this node {} to {}",
        .theirs.oldest, .theirs.newest, .ours.oldest, .ours.newest
    )]
    Versions { ours: Versions, theirs: Versions },
    /// The accepting node could not show that it knows the secret.
    #[error("it does not know the nodes' shared secret")]
    Unproven,
    #[error("{0}")]
    Refused(Refused),
}

/// What both sides have said so far.
struct Greetings {
    dialing: Vec<u8>,
    accepting: Vec<u8>,
}

impl Own {
    fn account(&self, purpose: Purpose) -> Account {
        Account {
            node: self.node,
            set: *self.set.lock(),
            wall_ms: self.wall_ms(),
            purpose,
            name: self.name.clone(),
        }
    }

    pub(super) fn wall_ms(&self) -> u64 {
        self.clock.wall_ns() / 1_000_000
    }

    fn version(&self, theirs: Versions) -> Result<u16, HandshakeError> {
        let ours = self.versions;
        let common = ours.common(theirs);
        common.ok_or(HandshakeError::Versions { ours, theirs })
    }

    /// The side that has connected.
    pub(super) async fn dial<S>(
        &self,
        stream: &mut S,
        purpose: Purpose,
    ) -> Result<Known, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let dialing = Greeting::new(self.versions).encode();
        write(stream, &dialing).await?;
        let mut accepting = vec![0; GREETING];
        stream.read_exact(&mut accepting).await?;
        let theirs = Greeting::decode(&accepting).ok_or(HandshakeError::Protocol)?;
        let version = self.version(theirs.versions)?;
        let greetings = Greetings { dialing, accepting };

        let mut account = Vec::new();
        self.account(purpose).encode(&mut account);
        let proof = greetings.proof(&self.trust, Side::Dialing, &[&account]);
        write(stream, &sealed(&account, &proof)).await?;

        let (verdict, proof) = read_sealed(stream).await?;
        let parts: &[&[u8]] = &[&account, &verdict];
        let (judged, theirs) = decode_verdict(&verdict).ok_or(HandshakeError::Protocol)?;
        if judged == Err(Refused::Secret) {
            return Err(HandshakeError::Refused(Refused::Secret));
        }
        if !greetings.proves(&self.trust, Side::Accepting, parts, &proof) {
            return Err(HandshakeError::Unproven);
        }
        judged.map_err(HandshakeError::Refused)?;
        let theirs = Account::decode(theirs).ok_or(HandshakeError::Protocol)?;
        Ok(Known::of(theirs, version))
    }

    /// The side that has accepted the connection. Tells a refused node why, where that helps no stranger.
    pub(super) async fn accept<S>(&self, stream: &mut S) -> Result<(Known, Purpose), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut dialing = vec![0; GREETING];
        stream.read_exact(&mut dialing).await?;
        let theirs = Greeting::decode(&dialing).ok_or(HandshakeError::Protocol)?;
        let accepting = Greeting::new(self.versions).encode();
        let from_ms = self.wall_ms();
        write(stream, &accepting).await?;
        let version = self.version(theirs.versions)?;
        let greetings = Greetings { dialing, accepting };

        let (account, proof) = read_sealed(stream).await?;
        let to_ms = self.wall_ms();
        let mut verdict = Vec::new();
        if !greetings.proves(&self.trust, Side::Dialing, &[&account], &proof) {
            encode_verdict(Err(Refused::Secret), &mut verdict);
            write(stream, &sealed(&verdict, &[0; PROOF])).await?;
            return Err(HandshakeError::Refused(Refused::Secret));
        }
        let theirs = Account::decode(&account).ok_or(HandshakeError::Protocol)?;
        let mine = self.account(theirs.purpose);
        let judged = judge(&mine, &theirs, Waited { from_ms, to_ms });
        encode_verdict(judged, &mut verdict);
        mine.encode(&mut verdict);
        let proof = greetings.proof(&self.trust, Side::Accepting, &[&account, &verdict]);
        write(stream, &sealed(&verdict, &proof)).await?;
        judged.map_err(HandshakeError::Refused)?;
        let purpose = theirs.purpose;
        Ok((Known::of(theirs, version), purpose))
    }
}

impl Known {
    fn of(account: Account, version: u16) -> Known {
        Known {
            node: account.node,
            name: account.name,
            set: account.set,
            version,
        }
    }
}

impl Greetings {
    fn proof(&self, trust: &Trust, side: Side, parts: &[&[u8]]) -> [u8; PROOF] {
        trust.proof(side, &self.seen(parts))
    }

    fn proves(&self, trust: &Trust, side: Side, parts: &[&[u8]], proof: &[u8]) -> bool {
        trust.proves(side, &self.seen(parts), proof)
    }

    fn seen<'a>(&'a self, parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let mut seen: Vec<&[u8]> = vec![&self.dialing, &self.accepting];
        seen.extend(parts);
        seen
    }
}

/// A message that ends with a proof, behind its length.
fn sealed(message: &[u8], proof: &[u8; PROOF]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(2 + message.len() + PROOF);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out.extend_from_slice(proof);
    out
}

async fn read_sealed<S>(stream: &mut S) -> Result<(Vec<u8>, [u8; PROOF]), HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let length = usize::from(stream.read_u16().await?);
    if length > ACCOUNT_MAX {
        return Err(HandshakeError::Protocol);
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    let mut proof = [0; PROOF];
    stream.read_exact(&mut proof).await?;
    Ok((message, proof))
}

async fn write<S>(stream: &mut S, bytes: &[u8]) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    stream.write_all(bytes).await?;
    stream.flush().await
}
