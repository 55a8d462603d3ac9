//! Writing to disk: chunks, and batches into the database. The files are in the directory of temporary files,
//! so `TMPDIR` selects the disk to measure. `leveret-bench ideal-log` measures the limits of the disk itself.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{Criterion, Throughput};

use leveret::model::{Body, LogId, Message, Origin};
use leveret::store::{
    Batch, ChunkEncoder, FjallOptions, FjallStore, Journal, LogRecord, Op, chunk,
};

const SIZE: usize = 1024;
/// Number of chunks in a commit: 16 of them are a megabyte.
const COMMITS: [u64; 2] = [1, 16];

fn message() -> Message {
    Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(&[0x10, 0, 2]),
        body: Body::Whole(vec![7; SIZE].into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    }
}

/// A full chunk, and the number of its messages.
fn full_chunk(encoder: &mut ChunkEncoder, message: &Message) -> (Bytes, u32) {
    while encoder.has_room_for(message.size()) {
        encoder.push(1_700_000_000_000, message);
    }
    let count = encoder.len();
    (encoder.finish(), count)
}

/// Encoding and decoding a chunk.
pub(crate) fn chunks(criterion: &mut Criterion) {
    let (mut encoder, message) = (ChunkEncoder::new(), message());
    let (full, count) = full_chunk(&mut encoder, &message);
    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Elements(u64::from(count)));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| full_chunk(&mut encoder, &message));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let read = chunk::decode(0, full.clone()).expect("a chunk");
            assert_eq!(read.filter(Result::is_ok).count(), count as usize);
        });
    });
    group.finish();
}

/// Batches through the log into the database: written, made durable and applied. Each batch removes the chunks of the
/// previous one, as consumers that keep up do.
pub(crate) fn commits(criterion: &mut Criterion) {
    let (full, count) = full_chunk(&mut ChunkEncoder::new(), &message());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = FjallStore::open(folder.path(), FjallOptions::default()).expect("a store");
    let log = LogId(1 << 9);
    let mut next = 0;
    let mut put = |chunks: u64| {
        let mut batch = Batch::default();
        let before = next;
        for nth in 0..chunks {
            let first = before + nth * u64::from(count);
            if let Some(first) = first.checked_sub(chunks * u64::from(count)) {
                batch.push(Op::RemoveChunk { log, first });
            }
            batch.push(Op::PutChunk {
                log,
                first,
                chunk: full.clone(),
            });
        }
        next += chunks * u64::from(count);
        batch.push(Op::PutLog {
            log,
            record: LogRecord {
                next,
                floor: before,
                bytes: (next - before) * SIZE as u64,
                ..LogRecord::default()
            },
        });
        batch
    };
    let mut group = criterion.benchmark_group("a batch through the log");
    for chunks in COMMITS {
        group.throughput(Throughput::Elements(chunks * u64::from(count)));
        group.bench_function(format!("{chunks} chunks"), |bencher| {
            bencher.iter(|| {
                store.append(&put(chunks)).expect("an append");
                store.sync().expect("a sync");
                store.apply().expect("applied");
            });
        });
    }
    group.finish();
}
