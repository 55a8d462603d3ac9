//! Random writes, sweeps and reopenings, after which the store on disk must equal the store in memory.

use super::*;

/// A page without messages.
const FAR_PAGE: u64 = 1000;

/// One log as a queue would drive it.
#[derive(Clone, Default)]
pub(super) struct ModelLog {
    next: u64,
    floor: u64,
    chunks: BTreeMap<u64, u64>,
    settled: RangeSet,
    /// What is gone stays gone.
    gone: RangeSet,
}

impl ModelLog {
    pub(super) fn step(&mut self, log: LogId, rng: &mut StdRng, batch: &mut Batch) {
        if rng.random_bool(0.7) {
            let count = rng.random_range(1..5u32);
            let len = if rng.random_bool(0.1) { 20_000 } else { 300 };
            let chunk = chunk_of(rng.random(), count, len);
            batch.push(Op::PutChunk {
                log,
                first: self.next,
                chunk,
            });
            self.chunks.insert(self.next, self.next + u64::from(count));
            self.next += u64::from(count);
        }
        for _ in 0..rng.random_range(0..6) {
            if self.floor < self.next {
                let offset = rng.random_range(self.floor..self.next.min(self.floor + 12));
                self.settled.insert(offset);
            }
        }
        let page = page_of(self.floor);
        let floor = self.settled.first_gap(self.floor);
        let kept = rng.random_bool(0.2); // chunks left for a sweep
        self.chunks.retain(|&first, &mut end| {
            let gone = end <= floor && !kept;
            if gone {
                batch.push(Op::RemoveChunk { log, first });
            }
            !gone
        });
        self.floor = floor;
        self.settled.remove_below(floor);
        if page_of(floor) > page {
            batch.push(Op::RemoveSettledPage { log, page });
        }
        let page = page_of(floor);
        batch.push(Op::PutSettledPage {
            log,
            page,
            settled: self.settled.page(page),
        });
        let offset = floor + rng.random_range(0..5);
        batch.push(if rng.random() {
            Op::PutReturnCount {
                log,
                offset,
                count: ReturnCount {
                    turn: rng.random(),
                    uncounted: rng.random_range(0..2),
                    details: None,
                },
            }
        } else {
            Op::RemoveReturnCount { log, offset }
        });
        let first = rng.random_range(0..8);
        batch.push(if rng.random() {
            let segment = Segment {
                first,
                first_ms: rng.random(),
                last_ms: rng.random(),
                bytes: rng.random(),
            };
            Op::PutSegment { log, segment }
        } else {
            Op::RemoveSegment { log, first }
        });
        let number = rng.random_range(0..8);
        batch.push(if rng.random() {
            let receive = ReceiveRecord {
                number,
                until_ms: rng.random(),
                leases: Vec::new(),
            };
            Op::PutReceive { log, receive }
        } else {
            Op::RemoveReceive { log, number }
        });
        let part = floor + rng.random_range(0..5);
        let stretch = StretchRecord {
            first_ms: rng.random(),
            last_ms: rng.random(),
            bytes: rng.random(),
        };
        batch.push(match rng.random_range(0..5) {
            0 => {
                for range in self.settled.iter_in(0..part) {
                    self.gone.insert_range(range);
                }
                let gone = self.gone.page(page);
                Op::PutGonePage { log, page, gone }
            }
            1 => Op::RemoveGonePage {
                log,
                page: FAR_PAGE,
            },
            4 => Op::PutGonePage {
                log,
                page: FAR_PAGE,
                gone: self.settled.page(page),
            },
            2 => Op::PutStretch {
                log,
                first: part,
                stretch,
            },
            _ => Op::RemoveStretch { log, first: part },
        });
        let history_from = log.0.is_multiple_of(2).then_some(floor / 2);
        let record = LogRecord {
            history_from,
            rewinds: rng.random_range(0..3),
            next: self.next,
            floor,
            bytes: rng.random(),
        };
        batch.push(Op::PutLog { log, record });
    }
}

