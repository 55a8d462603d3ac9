//! Reads single messages from a log and copies them, so that their chunks can be freed. Reads through a
//! closure; knows no queue.

use std::sync::Arc;

use crate::broker::queue::effects::{Pick, Picked};
use crate::store::{StoreError, StoredChunk, StoredMessage, chunk};

/// Maximum number of bytes of one read, where many wanted messages follow each other.
const RUN_BYTES_MAX: usize = 1024 * 1024;

/// Maximum number of failures of one pick. It skips damaged chunks, but must end when the whole disk fails.
const FAILURES_MAX: usize = 16;

/// Reads the messages that `pick` names, at least those of one chunk. Skips unreadable messages, so that they
/// do not delay others, and returns these failures, too, each with its offset. `read` returns the chunk that
/// holds an offset and the chunks that follow, up to a number of bytes.
pub(in crate::broker::queue) fn pick(
    pick: &Pick,
    read: impl Fn(u64, usize) -> Result<Vec<StoredChunk>, StoreError>,
) -> (Vec<Picked>, Vec<(u64, StoreError)>) {
    let mut picked = Vec::new();
    let mut failures = Vec::new();
    let mut bytes = 0;
    let mut wanted = &pick.offsets[..];
    // Expected bytes of a message. With 0 the first read returns one chunk.
    let mut usual = 0;
    while let Some((first, others)) = wanted.split_first()
        && bytes < pick.max_bytes
        && failures.len() < FAILURES_MAX
    {
        let run_bytes = run(wanted).saturating_mul(usual).min(RUN_BYTES_MAX);
        let before = picked.len();
        let mut rest = wanted;
        let taken = read(*first, run_bytes).and_then(|chunks| {
            for stored in chunks {
                let len = stored.data.len();
                let (taken, behind) = take(stored, rest)?;
                let sizes = taken.messages.iter().map(|stored| stored.message.size());
                bytes += sizes.sum::<usize>() as u64;
                let count = usize::try_from(taken.chunk.end - taken.chunk.start);
                usual = len / count.unwrap_or(len).max(1);
                picked.push(taken);
                rest = behind;
            }
            Ok(())
        });
        // If the read has none of the wanted messages, skip the first.
        wanted = if picked.len() > before { rest } else { others };
        if let Err(error) = taken {
            usual = 0; // read it alone, in case a message behind it is the unreadable one
            let StoreError::Unreadable { offsets, .. } = &error else {
                failures.push((*first, error));
                break; // the failure does not concern single messages
            };
            let behind = wanted.partition_point(|offset| *offset < offsets.end);
            wanted = wanted.get(behind..).unwrap_or_default();
            failures.push((*first, error));
        }
    }
    (picked, failures)
}

/// The number of offsets at the beginning that follow each other without a gap.
fn run(wanted: &[u64]) -> usize {
    let pairs = wanted.windows(2);
    let follows = |pair: &&[u64]| matches!(pair, [one, next] if one + 1 == *next);
    1 + pairs.take_while(follows).count()
}

/// Takes the wanted messages from a chunk. Returns the wanted offsets behind it too.
fn take(stored: StoredChunk, wanted: &[u64]) -> Result<(Picked, &[u64]), StoreError> {
    let count = chunk::count(&stored.data).unwrap_or(1).max(1);
    let damaged = |error| StoreError::Unreadable {
        offsets: stored.first..stored.first.saturating_add(u64::from(count)),
        reason: format!("chunk at {}: {error}", stored.first),
    };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::queue::work_queue::tests::rig::message;
    use crate::model::QueueId;
    use crate::store::ChunkEncoder;

    /// Three messages each.
    fn chunk(first: u64) -> StoredChunk {
        let mut encoder = ChunkEncoder::new();
        for offset in first..first + 3 {
            encoder.push(5, &message(&offset.to_string()));
        }
        StoredChunk {
            first,
            data: encoder.finish(),
        }
    }

    fn picked(offsets: &[u64], damaged: u64) -> (Vec<u64>, bool) {
        let wanted = Pick {
            log: QueueId(1).delayed_log(),
            offsets: offsets.to_vec(),
            max_bytes: 1_000,
        };
        let (picked, failures) = pick(&wanted, |from, max_bytes| {
            let first = from - from % 3;
            let firsts = (first..12).step_by(3).take(1 + max_bytes / 60);
            let mut chunks: Vec<_> = firsts.map(chunk).collect();
            for stored in chunks.iter_mut().filter(|stored| stored.first == damaged) {
                stored.data = stored.data.slice(..stored.data.len() - 1);
            }
            Ok(chunks)
        });
        let found = picked.iter().flat_map(|picked| &picked.messages);
        (
            found.map(|stored| stored.offset).collect(),
            !failures.is_empty(),
        )
    }

    #[test]
    fn a_pick_finds_exactly_the_wanted_messages() {
        for offsets in [&[0][..], &[1, 4, 11], &[2, 3], &(0..12).collect::<Vec<_>>()] {
            assert_eq!(picked(offsets, u64::MAX), (offsets.to_vec(), false));
        }
    }

    #[test]
    fn damaged_messages_hold_up_no_others() {
        let all: Vec<_> = (0..12).collect();
        for damaged in [0, 3, 9] {
            let (found, failed) = picked(&all, damaged);
            // An unreadable message makes its whole chunk unreadable.
            let rest = all.iter().filter(|offset| *offset / 3 * 3 != damaged);
            let rest: Vec<_> = rest.copied().collect();
            assert!(failed, "{damaged}");
            assert!(
                rest.iter().all(|offset| found.contains(offset)),
                "{damaged}: {found:?}"
            );
            assert!(!found.contains(&(damaged + 2)));
        }
    }
}
