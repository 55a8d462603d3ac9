//! Reading single messages from a log: those that are wanted, in memory of their own, and no more of their chunks than
//! has to be looked at. Given a way to read chunks; knows nothing of queues.

use std::sync::Arc;

use crate::store::{StoreError, StoredChunk, StoredMessage, chunk};

use super::effects::{Pick, Picked};

/// How much is read at once where one message after the other is wanted.
const RUN_BYTES_MAX: usize = 1024 * 1024;

/// Reads what `pick` wants, at least one chunk of it. `read` brings the chunk that holds an offset and those that follow,
/// until there are so many bytes.
pub(super) fn pick(
    pick: &Pick,
    read: impl Fn(u64, usize) -> Result<Vec<StoredChunk>, StoreError>,
) -> Result<Vec<Picked>, StoreError> {
    let mut picked = Vec::new();
    let mut bytes = 0;
    let mut wanted = &pick.offsets[..];
    // Bytes of a message, as far as is known: the first read brings one chunk.
    let mut usual = 0;
    while let Some(first) = wanted.first().copied()
        && bytes < pick.max_bytes
    {
        let chunks = match read(first, run(wanted).saturating_mul(usual).min(RUN_BYTES_MAX)) {
            Ok(chunks) => chunks,
            // What was read so far is good.
            Err(_) if !picked.is_empty() => break,
            Err(error) => return Err(error),
        };
        if chunks.is_empty() {
            wanted = wanted.get(1..).unwrap_or_default();
        }
        for stored in chunks {
            let len = stored.data.len();
            let (taken, rest) = take(stored, wanted)?;
            let sizes = taken.messages.iter().map(|stored| stored.message.size());
            bytes += sizes.sum::<usize>() as u64;
            let count = usize::try_from(taken.chunk.end - taken.chunk.start);
            usual = len / count.unwrap_or(len).max(1);
            picked.push(taken);
            wanted = rest;
        }
    }
    Ok(picked)
}

/// How many offsets at the beginning follow each other without a gap.
fn run(wanted: &[u64]) -> usize {
    let pairs = wanted.windows(2);
    let follows = |pair: &&[u64]| matches!(pair, [one, next] if one + 1 == *next);
    1 + pairs.take_while(follows).count()
}

/// Takes what is wanted from a chunk, and returns what is wanted behind it.
fn take(stored: StoredChunk, wanted: &[u64]) -> Result<(Picked, &[u64]), StoreError> {
    let damaged = |error| StoreError::Corrupt(format!("chunk at {}: {error}", stored.first));
    let mut reader = chunk::decode(stored.first, stored.data.clone()).map_err(damaged)?;
    let count = reader.remaining();
    let chunk = stored.first..stored.first.saturating_add(u64::from(count));
    let (wanted, rest) = wanted.split_at(wanted.partition_point(|offset| *offset < chunk.end));
    let mut messages = Vec::with_capacity(wanted.len());
    for offset in wanted {
        while reader.offset() < *offset && reader.skip_message().map_err(damaged)? {}
        if reader.offset() != *offset {
            continue; // it would lie before this chunk
        }
        let message = reader.next().transpose().map_err(damaged)?;
        messages.extend(message.map(|stored| match count {
            1 => stored,
            _ => StoredMessage {
                message: Arc::new(stored.message.copied()),
                ..stored
            },
        }));
    }
    Ok((Picked { chunk, messages }, rest))
}
