//! Simulation of the store of a member, by seeds: entries are appended, replaced, synced, applied and purged, with kills,
//! power losses that lose and tear what was not synced, and damage at the end. After each start the log must be a prefix
//! of what was written, with everything in it that a sync has covered. The model that the simulation of a set runs on
//! must allow what the start finds.

use super::damage::{Harm, files};
use super::simulation::{Image, Named, log_image, seeds, tear};
use super::*;
use crate::store::replica_model::{Entries, ReplicaModel};
use crate::store::writes::Change;
use crate::store::{EntryId, Proposal, Replica, Vote};

const SEEDS: u64 = 200;
const STEPS: usize = 80;
/// The definition that tells the last applied entry.
const LAST: &[u8] = b"last";

struct World {
    rng: StdRng,
    dir: tempfile::TempDir,
    store: Option<FjallStore>,
    model: ReplicaModel,
    term: u64,
    /// What a leader has appended once it appends again after a loss.
    appended: BTreeMap<EntryId, Proposal>,
    /// Counts everything that was ever appended.
    number: u64,
    /// Whether entries put chunks. Those keep extents from being used again.
    has_chunks: bool,
    /// The log as the last sync has left it.
    synced: Image,
}

fn options() -> FjallOptions {
    FjallOptions {
        extent_bytes: 64 * 1024,
        unapplied_bytes_max: 16 * 1024,
        ..small()
    }
}

/// The kept entries.
fn kept(store: &FjallStore) -> Entries {
    let state = store.replica_state().unwrap();
    let mut found = Entries::new();
    let mut next = state.purged.index + 1;
    while next <= state.last.index {
        let more = store.read_entries(next..state.last.index + 1, 20_000);
        let more = more.unwrap();
        assert!(!more.is_empty(), "entry {next} is missing");
        next += more.len() as u64;
        found.extend(more);
    }
    found
}

impl World {
    fn new(seed: u64) -> World {
        let dir = scratch();
        let store = FjallStore::open_member(dir.path(), options()).unwrap();
        let synced = log_image(dir.path());
        World {
            rng: StdRng::seed_from_u64(seed),
            dir,
            store: Some(store),
            model: ReplicaModel::default(),
            term: 1,
            appended: BTreeMap::new(),
            number: 0,
            has_chunks: seed.is_multiple_of(2),
            synced,
        }
    }

    fn store(&self) -> &FjallStore {
        self.store.as_ref().unwrap()
    }

