//! Simulation of a whole set by seeds: members with Raft and their logs in virtual time, over disks that lose what was
//! not synced and over a network that delays, loses, repeats and cuts. Brokers write numbers wherever a node leads.
//!
//! Faults that were put into the members by hand were found by the first 40 seeds, too: a transfer before which the leader
//! goes on serving, and a member that votes soon after its start. Earlier schedules found votes that are not written,
//! entries that are applied when they are durable here, replaced entries that stay in memory, and a broker that begins
//! without an entry of its own. Not simulated are the links between nodes, the committer, and files with damaged parts.
//!
//! `LEVERET_SEEDS` sets a number of seeds or a range of them, such as `21..22` or, without an end, `21..`;
//! `LEVERET_SIMULATION_SECONDS` ends the run when so much time has passed.

mod caller; // what a process calls
mod checker; // what must hold
mod events; // what may happen
mod membership; // who comes and goes
mod network; // between the nodes
mod node; // a store, its processes and their brokers
mod process; // clocks and pauses of one
mod processes; // all of them
mod runtime; // Raft's tasks and time
mod schedule; // a run from its beginning to its end
mod timer; // waits for a clock
mod world; // tasks in virtual time

pub(in super::super) use runtime::{Runtime, blocking, take_steps};
pub(in super::super) use world::World;

use std::num::NonZero;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schedule::{Counts, Planted, Schedule};

use crate::clock::monotonic;
use crate::store::replica_model::Plant;

/// As many as run in about half a minute without optimisation.
const SEEDS: u64 = 20;

fn seeds(default: u64) -> Range<u64> {
    let Ok(given) = std::env::var("LEVERET_SEEDS") else {
        return 0..default;
    };
    let (first, end) = given.split_once("..").unwrap_or(("0", &given));
    let end = match end {
        "" => u64::MAX,
        end => end.parse().unwrap(),
    };
    first.parse().unwrap()..end
}

/// When no further seed begins.
fn end() -> Option<Instant> {
    let seconds = std::env::var("LEVERET_SIMULATION_SECONDS").ok()?;
    let seconds = Duration::from_secs(seconds.parse().unwrap());
    Some(monotonic() + seconds)
}

/// Runs the schedule of a seed.
fn run(seed: u64, planted: Option<Planted>) -> Result<Counts, String> {
    let world = World::new(seed);
    let _entered = world.enter();
    let mut schedule = Schedule::new(&world, planted);
    let outcome = catch_unwind(AssertUnwindSafe(|| schedule.run()));
    let outcome = outcome.unwrap_or_else(|_| Err("it has panicked".to_owned()));
    let told = || schedule.told();
    outcome.map_err(|wrong| format!("seed {seed}: {wrong}\n{}", told()))?;
    Ok(schedule.counts())
}

/// Runs these seeds on all processors. Returns the first that has failed, if any.
fn run_all(seeds: Range<u64>) -> Result<Counts, String> {
    let (next, end) = (AtomicU64::new(seeds.start), end());
    let sum = Mutex::new(Ok(Counts::default()));
    let work = || {
        while sum.lock().is_ok() && end.is_none_or(|end| monotonic() < end) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let counts = run(seed, None);
            let mut sum = sum.lock();
            match (&mut *sum, counts) {
                (Ok(sum), Ok(counts)) => sum.add(&counts),
                (Ok(_), Err(wrong)) => *sum = Err(wrong),
                (Err(_), _) => {}
            }
        }
    };
    let threads = available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    sum.into_inner()
}

#[test]
fn a_set_keeps_what_it_has_confirmed_and_one_node_serves() {
    let seeds = seeds(SEEDS);
    let first = seeds.start;
    let sum = run_all(seeds).unwrap_or_else(|wrong| panic!("{wrong}"));
    eprintln!("from seed {first} on: {sum:?}");
}

#[test]
fn a_seed_gives_the_same_run_every_time() {
    let first = format!("{:?}", run(3, None));
    assert_eq!(first, format!("{:?}", run(3, None)));
}

/// One of so many seeds finds the fault.
#[track_caller]
fn finds(planted: Planted, most: u64) {
    let mut tried = seeds(most).map(|seed| run(seed, Some(planted)));
    let found = tried.find_map(Result::err);
    let found = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
    eprintln!("{planted:?}: {}", found.lines().next().unwrap_or_default());
}

#[test]
fn a_node_that_answers_before_its_flush_is_found() {
    finds(Planted::Store(Plant::SyncsNothing), 10);
}

#[test]
fn votes_that_are_not_durable_are_found() {
    finds(Planted::Store(Plant::LosesVotes), 40);
}

#[test]
fn replaced_entries_that_come_back_are_found() {
    finds(Planted::Store(Plant::BringsBackReplaced), 40);
}

#[test]
fn entries_that_are_applied_before_they_are_committed_are_found() {
    finds(Planted::Store(Plant::AppliesEarly), 40);
}

#[test]
fn a_confirmed_entry_that_a_node_loses_is_found() {
    finds(Planted::Store(Plant::LosesLastEntry), 40);
}

#[test]
fn a_lease_that_lasts_too_long_is_found() {
    finds(Planted::WrongClocks, 40);
}

#[test]
fn a_leader_that_serves_for_longer_than_others_wait_is_found() {
    finds(Planted::LongLease, 40);
}
