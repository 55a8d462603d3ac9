//! `leveret fsck` as a process on the directory of a stopped broker, and `leveret ctl fsck` on a running one.

use std::path::Path;
use std::process::{Command, Stdio};

use leveret::broker::broker::BrokerConfig;
use serde_json::Value;

use crate::damaged_files::{MESSAGES, QUEUE, damage_message, drain, fill, numbered};
use crate::process::Process;
use crate::support::exit_code::EX_UNAVAILABLE;
use crate::support::socketless::{open_on_disk, queue};
use crate::support::{Client, Peer, eventually};

/// The damaged message, and those in its chunk.
const DAMAGED: u64 = 12;
/// Exit codes.
const WHOLE: i32 = 0;
const HURT: i32 = 1;
const NOT_VERIFIED: i32 = 2;

fn leveret(args: &[&str], dir: &Path) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(args)
        .arg("--data-dir")
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        ran.status.code().unwrap(),
        text(ran.stdout),
        text(ran.stderr),
    )
}

/// Numbers of messages that a broker on this directory delivers.
async fn delivered(dir: &Path) -> Vec<u64> {
    let broker = open_on_disk(dir, BrokerConfig::default()).await;
    let numbers = drain(&queue(&broker, QUEUE)).await;
    broker.committer().shutdown();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_messages_are_named_with_their_queue_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), numbered).await;
    let (code, said, _) = leveret(&["fsck"], dir.path());
    assert_eq!(code, WHOLE, "{said}");
    assert!(said.contains(" is whole. "), "{said}");

    damage_message(dir.path(), DAMAGED);
    let (code, said, _) = leveret(&["fsck"], dir.path());
    assert_eq!(code, HURT, "{said}");
    assert!(
        said.contains("queue 'jobs' in virtual host '/': 3 messages cannot be read"),
        "{said}"
    );
    assert!(!dir.path().join("damaged").exists(), "nothing is changed");
    let (code, said, _) = leveret(&["fsck", "--format", "json"], dir.path());
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, HURT);
    assert_eq!(report["result"], "damaged");
    assert_eq!(report["queues"][0]["name"], "jobs");
    assert_eq!(report["messages_damaged"], 3);
    let offsets = &report["findings"][0]["messages"]["offsets"];
    let (first, end) = (offsets[0].as_u64().unwrap(), offsets[1].as_u64().unwrap());
    assert!((first..end).contains(&DAMAGED), "{offsets}");

    let (code, said, _) = leveret(&["fsck", "--repair"], dir.path());
    assert_eq!(code, HURT, "{said}");
    assert!(said.contains("Repaired: "), "{said}");
    let kept = std::fs::read_dir(dir.path().join("damaged")).unwrap();
    assert!(kept.count() > 0);
    let rest: Vec<u64> = (0..MESSAGES)
        .filter(|it| !(first..end).contains(it))
        .collect();
    assert_eq!(delivered(dir.path()).await, rest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_broker_verifies_its_own_directory() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), numbered).await;
    let broker = Process::start_by(|command| command, dir.path());
    let (code, _, said) = leveret(&["fsck"], dir.path());
    assert_eq!(code, NOT_VERIFIED, "{said}");
    assert!(
        said.contains("is in use by another broker (process "),
        "{said}"
    );

    let (code, said, error) = leveret(&["ctl", "fsck"], dir.path());
    assert_eq!(code, WHOLE, "{said}{error}");
    assert!(said.contains(" is whole. "), "{said}");
    damage_message(dir.path(), DAMAGED);
    let (code, _, said) = leveret(&["ctl", "fsck"], dir.path());
    assert_eq!(code, EX_UNAVAILABLE, "{said}");
    assert!(
        said.contains("queue 'jobs' in virtual host '/': 3 messages cannot be read"),
        "{said}"
    );
    let (code, _, said) = leveret(&["ctl", "fsck", "--formatter", "json"], dir.path());
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, EX_UNAVAILABLE);
    assert_eq!(report["queues"][0]["messages_damaged"], 3);
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_transient_queue_is_not_taken_for_damage() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Process::start_by(|command| command, dir.path());
    let address = broker.address.parse().unwrap();
    let mut peer = Peer::connect(address, Client::default()).await;
    peer.open(1).await;
    peer.declare(1, "transient").await;
    let chunks = || {
        let (_, said, error) = leveret(&["ctl", "fsck", "--formatter", "json"], dir.path());
        let report: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{error}"));
        assert_eq!(report["result"], "whole", "{report}");
        report["read"]["chunks"].as_u64().unwrap()
    };
    // The record of the log stays as it was with its first message.
    for expected in [1, 0] {
        if expected == 1 {
            peer.publish(1, "transient", b"message").await;
        } else {
            assert!(peer.get_no_ack(1, "transient").await.is_some());
        }
        eventually("the chunk on disk, or its removal", || chunks() == expected).await;
    }
}

#[test]
fn what_is_no_data_directory_is_not_verified() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, said) = leveret(&["fsck"], &dir.path().join("none"));
    assert_eq!(code, NOT_VERIFIED);
    assert!(said.contains("No such file"), "{said}");
    let (code, _, said) = leveret(&["fsck"], dir.path());
    assert_eq!(code, NOT_VERIFIED);
    assert!(said.contains("there are none"), "{said}");
    let left = std::fs::read_dir(dir.path()).unwrap();
    assert_eq!(left.count(), 0, "nothing is created");
}
