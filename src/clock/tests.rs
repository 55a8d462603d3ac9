//! The time line when the wall clock is set, over restarts and boots.

use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const START_MS: u64 = 1_700_000_000_000;

/// A machine whose clocks move only when a test moves them.
#[derive(Debug)]
struct Machine(Mutex<Readings>);

#[derive(Clone, Copy, Debug)]
struct Readings {
    since_boot_ms: u64,
    wall_ms: u64,
    boot: u64,
}

impl Machine {
    fn new() -> Arc<Machine> {
        Arc::new(Machine(Mutex::new(Readings {
            since_boot_ms: 77_000,
            wall_ms: START_MS,
            boot: 1,
        })))
    }

    fn passes(&self, ms: u64) {
        let mut now = self.0.lock();
        now.since_boot_ms += ms;
        now.wall_ms += ms;
    }

    fn is_set(&self, ahead_ms: i64) {
        let mut now = self.0.lock();
        now.wall_ms = now.wall_ms.saturating_add_signed(ahead_ms);
    }

    fn boots(&self) {
        let mut now = self.0.lock();
        now.since_boot_ms = 5_000;
        now.boot += 1;
    }
}

impl Source for Machine {
    fn since_boot_ns(&self) -> u64 {
        self.0.lock().since_boot_ms * NS_PER_MS
    }

    fn wall_ns(&self) -> u64 {
        self.0.lock().wall_ms * NS_PER_MS
    }

    fn boot(&self) -> Option<Arc<str>> {
        Some(self.0.lock().boot.to_string().into())
    }
}

fn started(machine: &Arc<Machine>, anchor: Option<&Anchor>) -> Clock {
    Clock::start(Arc::clone(machine) as Arc<dyn Source>, anchor)
}

#[test]
fn a_line_begins_at_wall_clock_time_and_ignores_later_settings() {
    let machine = Machine::new();
    let clock = started(&machine, None);
    assert_eq!((clock.now_ms(), clock.wall_ms()), (START_MS, START_MS));
    let then = clock.now();
    for (ahead_ms, shown) in [
        (HOUR_MS, START_MS + 3_600_000),
        (-HOUR_MS, START_MS),
        (-HOUR_MS, START_MS - 3_600_000),
        (HOUR_MS, START_MS),
    ] {
        machine.is_set(ahead_ms);
        machine.passes(1_000);
        assert_eq!(clock.wall_ms_at(then), shown);
        assert_eq!(clock.moment_of(shown), then);
    }
    assert_eq!(clock.now_ms(), START_MS + 4_000);
}

#[test]
fn differently_rounded_readings_do_not_change_the_times_clients_see() {
    let machine = Machine::new();
    let clock = started(&machine, None);
    let then = clock.now();
    for jitter in [1, -2, 3, -4, 4] {
        machine.is_set(jitter);
        assert_eq!(clock.wall_ms_at(then), START_MS);
    }
}

#[test]
fn a_restart_continues_exactly_whatever_the_wall_clock_did_meanwhile() {
    for ahead_ms in [0, HOUR_MS, -HOUR_MS, -50 * 365 * 24 * HOUR_MS] {
        let machine = Machine::new();
        let anchor = started(&machine, None).anchor();
        machine.passes(60_000);
        machine.is_set(ahead_ms);
        machine.passes(500);
        let clock = started(&machine, Some(&anchor));
        assert_eq!(clock.now_ms(), START_MS + 60_500, "{ahead_ms}");
        assert_eq!(clock.wall_ms_at(clock.now()), clock.wall_ms(), "{ahead_ms}");
    }
}

#[test]
fn after_a_boot_the_wall_clock_tells_how_long_the_broker_was_down() {
    let machine = Machine::new();
    let clock = started(&machine, None);
    // The wall clock was set while the broker ran. The difference is not passed time.
    machine.is_set(HOUR_MS);
    machine.passes(1_000);
    let anchor = clock.anchor();
    machine.passes(90_000);
    machine.boots();
    let again = started(&machine, Some(&anchor));
    assert_eq!(again.now_ms(), START_MS + 91_000);
}

#[test]
fn after_a_boot_a_line_ahead_of_the_wall_clock_continues_where_it_was() {
    let machine = Machine::new();
    let clock = started(&machine, None);
    machine.passes(10_000);
    let anchor = clock.anchor();
    machine.boots();
    machine.is_set(-50 * 365 * 24 * HOUR_MS);
    let clock = started(&machine, Some(&anchor));
    assert_eq!(clock.now_ms(), START_MS + 10_000);
    // When the wall clock is right again, so are the shown times, and the line continues as before.
    machine.passes(3_000);
    machine.is_set(50 * 365 * 24 * HOUR_MS);
    assert_eq!(clock.now_ms(), START_MS + 13_000);
    assert_eq!(clock.wall_ms_at(clock.now()), clock.wall_ms());
}

#[test]
fn the_same_boot_id_with_less_time_counts_as_another_machine() {
    let machine = Machine::new();
    let clock = started(&machine, None);
    machine.passes(10_000);
    let anchor = clock.anchor();
    machine.0.lock().since_boot_ms = 3;
    machine.0.lock().wall_ms += 500;
    let again = started(&machine, Some(&anchor));
    assert_eq!(again.now_ms(), START_MS + 10_500);
}

#[test]
fn an_anchor_survives_serialization() {
    let anchor = started(&Machine::new(), None).anchor();
    let text = serde_json::to_string(&anchor).unwrap();
    assert_eq!(serde_json::from_str::<Anchor>(&text).unwrap(), anchor);
}

#[test]
fn the_machine_is_read() {
    let (before, wall) = (System.since_boot_ns(), System.wall_ns() / NS_PER_MS);
    assert!(wall > 1_600_000_000_000);
    assert!(System.since_boot_ns() >= before);
    let settable = Settable::default();
    settable.set_wall_ahead_ms(-HOUR_MS);
    let clock = Clock::start(Arc::new(settable), None);
    assert!(clock.now_ms().abs_diff(wall - 3_600_000) < 60_000);
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Passes(u64),
    IsSet(i64),
    Restarts(u64),
    Boots(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..100_000u64).prop_map(Event::Passes),
        (-10 * HOUR_MS..10 * HOUR_MS).prop_map(Event::IsSet),
        (0..100_000u64).prop_map(Event::Restarts),
        (0..100_000u64).prop_map(Event::Boots),
    ]
}

proptest! {
    /// The line advances with time, however the wall clock of a running machine is set.
    #[test]
    fn time_passes(events in prop::collection::vec(event(), 1..60)) {
        let machine = Machine::new();
        let mut clock = started(&machine, None);
        let mut expected_ms = START_MS;
        for event in events {
            match event {
                Event::Passes(ms) => {
                    machine.passes(ms);
                    expected_ms += ms;
                }
                Event::IsSet(ahead_ms) => machine.is_set(ahead_ms),
                Event::Restarts(down_ms) | Event::Boots(down_ms) => {
                    let anchor = clock.anchor();
                    machine.passes(down_ms);
                    if let Event::Boots(_) = event {
                        machine.boots();
                    }
                    clock = started(&machine, Some(&anchor));
                    expected_ms += down_ms;
                }
            }
            // Over a boot the wall clock counts, as exactly as the clocks are compared.
            let now_ms = clock.now_ms();
            prop_assert!(now_ms.abs_diff(expected_ms) < STEP_MS, "{now_ms} {expected_ms}");
            expected_ms = now_ms;
            prop_assert!(clock.wall_ms_at(clock.now()).abs_diff(clock.wall_ms()) < STEP_MS);
        }
    }
}
