//! Opens data directories that earlier builds wrote: everything in them must be there, and nothing else.
//!
//! A fixture in `tests/fixtures` holds a directory's files, without the zeroes at the end of journals and of the log, and
//! `inventory.txt`, the list of its content at the time of writing. Fixtures never change. A new format gets a new
//! fixture, written by
//! `LEVERET_FIXTURE=tests/fixtures/data-v4 cargo test --test it old_data_directories::fixture -- --ignored`;
//! check the inventory of a new one by eye.

mod fixture;
mod inventory;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret::broker::broker::{Broker, BrokerConfig};
use leveret::broker::queue::Queue;
use leveret::store::{FjallOptions, FjallStore};

use crate::support::socketless;

use inventory::inventory;

pub(crate) const FIXTURES: &str = "tests/fixtures";
const VHOST: &str = "shop";
const PASSWORD: &[u8] = b"mint and thyme";

async fn open(dir: &Path, options: FjallOptions) -> Arc<Broker> {
    let store = FjallStore::open(dir, options).unwrap();
    socketless::open(Arc::new(store), BrokerConfig::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_written_in_format_1_is_read() {
    check_fixture("data-v1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_written_in_format_2_is_read() {
    check_fixture("data-v2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_written_in_format_3_is_read() {
    check_fixture("data-v3").await;
}

async fn check_fixture(fixture: &str) {
    let dir = tempfile::tempdir().unwrap();
    let root = [env!("CARGO_MANIFEST_DIR"), FIXTURES, fixture];
    let root: PathBuf = root.iter().collect();
    copy(&root.join("data"), dir.path());
    let broker = open(dir.path(), FjallOptions::default()).await;
    let found = inventory(&broker).await;
    let expected = fs::read_to_string(root.join("inventory.txt")).unwrap();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {}", number + 1);
    }
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "number of lines"
    );
    broker
        .users()
        .authenticate("alice", PASSWORD)
        .await
        .unwrap();
    broker
        .users()
        .authenticate("alice", b"no")
        .await
        .unwrap_err();

    // The queues accept new messages.
    let orders = queue(&broker, "orders");
    let message = socketless::message("orders", "new");
    socketless::publish(&broker, &orders, vec![message]).await;
    broker.committer().shutdown();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.file_name() != ".keep" {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn queue(broker: &Arc<Broker>, name: &str) -> Arc<Queue> {
    broker.vhost(VHOST).unwrap().queue(name).unwrap()
}
