//! What the members of a set hold, compared by `leveret fsck` when they are stopped.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::nodes::{Node, THREE, formed, nodes};
use super::passing::{QUEUE, connect};
use crate::old_data_directories::{FIXTURES, copy};
use crate::support::eventually;

/// Compares the stores of these nodes. Returns the exit code and what is said.
fn compared(nodes: &[Node], format: &str) -> (i32, String) {
    let dirs = nodes.iter().map(|node| node.path(""));
    let ran = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["fsck", "--format", format, "--compare"])
        .args(dirs.collect::<Vec<PathBuf>>())
        .output()
        .unwrap();
    let said = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
    (ran.status.code().unwrap(), said)
}

fn have_applied_the_same(set: &[Node; 3]) -> bool {
    let applied = set.each_ref();
    let [a, b, c] = applied.map(|node| node.status()["set"]["applied"].clone());
    a == b && b == c
}

/// What is in a directory of an earlier format is in no entry of its log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_release_has_left_goes_to_all_nodes_of_a_set() {
    for fixture in ["data-v1", "data-v2"] {
        let dir = tempfile::tempdir().unwrap();
        let mut set = nodes(dir.path(), THREE);
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FIXTURES);
        copy(&root.join(fixture).join("data"), &set[0].path(""));
        set.iter_mut().for_each(Node::start);
        set[0].ok(&["await_online_nodes", "3"]);
        eventually("all have applied the same", || have_applied_the_same(&set)).await;
        let queues = set[2].ok(&["list_queues", "-p", "shop", "name", "messages"]);
        assert!(queues.contains("orders"), "{queues}");
        set.iter_mut().for_each(Node::stop);
        let (code, said) = compared(&set, "text");
        assert_eq!(code, 0, "{fixture}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_members_hold_the_same_and_a_flipped_body_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut set, leader) = formed(dir.path());
    let mut peer = connect(&set[leader]).await;
    peer.declare_durable(1, QUEUE, &[]).await;
    for number in 0..60 {
        let body = format!("message {number} ").repeat(100);
        peer.publish(1, QUEUE, body.as_bytes()).await;
    }
    for _ in 0..7 {
        assert!(peer.get_no_ack(1, QUEUE).await.is_some());
    }
    set[leader].ok(&["add_vhost", "orders"]);
    drop(peer);
    eventually("all have applied the same", || have_applied_the_same(&set)).await;
    // Those that are stopped later may get entries that change nothing.
    set.iter_mut().for_each(Node::stop);
    let (code, said) = compared(&set, "text");
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("3 stores are equal at entry "), "{said}");

    let log = set[1].path("log");
    let mut flipped = 0;
    for file in std::fs::read_dir(log).unwrap() {
        let path = file.unwrap().path();
        let mut content = std::fs::read(&path).unwrap();
        let found = content.windows(11).position(|it| it == b"message 50 ");
        if let Some(at) = found.filter(|_| path.extension().is_some_and(|it| it == "log")) {
            content[at] ^= 1;
            std::fs::write(&path, content).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1);
    let (code, said) = compared(&set, "text");
    assert_eq!(code, 1, "{said}");
    let hurt = set[1].path("");
    let expected = format!("- {}: queue 'jobs' in virtual host '/': ", hurt.display());
    assert!(said.starts_with("stores differ at entry "), "{said}");
    assert!(said.contains(&expected), "{said}");
    let (_, said) = compared(&set, "json");
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["result"], "different");
    let stores = report["stores"].as_array().unwrap();
    let differ: Vec<_> = stores
        .iter()
        .filter(|store| store["differences"] != serde_json::json!([]))
        .map(|store| store["data_dir"].as_str().unwrap())
        .collect();
    assert_eq!(differ, [hurt.to_str().unwrap()]);
}
