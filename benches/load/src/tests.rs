//! Every mode, against a broker that stores nothing.

use clap::Parser;
use serde_json::Value;

use crate::cli::Cli;
use crate::error::BenchError;
use crate::load::Progress;
use crate::sink::Sink;

fn run(line: &str) -> Result<Value, BenchError> {
    let words = line.split_whitespace();
    let cli = Cli::try_parse_from(std::iter::once("leveret-bench").chain(words));
    let cli = cli.unwrap_or_else(|error| panic!("{line}: {error}"));
    let summary = cli.mode.run(Progress { quiet: true })?;
    assert!(!summary.to_string().is_empty());
    Ok(summary.json())
}

/// Runs the load generator against a sink, which does not deliver the message `lost`.
fn measure_losing(line: &str, lost: Option<u64>) -> Value {
    let sink = Sink::start(lost).unwrap();
    run(&format!("{line} --uri amqp://127.0.0.1:{}", sink.port)).unwrap()
}

fn measure(line: &str) -> Value {
    measure_losing(line, None)
}

#[test]
fn every_mode_with_messages_runs_to_its_end() {
    for (line, loads) in [
        ("produce --count 20000", 1),
        ("produce --count 3000 --confirm-window 0", 1),
        ("produce --seconds 0.2 --warm-up 0 --pairs 2", 1),
        ("consume --count 20001 --pairs 2 --size 100", 2),
        ("both --count 20001 --pairs 3", 1),
        (
            "both --seconds 0.3 --warm-up 0.1 --rate 5000 --confirm-window 10",
            1,
        ),
        ("latency --seconds 0.3 --warm-up 0 --rate 2000 --size 16", 1),
        ("backlog --count 5000 --size 40000 --restart-hook true", 2),
        ("both --count 5000 --ack-batch 0", 1),
        ("swarm --pairs 30 --rate 3000 --seconds 0.3 --warm-up 0", 1),
    ] {
        let summary = measure(line);
        assert_eq!(summary["ok"], true, "{line}: {summary:#}");
        assert_eq!(summary["loads"].as_array().unwrap().len(), loads, "{line}");
        assert!(
            summary["loads"][0]["rate"].as_f64().unwrap() > 0.0,
            "{line}: {summary:#}"
        );
    }
}

#[test]
fn counts_are_exact() {
    for mode in ["both", "produce"] {
        let summary = measure(&format!("{mode} --count 12345 --pairs 2"));
        let load = &summary["loads"][0];
        let count =
            |rate: &str| (load[rate].as_f64().unwrap() * load["seconds"].as_f64().unwrap()).round();
        assert_eq!(count("rate"), 12345.0, "{mode}");
        // With consumers the load ends with the last delivery. The last confirms may come later.
        let published = count("published_per_second");
        assert!(published <= 12345.0, "{mode}: {published}");
        assert!(mode == "both" || published == 12345.0, "{published}");
    }
}

#[test]
fn messages_that_come_before_they_are_due_are_found() {
    // The sink delivers without delay.
    let summary = measure("delayed --count 3000 --pairs 2 --due 3..4");
    for load in summary["loads"].as_array().unwrap() {
        let findings = &load["findings"];
        assert!(findings.is_null() || findings["missing"] == 0, "{load:#}");
    }
    assert_eq!(summary["ok"], false);
    assert_eq!(summary["delayed"]["messages"], 3000);
    let found = &summary["delayed"]["due"];
    assert_eq!(
        (&found["early"], &found["late_ms"]),
        (&3000.into(), &Value::Null)
    );
}

#[test]
fn messages_that_are_due_too_soon_are_not_measured() {
    let summary = measure("delayed --count 3000 --due 0..0.001 --restart-hook true");
    assert_eq!(summary["ok"], true, "{summary:#}");
    let found = &summary["delayed"]["due"];
    let count = |name: &str| found[name].as_u64().unwrap();
    assert_eq!(count("published_late") + count("due_unattended"), 3000);
    assert_eq!(found["late_ms"], Value::Null);
}

#[test]
fn connections_open_and_close() {
    let held = measure("connections --connections 20 --seconds 0.1");
    assert_eq!(held["connections"]["opened"], 20);
    let churned = measure("churn --connections 2 --seconds 0.3");
    assert!(churned["connections"]["opened"].as_u64().unwrap() > 2);
}

#[test]
fn every_stressor_works_and_ends() {
    for stressor in ["stuck-consumer", "flood", "bulk", "churn"] {
        let line = format!("stress --stressor {stressor} --seconds 0.3 --warm-up 0");
        let summary = measure(&line);
        assert_eq!(summary["ok"], true, "{summary:#}");
        let loads = summary["loads"].as_array().unwrap();
        assert_eq!(loads.len(), 2, "alone, and beside the stressor");
        let stress = &summary["stress"];
        assert!(stress["done_per_second"].as_f64().unwrap() > 1.0);
        assert!(stress["p99_ratio"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn queues_are_declared_and_deleted() {
    let summary = measure("queues --queues 20 --restart-hook true");
    let queues = &summary["queues"];
    assert_eq!(queues["declared"], 20);
    assert!(queues["declared_per_second"].as_f64().unwrap() > 0.0);
    assert!(queues["restart_seconds"].is_f64());
}

#[test]
fn the_disk_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let line = format!(
        "ideal-log --seconds 0.1 --warm-up 0 --confirm-window 10 --dir {}",
        dir.path().display()
    );
    let load = &run(&line).unwrap()["loads"][0];
    assert!(load["rate"].as_f64().unwrap() > 0.0 && load["confirm_ms"].is_object());
}

#[test]
fn a_lost_message_is_found() {
    let summary = measure_losing("latency --seconds 0.3 --warm-up 0 --rate 2000", Some(100));
    assert_eq!(summary["ok"], false);
    let findings = &summary["loads"][0]["findings"];
    assert_eq!(
        (&findings["missing"], &findings["repeated_or_late"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn options_of_other_modes_are_refused() {
    for line in [
        "produce --size 15",
        "produce --seconds 0",
        "produce --consumers 2",
        "produce --uri http://nowhere",
        "produce --pairs 2 --queues 2",
        "produce --count 10 --seconds 1",
        "produce --dir .",
        "both --pairs 2 --consumers 2",
        "latency --rate 0",
        "consume --seconds 1",
        "consume --consumers 0",
        "rewind",
        "ideal-log",
        "ideal-log --uri amqp://",
        "swarm --confirm-window 0",
        "backlog --due 1..2",
        "delayed --due 2..1",
        "cmq-send --uri amqp://",
    ] {
        let words = std::iter::once("leveret-bench").chain(line.split_whitespace());
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn contradictions_are_refused() {
    for line in ["both --prefetch 10 --ack-batch 11", "produce --bindings 4"] {
        assert!(matches!(run(line), Err(BenchError::Usage(_))), "{line}");
    }
}
