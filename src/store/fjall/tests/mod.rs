//! Tests of the store on disk: against the store in memory as its model, with torn and damaged files, and of
//! the background thread. This file holds their helpers: small stores, chunks and batches.

mod applying;
mod contents;
mod damage;
mod extents;
mod flushing;
mod member;
mod member_simulation;
mod model;
mod opening;
mod simulation;
mod snapshot;
mod sweep;
mod verify;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{
    ChunkEncoder, LogRecord, MemoryStore, Op, PageBits, RangeSet, ReceiveRecord, ReturnCount,
    Segment, StretchRecord, chunk, keys, page_of,
};
use super::*;
use crate::clock;
use crate::model::{Body, Message, Origin, Ticket};

const LOG: LogId = LogId(256);

/// A directory in memory if possible: these tests are about logic, and syncs on a busy disk take long.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn small() -> FjallOptions {
    FjallOptions {
        msgs_memtable_bytes: 64 * 1024,
        state_memtable_bytes: 16 * 1024,
        extent_bytes: 128 * 1024,
        maintenance: MaintenanceOptions {
            spare_after_bytes: u64::MAX,
            ..MaintenanceOptions::default()
        },
        ..FjallOptions::default()
    }
}

fn eager() -> FjallOptions {
    let maintenance = MaintenanceOptions {
        reclaim_after_chunks: 1,
        reclaim_min_bytes: 0,
        extent_slack_bytes: 0,
        flush_min_bytes: u64::MAX,
        spare_after_bytes: u64::MAX,
        quiet: Duration::from_millis(30),
        checkpoint_gap: Duration::ZERO,
    };
    FjallOptions {
        maintenance,
        ..small()
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    while !holds() {
        assert!(clock::monotonic() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A chunk of `count` messages of `len` bytes; each seed gives different bodies.
fn chunk_of(seed: u64, count: u32, len: usize) -> Bytes {
    let mut encoder = ChunkEncoder::new();
    let mut body = vec![0; len];
    StdRng::seed_from_u64(seed).fill(&mut body[..]);
    let message = Message {
        origin: Arc::new(Origin {
            exchange: "".into(),
            routing_key: "q".into(),
        }),
        properties: Bytes::from_static(b"\0\0"),
        body: Body::Whole(body.into()),
        persistent: true,
        priority: 0,
        expiration_ms: None,
        delay_ms: None,
        dead_lettered: false,
        failures: 0,
        handed_out: false,
    };
    (0..count).for_each(|_| encoder.push(1, &message));
    encoder.finish()
}

fn batch(ticket: u64, ops: Vec<Op>) -> Batch {
    Batch {
        ticket: Ticket(ticket),
        ..ops.into_iter().collect()
    }
}

fn append(log: LogId, first: u64, chunk: Bytes) -> Vec<Op> {
    let next = first + u64::from(chunk::count(&chunk).unwrap());
    let record = LogRecord {
        next,
        floor: 0,
        bytes: 0,
        ..LogRecord::default()
    };
    vec![
        Op::PutChunk { log, first, chunk },
        Op::PutLog { log, record },
    ]
}

fn chunks(store: &dyn Store, log: LogId) -> Vec<u64> {
    let found = store.read(log, 0, usize::MAX).unwrap();
    found.into_iter().map(|chunk| chunk.first).collect()
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes a checkpoint and merges all tables.
fn settle_down(store: &FjallStore) {
    checkpoint(store);
    for space in store.core.open().unwrap().spaces.all() {
        space.major_compact().unwrap();
    }
}

fn checkpoint(store: &FjallStore) {
    let deadline = clock::monotonic() + Duration::from_secs(20);
    assert!(
        store
            .core
            .checkpoint(|| clock::monotonic() > deadline)
            .unwrap()
    );
}

trait Commit {
    /// Appends a batch, makes it durable and applies it.
    fn commit(&self, batch: &Batch);
}

impl<T: Journal> Commit for T {
    fn commit(&self, batch: &Batch) {
        self.append(batch).unwrap();
        self.sync().unwrap();
        self.apply().unwrap();
    }
}
