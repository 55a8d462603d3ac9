//! Simulation of the log under the store, by seeds: appends and syncs, failures, kills, power losses that tear and lose
//! what was not synced, extents that are used again, and damage at the end. After each start the store must be as it was
//! after one of the batches, and none of those that were reported may be missing.

use super::damage::{Harm, files};
use super::model::{ModelLog, compare, killed};
use super::*;

const SEEDS: u64 = 40;
const STEPS: usize = 70;
/// The definition that tells the last batch.
const LAST: &[u8] = b"last";

/// What was done to the store.
enum Event {
    Batch(Batch),
    SweepSettled,
}

/// The queues after a batch.
#[derive(Clone, Default)]
struct Queues {
    logs: BTreeMap<LogId, ModelLog>,
    /// The lowest id of a log that is not removed.
    born: u64,
}

/// Files and their contents.
pub(super) type Image = BTreeMap<std::path::PathBuf, Vec<u8>>;

struct World {
    rng: StdRng,
    dir: tempfile::TempDir,
    store: Option<FjallStore>,
    events: Vec<Event>,
    model: MemoryStore,
    /// The queues after each batch; those before the first one at the beginning.
    states: Vec<Queues>,
    /// Batches up to this one were reported as durable.
    reported: u64,
    /// The log as the last sync has left it.
    synced: Image,
    /// A database that a power loss may leave, from after the last checkpoint.
    old_db: Option<tempfile::TempDir>,
}

/// The seeds of a test: `LEVERET_SEEDS` may be a number of seeds, or a range such as `21..22`.
pub(super) fn seeds(default: u64) -> Range<u64> {
    let Ok(given) = std::env::var("LEVERET_SEEDS") else {
        return 0..default;
    };
    let (first, end) = given.split_once("..").unwrap_or(("0", &given));
    first.parse().unwrap()..end.parse().unwrap()
}

/// Names the seed if the test fails.
pub(super) struct Named(pub(super) u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, next) = (self.0, self.0 + 1);
            eprintln!("failed with seed {seed}; only this one: LEVERET_SEEDS={seed}..{next}");
        }
    }
}

fn options() -> FjallOptions {
    FjallOptions {
        extent_bytes: 64 * 1024,
        ..small()
    }
}

pub(super) fn log_image(dir: &Path) -> Image {
    let files = fs::read_dir(dir.join("log")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()))
        .collect()
}

/// Takes pages, and parts of pages, back to what they were.
pub(super) fn tear(rng: &mut StdRng, now: &mut [u8], before: &[u8]) {
    const SECTOR: usize = 512;
    const PAGE: usize = 4096;
    let share = [0.0, 0.1, 0.5, 1.0][rng.random_range(0..4)];
    for (page, at) in now.chunks_mut(PAGE).zip((0..).step_by(PAGE)) {
        if !rng.random_bool(share) {
            continue;
        }
        let is_torn = rng.random_bool(0.2);
        for (sector, at) in page.chunks_mut(SECTOR).zip((at..).step_by(SECTOR)) {
            if is_torn && rng.random() {
                continue;
            }
            match before.get(at..at + sector.len()) {
                Some(before) => sector.copy_from_slice(before),
                None => sector.fill(0),
            }
        }
    }
}

impl World {
    fn new(seed: u64) -> World {
        let dir = scratch();
        let store = FjallStore::open(dir.path(), options()).unwrap();
        let synced = log_image(dir.path());
        World {
            rng: StdRng::seed_from_u64(seed),
            dir,
            store: Some(store),
            events: Vec::new(),
            model: MemoryStore::new(),
            states: vec![Queues {
                born: 1,
                ..Queues::default()
            }],
            reported: 0,
            synced,
            old_db: None,
        }
    }

    fn store(&self) -> &FjallStore {
        self.store.as_ref().unwrap()
    }

    fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..55 => self.append(),
            55..72 => {
                self.sync();
                self.store().apply().unwrap();
                self.check();
            }
            72..76 => self.sync(), // a kill may come before it is applied
            76..80 => {
                checkpoint(self.store());
                self.old_db = None;
            }
            80..83 => self.keep_database(),
            83..86 => {
                self.store().core.evacuate(0, || false).unwrap();
            }
            86..88 => self.store().core.trim_extents(true).unwrap(),
            88..91 => self.fail(),
            91..95 => self.kill(),
            95..97 => self.stop(),
            _ => self.lose_power(),
        }
    }

    fn append(&mut self) {
        let mut queues = self.states.last().unwrap().clone();
        let ticket = self.last() + 1;
        let mut batch = self::batch(ticket, Vec::new());
        let id = self.rng.random_range(queues.born..queues.born + 5);
        queues.logs.entry(LogId(id)).or_default();
        for (&log, state) in &mut queues.logs {
            if self.rng.random() {
                state.step(log, &mut self.rng, &mut batch);
            }
        }
        if self.rng.random_bool(0.05)
            && let Some((log, _)) = queues.logs.pop_first()
        {
            batch.push(Op::RemoveLog { log });
            queues.born = log.0 + 1; // its id is never reused
        }
        batch.push(Op::PutDefinition {
            key: LAST.to_vec(),
            value: ticket.to_be_bytes().to_vec(),
        });
        self.store().append(&batch).unwrap();
        self.model.append(&batch).unwrap();
        self.events.push(Event::Batch(batch));
        self.states.push(queues);
    }

    fn sync(&mut self) {
        self.store().sync().unwrap();
        self.reported = self.last();
        self.synced = log_image(self.dir.path());
    }

    /// Keeps a copy of the database as it is after a checkpoint.
    fn keep_database(&mut self) {
        settle_down(self.store());
        self.store().core.copy_manifests_now();
        let kept = scratch();
        copy_dir(&self.dir.path().join("db"), &kept.path().join("db"));
        fs::copy(
            self.dir.path().join("manifest"),
            kept.path().join("manifest"),
        )
        .unwrap();
        self.old_db = Some(kept);
    }

    /// The store is opened again after a failure: what was not durable is gone, and is appended anew.
    fn fail(&mut self) {
        eventually("the sweeps", || self.store().has_swept());
        self.store().reopen().unwrap();
        assert_eq!(self.last_found(), self.reported);
        self.synced = log_image(self.dir.path());
        for event in &self.events {
            if let Event::Batch(batch) = event
                && batch.ticket.0 > self.reported
            {
                self.store().append(batch).unwrap();
            }
        }
    }

    fn kill(&mut self) {
        let store = self.store.take().unwrap();
        store.core.close(); // so that its end makes no checkpoint
        drop(store);
        self.start();
    }

    fn stop(&mut self) {
        self.reported = self.last();
        self.store = None;
        self.old_db = None;
        self.start();
    }

    /// Any part of what was written since the last sync is lost.
    fn lose_power(&mut self) {
        let store = self.store.take().unwrap();
        store.core.close();
        drop(store);
        let image = scratch();
        copy_dir(self.dir.path(), image.path());
        for (name, mut now) in log_image(self.dir.path()) {
            let is_log = name.extension().is_some_and(|it| it == "log") || name.ends_with("synced");
            if is_log {
                let before = self.synced.get(&name).cloned().unwrap_or_default();
                tear(&mut self.rng, &mut now, &before);
                fs::write(image.path().join("log").join(name), now).unwrap();
            }
        }
        if let Some(kept) = self.old_db.take()
            && self.rng.random()
        {
            fs::remove_dir_all(image.path().join("db")).unwrap();
            copy_dir(kept.path(), image.path());
        }
        self.dir = image;
        self.start();
    }

    fn start(&mut self) {
        self.store = Some(FjallStore::open(self.dir.path(), options()).unwrap());
        assert_eq!(self.store().damage(), Vec::<String>::new());
        let last = self.last_found();
        assert!(
            (self.reported..=self.last()).contains(&last),
            "{last} of {} batches are left, and {} were reported",
            self.last(),
            self.reported
        );
        self.truncate(last);
        self.events.push(Event::SweepSettled);
        self.model.sweep_settled().unwrap();
        self.reported = last; // the start has made it durable
        self.synced = log_image(self.dir.path());
        if self.rng.random() {
            self.check();
        }
    }

    fn last_found(&self) -> u64 {
        let found = self.store().definitions(LAST).unwrap();
        found.first().map_or(0, |(_, value)| {
            u64::from_be_bytes(value[..].try_into().unwrap())
        })
    }

    /// Forgets the batches after this one.
    fn truncate(&mut self, last: u64) {
        if last == self.last() {
            return;
        }
        self.states.truncate(usize::try_from(last).unwrap() + 1);
        self.events
            .retain(|event| !matches!(event, Event::Batch(batch) if batch.ticket.0 > last));
        self.model = MemoryStore::new();
        for event in &self.events {
            match event {
                Event::Batch(batch) => self.model.append(batch).unwrap(),
                Event::SweepSettled => self.model.sweep_settled().unwrap(),
            }
        }
    }

    /// Everything that was appended must be applied.
    fn check(&self) {
        if self.last_found() == self.last() {
            compare(self.store(), &self.model, &self.states.last().unwrap().logs);
        }
    }

    /// Harms a file of the log. No chunk may come back changed, and what is written afterwards is kept.
    fn damage(mut self) {
        let mut put = BTreeMap::new();
        for event in &self.events {
            let Event::Batch(batch) = event else { continue };
            for op in &batch.ops {
                if let Op::PutChunk { log, first, chunk } = op {
                    put.insert((*log, *first), chunk.clone());
                }
            }
        }
        let store = self.store.take().unwrap();
        store.core.close();
        drop(store);
        let files = files(&self.dir.path().join("log"));
        let victim = &files[self.rng.random_range(0..files.len())];
        let harm = Harm::random(&mut self.rng);
        harm.apply(victim, &mut self.rng);
        let store = FjallStore::open(self.dir.path(), options()).unwrap();
        for (log, state) in store.logs().unwrap() {
            for chunk in store
                .read_past(log, state.record.floor, usize::MAX)
                .unwrap()
            {
                let expected = put.get(&(log, chunk.first));
                assert!(
                    expected == Some(&chunk.data),
                    "{harm:?} of {victim:?}: {log:?} from {}, {} was put there",
                    chunk.first,
                    if expected.is_some() {
                        "another chunk"
                    } else {
                        "no chunk"
                    },
                );
            }
        }
        let log = LogId(1 << 20);
        for n in 0..8 {
            store.commit(&batch(0, append(log, n, chunk_of(n, 1, 9_000))));
            if n == 4 {
                checkpoint(&store);
            }
        }
        let store = killed(store, self.dir.path());
        let found = store.read(log, 0, usize::MAX).unwrap();
        let bodies: Vec<_> = found.into_iter().map(|chunk| chunk.data).collect();
        let expected: Vec<_> = (0..8).map(|n| chunk_of(n, 1, 9_000)).collect();
        assert!(
            bodies == expected,
            "{harm:?} of {victim:?}: {} chunks",
            bodies.len()
        );
    }
}

#[test]
fn nothing_reported_is_lost_whatever_happens_to_the_process_or_the_power() {
    for seed in seeds(SEEDS) {
        let _named = Named(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.damage();
    }
}
