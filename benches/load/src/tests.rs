//! Every mode, against a broker that is no more than a sink.

use clap::Parser;

use super::sink::Sink;
use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn args(line: &str) -> Args {
    Line::try_parse_from(line.split_whitespace()).unwrap().args
}

/// Runs the load generator against a sink; `lost` is not delivered.
fn measure(line: &str, lost: Option<u64>) -> Summary {
    let sink = Sink::start(lost).unwrap();
    let line = format!(
        "bench {line} --quiet --warm-up 0 --uri amqp://127.0.0.1:{}",
        sink.port
    );
    Run::new(&args(&line)).unwrap().measure().unwrap()
}

#[test]
fn every_mode_with_messages_runs_to_its_end() {
    for (line, loads) in [
        ("produce --count 20000", 1),
        ("produce --count 3000 --confirm-window 0", 1),
        ("produce --seconds 0.2 --pairs 2", 1),
        ("consume --count 20001 --pairs 2 --size 100", 2),
        ("both --count 20001 --pairs 3", 1),
        ("both --seconds 0.3 --rate 5000 --confirm-window 10", 1),
        ("latency --seconds 0.3 --rate 2000 --size 16", 1),
        ("backlog --count 5000 --size 40000 --restart-hook true", 2),
        ("both --count 5000 --ack-batch 0", 1),
        ("swarm --pairs 30 --rate 3000 --seconds 0.3", 1),
    ] {
        let summary = measure(line, None);
        assert!(summary.ok, "{line}: {summary}");
        assert_eq!(summary.loads.len(), loads, "{line}");
        assert!(
            summary.loads.iter().all(|load| load.rate > 0.0),
            "{line}: {summary}"
        );
    }
}

#[test]
fn counts_are_exact() {
    for mode in ["both", "produce"] {
        let summary = measure(&format!("{mode} --count 12345 --pairs 2"), None);
        let [load] = &summary.loads[..] else {
            panic!("one load")
        };
        assert_eq!((load.rate * load.seconds).round(), 12345.0, "{mode}");
        // With consumers it ends when all is received: the last confirms may come after that.
        let published = (load.published_per_second * load.seconds).round();
        assert!(published <= 12345.0, "{mode}: {published}");
        assert!(mode == "both" || published == 12345.0, "{published}");
    }
}

#[test]
fn messages_that_come_before_they_are_due_are_found() {
    // The sink knows no delays.
    let summary = measure("delayed --count 3000 --pairs 2 --due 3..4", None);
    let [fill, due] = &summary.loads[..] else {
        panic!("two loads")
    };
    assert!(fill.is_ok() && due.is_ok() && !summary.ok, "{summary}");
    let report = serde_json::to_value(&summary).unwrap();
    assert_eq!(report["delayed"]["messages"], 3000);
    let found = &report["delayed"]["due"];
    assert_eq!(
        (&found["early"], &found["late_ms"]),
        (&3000.into(), &().into())
    );
}

#[test]
fn messages_that_are_due_too_soon_are_not_measured() {
    let summary = measure(
        "delayed --count 3000 --due 0..0.001 --restart-hook true",
        None,
    );
    assert!(summary.ok, "{summary}");
    let report = serde_json::to_value(&summary).unwrap();
    let found = &report["delayed"]["due"];
    let count = |name: &str| found[name].as_u64().unwrap();
    assert_eq!(count("published_late") + count("due_unattended"), 3000);
    assert_eq!(found["late_ms"], serde_json::Value::Null);
}

#[test]
fn connections_open_and_close() {
    let held = measure("connections --connections 20 --seconds 0.1", None);
    assert_eq!(held.connections.unwrap().opened, 20);
    let churned = measure("churn --connections 2 --seconds 0.3", None);
    assert!(churned.connections.unwrap().opened > 2);
}

#[test]
fn every_stressor_works_and_ends() {
    for stressor in ["stuck-consumer", "flood", "bulk", "churn"] {
        let line = format!("stress --stressor {stressor} --seconds 0.3");
        let summary = measure(&line, None);
        assert!(summary.ok, "{summary}");
        assert_eq!(summary.loads.len(), 2, "alone, and beside it");
        let stress = summary.stress.unwrap();
        assert!(stress.done_per_second > 1.0, "{stress}");
        assert!(stress.p99_ratio.is_some_and(|ratio| ratio > 0.0));
    }
}

#[test]
fn queues_are_declared_and_deleted() {
    let queues = measure("queues --queues 20 --restart-hook true", None);
    let queues = queues.queues.unwrap();
    assert_eq!(queues.declared, 20);
    assert!(queues.declared_per_second > 0.0 && queues.restart_seconds.is_some());
}

#[test]
fn the_disk_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "ideal-log --seconds 0.1 --confirm-window 10 --dir {}",
        dir.path().display()
    );
    let [load] = &measure(&line, None).loads[..] else {
        panic!("one load")
    };
    assert!(load.rate > 0.0 && load.confirm_ms.is_some());
}

#[test]
fn a_lost_message_is_found() {
    let summary = measure("latency --seconds 0.3 --rate 2000", Some(100));
    assert!(!summary.ok);
    let findings = summary.loads[0].findings.unwrap();
    assert_eq!((findings.missing, findings.repeated_or_late), (1, 0));
}

#[test]
fn contradictions_are_refused() {
    for line in [
        "produce --size 15",
        "both --prefetch 10 --ack-batch 11",
        "latency --rate 0",
        "consume --consumers 0",
        "produce --seconds 0",
        "produce --bindings 4",
        "produce --uri http://nowhere",
        "ideal-log",
        "produce --dir .",
        "swarm --confirm-window 0",
        "backlog --due 1..2",
        "delayed --due 1..2 --consumers 0",
    ] {
        assert!(Run::new(&args(&format!("bench {line}"))).is_err(), "{line}");
    }
}
