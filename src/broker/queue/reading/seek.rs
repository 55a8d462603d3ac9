//! Finds a time in a log on disk by binary search over the headers of single chunks. Blocks.

use std::ops::Range;

use crate::model::LogId;
use crate::store::chunk::{CHUNK_MESSAGES_MAX, first_enqueued_ms};
use crate::store::{Store, StoreError};

/// Returns an offset within `offsets` at most a few chunks before the first message that was enqueued at `ms`
/// or later. All messages before the returned offset were enqueued before `ms`. Times must rise with the
/// offsets.
pub(in crate::broker::queue) fn first_at(
    store: &dyn Store,
    log: LogId,
    offsets: Range<u64>,
    ms: u64,
) -> Result<u64, StoreError> {
    let (mut low, mut high) = (offsets.start, offsets.end);
    while high.saturating_sub(low) > u64::from(CHUNK_MESSAGES_MAX) {
        let middle = low + (high - low) / 2;
        let chunks = store.read_past(log, middle, 1)?;
        let Some(chunk) = chunks.first() else {
            high = middle;
            continue;
        };
        let chunk_ms = first_enqueued_ms(&chunk.data)
            .map_err(|error| StoreError::Corrupt(format!("{log:?}, {middle}: {error}")))?;
        if chunk_ms >= ms {
            high = middle.min(chunk.first);
        } else if chunk.first > low {
            low = chunk.first.min(high);
        } else {
            break;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Journal as _;
    use std::sync::Arc;

    use crate::model::{Body, Message, Origin, QueueId};
    use crate::store::{Batch, ChunkEncoder, MemoryStore, Op};

    #[test]
    fn a_time_is_found_by_halves() {
        let log = QueueId(1).log(0);
        let message = Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties: bytes::Bytes::from_static(&[0, 0]),
            body: Body::Whole(bytes::Bytes::from_static(b"body")),
            persistent: true,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
            handed_out: false,
        };
        let store = MemoryStore::new();
        // 200 chunks of 500 messages; one message every 10 ms.
        let mut batch = Batch::default();
        for chunk in 0..200 {
            let mut encoder = ChunkEncoder::new();
            let first = chunk * 500;
            for offset in first..first + 500 {
                encoder.push(offset * 10, &message);
            }
            batch.push(Op::PutChunk {
                log,
                first,
                chunk: encoder.finish(),
            });
        }
        store.append(&batch).unwrap();
        for (ms, exact) in [(0, 0), (5, 1), (777_777, 77_778), (999_990, 99_999)] {
            let found = first_at(&store, log, 0..100_000, ms).unwrap();
            assert!(found <= exact, "{ms}: {found}");
            let away = 2 * u64::from(CHUNK_MESSAGES_MAX);
            assert!(exact - found <= away, "{ms}: {found}");
        }
        let found = first_at(&store, log, 50_000..60_000, 0).unwrap();
        assert_eq!(found, 50_000, "never outside");
    }
}
