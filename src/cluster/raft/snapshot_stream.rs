//! A snapshot on its way from one member to another: its blocks with checksums, an end that tells how many there were,
//! and the answer.
//!
//! ```text
//! stream = block *, end
//! block  = length u32, XXH3 of the proposal u64, proposal
//! end    = 0 u32, number of blocks u64, XXH3 of all blocks' checksums u64
//! answer = length u32, answer as to a request
//! ```
//! Little-endian. Blocks are read and written on threads that may block, one block ahead of the connection: so each side
//! holds two blocks, and a receiver that is slow slows the sender.

use std::io::{self, ErrorKind};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{join, try_join};
use openraft::Instant;
use openraft::type_config::TypeConfigExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::peers::PeerStream;
use super::runtime::blocking;
use super::types::Group;
use crate::store::{EntryId, IncomingSnapshot, OutgoingSnapshot, Parts, Proposal};

/// Bytes of a block: a chunk with the largest message, of 512 MiB, and what may stand beside it.
const BLOCK_BYTES_MAX: usize = 576 * 1024 * 1024;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are read before there is memory for more of a block: its length is the sender's word.
const READ_BYTES: usize = 1024 * 1024;
/// How long the other side may let this one wait for the next block, or for room for it.
const BLOCK_WITHIN: Duration = Duration::from_secs(30);
/// How long the receiver may take to make the snapshot durable and to put it in place.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// The longest pause between two blocks that are read.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Sends a snapshot. Returns the answer.
pub(super) async fn send(
    stream: &mut dyn PeerStream,
    snapshot: impl OutgoingSnapshot,
) -> io::Result<Bytes> {
    let (mut count, mut sums) = (0_u64, Xxh3::new());
    let mut next = read_block(snapshot).await?;
    while let Some((snapshot, block)) = next {
        count += 1;
        sums.update(&block.sum.to_le_bytes());
        let ((), following) = try_join(write_block(stream, block), read_block(snapshot)).await?;
        next = following;
    }
    let end = [
        &0_u32.to_le_bytes()[..],
        &count.to_le_bytes(),
        &sums.digest().to_le_bytes(),
    ];
    write(stream, &end.concat()).await?;
    within(ANSWER_WITHIN, read_answer(stream)).await
}

/// A block as it is sent.
struct Block {
    parts: Vec<Bytes>,
    len: u32,
    sum: u64,
}

/// Reads the next block, then pauses as long: the other half of this node's disk and processors is the broker's.
async fn read_block<S: OutgoingSnapshot>(mut snapshot: S) -> io::Result<Option<(S, Block)>> {
    let begun = Group::now();
    let read = blocking(move || {
        let block = snapshot.next_block().map_err(io::Error::other)?;
        let block = block.map(|block| encode(&block)).transpose()?;
        Ok::<_, io::Error>(block.map(|block| (snapshot, block)))
    });
    let read = read.await??;
    if read.is_some() {
        Group::sleep(begun.elapsed().min(PAUSE_MAX)).await;
    }
    Ok(read)
}

async fn write_block(stream: &mut dyn PeerStream, block: Block) -> io::Result<()> {
    let head = [&block.len.to_le_bytes()[..], &block.sum.to_le_bytes()];
    write(stream, &head.concat()).await?;
    for part in block.parts {
        write(stream, &part).await?;
    }
    Ok(())
}

fn encode(block: &Proposal) -> io::Result<Block> {
    let mut parts = Parts::default();
    block.encode(&mut parts);
    let parts = parts.into_parts();
    let len: usize = parts.iter().map(Bytes::len).sum();
    let mut sum = Xxh3::new();
    parts.iter().for_each(|part| sum.update(part));
    let len = u32::try_from(len).ok();
    let len = len.filter(|len| *len as usize <= BLOCK_BYTES_MAX);
    Ok(Block {
        len: len.ok_or_else(|| io::Error::other("a block is too large"))?,
        sum: sum.digest(),
        parts,
    })
}

