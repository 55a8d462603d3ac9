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
use std::thread;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::peers::PeerStream;
use crate::clock;
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
/// Blocks between the thread and the connection.
const AHEAD: usize = 1;

/// Sends a snapshot. Returns the answer.
pub(super) async fn send(
    stream: &mut dyn PeerStream,
    snapshot: impl OutgoingSnapshot,
) -> io::Result<Bytes> {
    let (blocks, mut next) = mpsc::channel(AHEAD);
    let runtime = Handle::current();
    let reader = spawn_blocking(move || read_blocks(snapshot, &blocks, &runtime));
    let (mut count, mut sums) = (0_u64, Xxh3::new());
    while let Some(block) = next.recv().await {
        let Block { parts, len, sum } = block;
        count += 1;
        sums.update(&sum.to_le_bytes());
        let head = [&len.to_le_bytes()[..], &sum.to_le_bytes()].concat();
        write(stream, &head).await?;
        for part in parts {
            write(stream, &part).await?;
        }
    }
    reader.await.map_err(io::Error::other)??;
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

/// Reads the blocks, for half of the time at most: the other half of this node's disk and processors is the broker's.
fn read_blocks(
    mut snapshot: impl OutgoingSnapshot,
    blocks: &mpsc::Sender<Block>,
    runtime: &Handle,
) -> io::Result<()> {
    loop {
        // Nothing is read before there is room for it.
        let Ok(place) = runtime.block_on(blocks.reserve()) else {
            return Ok(()); // the connection has ended
        };
        let begun = clock::monotonic();
        let Some(block) = snapshot.next_block().map_err(io::Error::other)? else {
            return Ok(());
        };
        place.send(encode(&block)?);
        thread::sleep(begun.elapsed().min(PAUSE_MAX));
    }
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
    incoming: I,
    id: EntryId,
) -> io::Result<I::Received>
where
    I::Received: Send,
{
    let (blocks, next) = mpsc::channel(AHEAD);
    let writer = spawn_blocking(move || write_blocks(incoming, next, id));
    let read = read_blocks_of(stream, blocks).await;
    // A writer that has failed says why.
    let received = writer.await.map_err(io::Error::other)??;
    read?;
    received.ok_or_else(|| io::Error::other("the snapshot is not whole"))
}

/// What the writer is told.
enum Told {
    Block(Proposal),
    /// All blocks were taken.
    End,
}

async fn read_blocks_of(stream: &mut dyn PeerStream, blocks: mpsc::Sender<Told>) -> io::Result<()> {
    let (mut count, mut sums) = (0_u64, Xxh3::new());
    loop {
        let Ok(place) = blocks.reserve().await else {
            return Ok(()); // the writer has failed
        };
        let len = within(BLOCK_WITHIN, stream.read_u32_le()).await?;
        let sum = match len {
            0 => break,
            _ => within(BLOCK_WITHIN, stream.read_u64_le()).await?,
        };
        let mut block = read_bytes(stream, len, BLOCK_BYTES_MAX).await?;
        if xxh3_64(&block) != sum {
            return Err(damaged("a block's checksum is wrong"));
        }
        let proposal = Proposal::decode(&mut block).filter(|_| block.is_empty());
        place.send(Told::Block(
            proposal.ok_or_else(|| damaged("a block makes no sense"))?,
        ));
        count += 1;
        sums.update(&sum.to_le_bytes());
    }
    let told = within(BLOCK_WITHIN, stream.read_u64_le()).await?;
    let sum = within(BLOCK_WITHIN, stream.read_u64_le()).await?;
    if told != count || sum != sums.digest() {
        return Err(damaged("blocks are missing"));
    }
    // A writer that has ended says why.
    drop(blocks.send(Told::End).await);
    Ok(())
}

/// Writes the blocks; `None` if they end before the end.
fn write_blocks<I: IncomingSnapshot>(
    mut incoming: I,
    mut blocks: mpsc::Receiver<Told>,
    id: EntryId,
) -> io::Result<Option<I::Received>> {
    while let Some(told) = blocks.blocking_recv() {
        match told {
            Told::Block(block) => incoming.take(&block).map_err(io::Error::other)?,
            Told::End => return Ok(Some(incoming.finish(id).map_err(io::Error::other)?)),
        }
    }
    Ok(None)
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

async fn within<T>(limit: Duration, io: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = timeout(limit, io).await;
    done.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why.to_owned())
}