    fn state(&self) -> crate::store::ReplicaState {
        self.model.replica_state().unwrap()
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..39 => self.append(),
            39..42 => self.free_extents(),
            42..52 => self.replace(),
            52..66 => self.sync(),
            66..76 => self.apply(),
            76..79 => self.vote(),
            79..82 => self.purge(),
            82..86 => {
                checkpoint(self.store());
                self.model.checkpoint();
            }
            86..88 => {
                self.store().core.evacuate(0, || false).unwrap();
            }
            88..90 => self.store().core.trim_extents(true).unwrap(),
            90..92 => self.fail(),
            92..95 => self.kill(),
            95..96 => self.stop(),
            _ => self.lose_power(),
        }
    }

    fn append(&mut self) {
        self.append_of(self.term);
    }

    /// Appends entries of a leader of this term.
    fn append_of(&mut self, term: u64) {
        for _ in 0..self.rng.random_range(1..4) {
            self.number += 1;
            let index = self.state().last.index + 1;
            let id = EntryId { term, index };
            let proposal = match self.appended.get(&id) {
                Some(proposal) => proposal.clone(),
                None => self.proposal(),
            };
            self.appended.insert(id, proposal.clone());
            self.store().append_entry(id, &proposal).unwrap();
            self.model.append_entry(id, &proposal).unwrap();
        }
    }

    fn proposal(&mut self) -> Proposal {
        match self.rng.random_range(0..10) {
            0 => Proposal::default(),
            1 => Proposal::of_members(self.number.to_be_bytes().to_vec()),
            _ => self.changes(),
        }
    }

    fn changes(&mut self) -> Proposal {
        let number = self.number;
        let mut ops = Vec::new();
        if self.has_chunks && self.rng.random() {
            let len = [300, 9_000][usize::from(self.rng.random_bool(0.3))];
            ops = append(LOG, number, chunk_of(number, 1, len));
        }
        let len = [8, 5_000][usize::from(self.rng.random_bool(0.2))];
        let mut value = number.to_be_bytes().to_vec();
        value.resize(len, 1);
        ops.push(Op::PutDefinition {
            key: LAST.to_vec(),
            value,
        });
        self.store().propose(&batch(0, ops), &mut HashSet::new())
    }

    /// A later leader replaces what no majority has. It may bring entries of a leader between, which has reached only others,
    /// and these may have a lower term than those that they replace.
    fn replace(&mut self) {
        let state = self.state();
        self.term += self.rng.random_range(1..4);
        let last = self.rng.random_range(state.majority..=state.last.index);
        if last < state.last.index {
            self.store().truncate_log(last).unwrap();
            self.model.truncate_log(last).unwrap();
        }
        let is_new = |term: &u64| self.appended.keys().all(|id| id.term != *term);
        let between = self.state().last.term.max(1)..self.term;
        if let Some(term) = between.rev().find(is_new) {
            self.append_of(term);
        }
        if self.rng.random_bool(0.8) {
            self.append();
        }
    }

    fn sync(&mut self) {
        self.store().sync_log().unwrap();
        self.model.sync_log().unwrap();
        self.synced = log_image(self.dir.path());
    }

    fn apply(&mut self) {
        self.sync();
        let state = self.state();
        let upto = self
            .rng
            .random_range(state.applied.index..=state.last.index);
        if upto == 0 {
            return;
        }
        let term = self.model.term_of(upto).unwrap();
        let id = EntryId { term, index: upto };
        self.store().note_majority(id);
        self.model.note_majority(id);
        if self.rng.random_bool(0.8) {
            self.store().apply_entries(upto).unwrap();
            self.model.apply_entries(upto).unwrap();
        }
        self.compare();
    }

    /// Nothing needs the extents any more, so that the next entries go over earlier ones.
    fn free_extents(&mut self) {
        self.sync();
        let last = self.state().last;
        if last.index == 0 {
            return;
        }
        self.store().note_majority(last);
        self.model.note_majority(last);
        self.store().apply_entries(last.index).unwrap();
        self.model.apply_entries(last.index).unwrap();
        self.store().purge_log(last.index).unwrap();
        self.model.purge_log(last.index).unwrap();
        let open = self.store().core.open().unwrap();
        open.checkpoint_whole().unwrap();
        drop(open);
        self.model.checkpoint();
        if self.rng.random() {
            self.append();
        }
    }

    fn vote(&mut self) {
        self.term += self.rng.random_range(0..2);
        let vote = Vote {
            term: self.term,
            node: Some(self.rng.random()),
            committed: self.rng.random(),
        };
        self.store().save_vote(vote).unwrap();
        self.model.save_vote(vote).unwrap();
    }

    fn purge(&mut self) {
        let upto = self.rng.random_range(0..=self.state().last.index);
        self.store().purge_log(upto).unwrap();
        self.model.purge_log(upto).unwrap();
    }

    /// The store is opened again after a failure.
    fn fail(&mut self) {
        eventually("the sweeps", || self.store().has_swept());
        self.store().reopen().unwrap();
        self.started(false);
    }

    fn kill(&mut self) {
        let store = self.store.take().unwrap();
        store.core.close(); // so that its end makes no checkpoint
        drop(store);
        self.start(false);
    }

    fn stop(&mut self) {
        self.store = None;
        self.start(false);
    }

    /// Any part of what was written since the last sync is lost.
    fn lose_power(&mut self) {
        let store = self.store.take().unwrap();
        store.core.close();
        drop(store);
        for (name, mut now) in log_image(self.dir.path()) {
            let is_log = name.extension().is_some_and(|it| it == "log");
            if is_log || name.ends_with("synced") || name.ends_with("committed") {
                let before = self.synced.get(&name).cloned().unwrap_or_default();
                tear(&mut self.rng, &mut now, &before);
                fs::write(self.dir.path().join("log").join(name), now).unwrap();
            }
        }
        self.start(true);
    }

    fn start(&mut self, lost_power: bool) {
        self.store = Some(FjallStore::open_member(self.dir.path(), options()).unwrap());
        self.started(lost_power);
    }

    fn started(&mut self, lost_power: bool) {
        let store = self.store.as_ref().unwrap();
        assert_eq!(store.damage(), Vec::<String>::new());
        let state = store.replica_state().unwrap();
        let found = kept(store);
        if let Err(why) = self.model.started_with(&state, &found, lost_power) {
            panic!("no start may find this: {why}");
        }
        self.synced = log_image(self.dir.path());
        self.compare();
    }

    /// Both hold the same.
    fn compare(&self) {
        let store = self.store();
        assert_eq!(store.replica_state().unwrap(), self.state());
        let state = self.state();
        let expected = self.model.read_entries(0..u64::MAX, u64::MAX).unwrap();
        assert!(kept(store) == expected, "other entries are kept");
        for index in state.purged.index..=state.last.index + 1 {
            assert_eq!(store.term_of(index), self.model.term_of(index), "{index}");
        }
        let found = store.definitions(LAST).unwrap();
        let found = found.first().map(|(_, value)| value.clone());
        let log = self.model.log();
        let applied = &log[..usize::try_from(state.applied.index).unwrap()];
        let last = applied.iter().rev().find_map(|(_, it)| last_of(it));
        assert_eq!(found, last, "what is applied");
    }

    /// Harms a file of the log. A start must refuse, or find everything that a sync has covered.
    fn damage(mut self) {
        let store = self.store.take().unwrap();
        store.core.close();
        drop(store);
        let files = files(&self.dir.path().join("log"));
        let victim = &files[self.rng.random_range(0..files.len())];
        let harm = Harm::random(&mut self.rng);
        harm.apply(victim, &mut self.rng);
        let Ok(store) = FjallStore::open_member(self.dir.path(), options()) else {
            return;
        };
        let (state, synced) = (store.replica_state().unwrap(), self.model.synced());
        for index in state.applied.index + 1..=state.last.index {
            // A chunk that is damaged is told to those who read it.
            let found = store.read_entries(index..index + 1, u64::MAX);
            let found = found.unwrap_or_default();
            let known = found.iter().all(|entry| self.model.may_have(entry));
            assert!(
                known,
                "{harm:?} of {victim:?}: entry {index} is another one"
            );
        }
        let last = synced.last().map_or(EntryId::default(), |(id, _)| *id);
        assert!(
            state.last >= last,
            "{harm:?} of {victim:?}: ends at {:?}, and {last:?} was synced",
            state.last
        );
        assert_eq!(state.vote, self.state().vote, "{harm:?} of {victim:?}");
    }
}

/// The value that this change gives the definition.
fn last_of(proposal: &Proposal) -> Option<Vec<u8>> {
    let writes = proposal.writes().iter();
    let mut puts = writes.filter(|write| write.key.ends_with(LAST));
    puts.find_map(|write| match &write.change {
        Change::Put(value) => Some(value.to_vec()),
        Change::Remove | Change::PutChunk(..) | Change::RemoveChunk(..) | Change::Sweep(..) => None,
    })
}

#[test]
fn a_member_keeps_what_was_synced_and_brings_nothing_back_that_was_replaced() {
    for seed in seeds(SEEDS) {
        let _named = Named(seed);
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.damage();
    }
}
