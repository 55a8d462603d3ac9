//! A deterministic simulation of several queues on one store: clients publish, consume, receive and rewind, messages
//! die and move on, reads and batches take their time, and the broker crashes. A schedule of such steps comes of a
//! seed. After each step an oracle checks what the queues did: no message is lost, invented, brought back or given to
//! two clients.
//!
//! A schedule that shows a fault shrinks to a few steps, which can be pasted into a test that calls [`check`].
//! `LEVERET_SIMULATIONS` sets the number of schedules, `LEVERET_SIMULATION_SEED` another seed.

mod apply; // what each step does
mod checked; // a result, or what is wrong
mod contents; // what the queues contain, according to the oracle
mod disk; // batches, and what a crash leaves of them
mod end; // draining what is there at the end
mod numbers; // what holds after each step
mod oracle; // what the queues must not do
mod queues; // which queues there are
mod reads; // reads under way
mod step; // the steps of a schedule
mod survival; // what a crash leaves, according to the oracle
mod world; // the queues, and how their effects are carried out

use std::fmt::Write;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use checked::{Checked, ensure};
use step::{Step, step};
use world::World;

/// Runs a schedule and drains the queues at its end. Returns a hash of everything that the machines did.
fn run(steps: &[Step]) -> Checked<u64> {
    let mut world = World::new();
    for (index, step) in steps.iter().enumerate() {
        let done = world.apply(*step).and_then(|()| world.check());
        done.map_err(|wrong| format!("step {index}, {step:?}: {wrong}"))?;
    }
    world
        .end()
        .map_err(|wrong| format!("at the end: {wrong}"))?;
    Ok(world.digest())
}

/// Runs a schedule twice: the machines do the same both times.
fn check(steps: &[Step]) -> Checked {
    let (one, other) = (run(steps)?, run(steps)?);
    ensure!(one == other, "two runs of the same schedule differ");
    Ok(())
}

/// Takes out every step without which the schedule still shows a fault.
fn shortened(mut wrong: String, mut steps: Vec<Step>) -> (String, Vec<Step>) {
    let mut index = 0;
    while index < steps.len() {
        let mut fewer = steps.clone();
        fewer.remove(index);
        match check(&fewer) {
            Ok(()) => index += 1,
            Err(still) => (wrong, steps, index) = (still, fewer, 0),
        }
    }
    (wrong, steps)
}

/// The number in an environment variable.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_schedule_loses_or_invents_or_duplicates_a_message() {
    let schedules = number("LEVERET_SIMULATIONS").unwrap_or(1_500);
    let seed = number("LEVERET_SIMULATION_SEED").unwrap_or(1);
    let config = Config {
        cases: u32::try_from(schedules).expect("at most 2^32 schedules"),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let schedule = prop::collection::vec(step(), 1..120);
    let result = runner.run(&schedule, |steps| {
        check(&steps).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, steps)) => {
            let (reason, steps) = shortened(reason.to_string(), steps);
            let mut text = String::new();
            for step in &steps {
                writeln!(text, "    {step:?},").expect("a string");
            }
            panic!("seed {seed}: {reason}\n{} steps: [\n{text}]", steps.len());
        }
    }
}

/// A prolongation with an invalid handle ended a lease whose time was over, and handed its message out to no consumer.
#[test]
fn a_message_whose_lease_a_futile_prolongation_ends_is_handed_out() {
    let publish = Step::Publish {
        queue: 2,
        count: 2,
        transient: false,
        priority: 0,
        delay_ms: None,
        expiration_ms: None,
    };
    let receive = Step::Receive {
        queue: 2,
        max: 2,
        hasty: false,
    };
    let consume = Step::Consume {
        queue: 2,
        no_ack: false,
        credit: 1,
        priority: 0,
        from: None,
    };
    let steps = [
        publish,
        receive,
        consume,
        Step::Prolong { handle: 1, ms: 337 },
        Step::DeleteReceived { handle: 0 },
        Step::Advance {
            ms: 500,
            late: true,
        },
        Step::Prolong { handle: 0, ms: 0 },
    ];
    assert_eq!(check(&steps), Ok(()));
}