pub(super) fn compare(disk: &FjallStore, model: &MemoryStore, logs: &BTreeMap<LogId, ModelLog>) {
    eventually("the sweeps", || disk.has_swept());
    assert_eq!(disk.logs().unwrap(), model.logs().unwrap());
    assert_eq!(
        disk.definitions(b"").unwrap(),
        model.definitions(b"").unwrap()
    );
    assert_eq!(
        disk.definitions(b"b").unwrap(),
        model.definitions(b"b").unwrap()
    );
    for (&log, state) in logs {
        for from in [state.floor, (state.floor + state.next) / 2, state.next] {
            for max_bytes in [1, 5000, usize::MAX] {
                let plain = |store: &dyn Store| -> Vec<(u64, Bytes)> {
                    let found = store.read(log, from, max_bytes).unwrap();
                    found
                        .into_iter()
                        .map(|chunk| (chunk.first, chunk.data))
                        .collect()
                };
                let (found, expected) = (plain(disk), plain(model));
                assert!(
                    found == expected,
                    "{log:?} from {from}: chunks {:?}, expected {:?}",
                    firsts(&found),
                    firsts(&expected)
                );
            }
        }
    }
}

fn firsts(chunks: &[(u64, Bytes)]) -> Vec<u64> {
    chunks.iter().map(|(first, _)| *first).collect()
}

/// The store that opens after the end of a process that closed nothing.
pub(super) fn killed(store: FjallStore, dir: &Path) -> FjallStore {
    store.core.close(); // so that its end makes no checkpoint
    drop(store);
    FjallStore::open(dir, small()).unwrap()
}

#[test]
fn behaves_as_the_store_in_memory() {
    for seed in 0..24 {
        let dir = scratch();
        let rng = &mut StdRng::seed_from_u64(seed);
        let model = MemoryStore::new();
        let mut logs = BTreeMap::<LogId, ModelLog>::new();
        let mut disk = FjallStore::open(dir.path(), small()).unwrap();
        let mut born = 1;
        for ticket in 1..=150 {
            let mut batch = Batch {
                ticket: Ticket(ticket),
                ..Batch::default()
            };
            for _ in 0..rng.random_range(1..4) {
                let log = LogId(rng.random_range(born..born + 5));
                logs.entry(log).or_default();
            }
            for (&log, state) in &mut logs {
                if rng.random() {
                    state.step(log, rng, &mut batch);
                }
            }
            let key = vec![rng.random_range(b'a'..=b'c'), rng.random_range(0..3)];
            batch.push(Op::PutDefinition {
                key: key.clone(),
                value: vec![1, 2],
            });
            if rng.random() {
                batch.push(Op::RemoveDefinition { key });
            }
            disk.commit(&batch);
            model.commit(&batch);
            match rng.random_range(0..40) {
                0 => {
                    // A search for settled chunks is not begun again, since queues may be in memory.
                    eventually("the sweeps", || disk.has_swept());
                    disk.reopen().unwrap();
                }
                1 => {
                    drop(disk);
                    disk = FjallStore::open(dir.path(), small()).unwrap();
                    model.sweep_settled().unwrap();
                }
                2 => settle_down(&disk),
                11 | 12 => {
                    disk.core.evacuate(0, || false).unwrap();
                }
                13..16 => checkpoint(&disk),
                16 | 17 => {
                    disk = killed(disk, dir.path());
                    model.sweep_settled().unwrap();
                }
                18 => {
                    // A kill, and damage to the database.
                    disk.core.close();
                    drop(disk);
                    fs::write(dir.path().join("db/keyspaces/1/current"), b"no").unwrap();
                    fs::remove_file(dir.path().join("manifest")).unwrap();
                    disk = FjallStore::open(dir.path(), small()).unwrap();
                    model.sweep_settled().unwrap();
                }
                3..6 => disk.sync().unwrap(),
                6..10 => {
                    let mut batch = Batch::default();
                    for (&log, state) in &mut logs {
                        let offsets = rng.random_range(0..=state.floor)..state.floor;
                        state
                            .chunks
                            .retain(|first, end| *first < offsets.start || *end > offsets.end);
                        batch.push(Op::Sweep { log, offsets });
                    }
                    disk.commit(&batch);
                    model.commit(&batch);
                }
                10 => {
                    let Some((log, _)) = logs.pop_first() else {
                        continue;
                    };
                    let remove = self::batch(0, vec![Op::RemoveLog { log }]);
                    disk.commit(&remove);
                    model.commit(&remove);
                    born = log.0 + 1; // its id is never reused
                }
                _ => {}
            }
            if ticket % 10 == 0 {
                compare(&disk, &model, &logs);
            }
        }
        compare(&disk, &model, &logs);
    }
}