/// Receives a snapshot whose last entry is `id`, and makes it durable.
pub(super) async fn receive<I: IncomingSnapshot>(
    stream: &mut dyn PeerStream,
    mut incoming: I,
    id: EntryId,
) -> io::Result<I::Received>
where
    I::Received: Send,
{
    let mut received = Blocks::default();
    let mut next = received.next(stream).await;
    loop {
        let block = match next {
            Ok(Some(block)) => block,
            Ok(None) => break,
            Err(failure) => {
                blocking(move || drop(incoming)).await?;
                return Err(failure);
            }
        };
        let taken = blocking(move || incoming.take(&block).map(|()| incoming));
        let (taken, following) = join(taken, received.next(stream)).await;
        incoming = taken?.map_err(io::Error::other)?;
        next = following;
    }
    let finished = blocking(move || incoming.finish(id)).await?;
    finished.map_err(io::Error::other)
}

/// The blocks that were received.
#[derive(Default)]
struct Blocks {
    count: u64,
    sums: Xxh3,
}

impl Blocks {
    /// Reads the next block; `None` if all were read.
    async fn next(&mut self, stream: &mut dyn PeerStream) -> io::Result<Option<Proposal>> {
        let len = within(BLOCK_WITHIN, stream.read_u32_le()).await?;
        if len == 0 {
            self.check_end(stream).await?;
            return Ok(None);
        }
        let sum = within(BLOCK_WITHIN, stream.read_u64_le()).await?;
        let mut block = read_bytes(stream, len, BLOCK_BYTES_MAX).await?;
        if xxh3_64(&block) != sum {
            return Err(damaged("a block's checksum is wrong"));
        }
        self.count += 1;
        self.sums.update(&sum.to_le_bytes());
        let proposal = Proposal::decode(&mut block).filter(|_| block.is_empty());
        Ok(Some(
            proposal.ok_or_else(|| damaged("a block makes no sense"))?,
        ))
    }

    async fn check_end(&self, stream: &mut dyn PeerStream) -> io::Result<()> {
        let told = within(BLOCK_WITHIN, stream.read_u64_le()).await?;
        let sum = within(BLOCK_WITHIN, stream.read_u64_le()).await?;
        match told == self.count && sum == self.sums.digest() {
            true => Ok(()),
            false => Err(damaged("blocks are missing")),
        }
    }
}

/// Answers the sender.
pub(super) async fn answer(stream: &mut dyn PeerStream, answer: &Bytes) -> io::Result<()> {
    let len = u32::try_from(answer.len()).map_err(io::Error::other)?;
    write(stream, &len.to_le_bytes()).await?;
    write(stream, answer).await?;
    within(BLOCK_WITHIN, stream.shutdown()).await
}

async fn read_answer(stream: &mut dyn PeerStream) -> io::Result<Bytes> {
    let len = stream.read_u32_le().await?;
    read_bytes(stream, len, ANSWER_BYTES_MAX).await
}

async fn read_bytes(stream: &mut dyn PeerStream, len: u32, max: usize) -> io::Result<Bytes> {
    let len = len as usize;
    if len > max {
        return Err(damaged("a block is too large"));
    }
    let mut bytes = BytesMut::new();
    while bytes.len() < len {
        let from = bytes.len();
        bytes.resize(len.min(from + READ_BYTES.max(from)), 0);
        let room = bytes.get_mut(from..).unwrap_or_default();
        within(BLOCK_WITHIN, stream.read_exact(room)).await?;
    }
    Ok(bytes.freeze())
}

async fn write(stream: &mut dyn PeerStream, bytes: &[u8]) -> io::Result<()> {
    within(BLOCK_WITHIN, stream.write_all(bytes)).await
}

async fn within<T>(
    limit: Duration,
    io: impl Future<Output = io::Result<T>> + Send,
) -> io::Result<T> {
    let done = Group::timeout(limit, io).await;
    done.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}
