//! A node begins and ends to serve many times in one process, and what its first start leaves in the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::doors::Doors;
use super::listeners::Addresses;
use super::own_data;
use super::process::Process;
use super::tenure::Tenure;
use crate::broker::first_start::has_queues_or_vhosts;
use crate::broker::vhost::{NewQueue, VhostMetadata};
use crate::clock::Mandate;
use crate::config::{Config, RawConfig};
use crate::store::{Committer, Limits, MemoryStore, Store};
use crate::views::{Protocol, Security};
use crate::wire::FieldTable;

const PATIENCE: Duration = Duration::from_secs(20);
const CHANGES: usize = 20;

fn process() -> Arc<Process> {
    let free = || vec![Some(([127, 0, 0, 1], 0).into())];
    let mut config = Config::from_raw(&RawConfig::default()).unwrap();
    config.amqp_listen = free();
    config.cmq_listen = free();
    config.management_listen = free();
    config.prometheus_listen = free();
    Arc::new(Process::new(config, mpsc::channel(1).0).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_begins_and_ends_to_serve_many_times_and_leaves_nothing_behind() {
    let process = process();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let mut sockets = process
        .open_sockets(&Addresses::configured(&process.config()))
        .unwrap();
    let address = sockets.addresses().of(Protocol::Amqp, Security::Plain)[0];
    for change in 0..CHANGES {
        // It waits at the socket until there is a broker behind it.
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
        let committer = Committer::start(Arc::clone(&store), Limits::default()).unwrap();
        let tenure = Tenure::begin(&process, committer, Arc::new(Mandate::without_end()))
            .await
            .unwrap();
        let mut doors = Doors::to_broker(sockets, &tenure.fronts, None);
        let mut start = [0; 7];
        let answered = timeout(PATIENCE, client.read_exact(&mut start)).await;
        answered.expect("an answer in time").unwrap();
        let vhosts = tenure.broker.vhost_list().len();
        assert_eq!(
            vhosts,
            change + 1,
            "what the one before has stored is there"
        );
        let name = format!("vhost {change}");
        let added = tenure.broker.add_vhost(&name, VhostMetadata::default());
        added.await.unwrap();
        let broker = Arc::downgrade(&tenure.broker);
        let committer = Arc::downgrade(tenure.broker.committer());
        let front = Arc::downgrade(&tenure.fronts.amqp);

        sockets = doors.stop().await;
        tenure.stop_shovels().await;
        doors.close(&tenure.broker, "over", Duration::ZERO).await;
        tenure.end(&process).await;
        assert_eq!(broker.strong_count(), 0);
        assert_eq!(front.strong_count(), 0);
        assert_eq!(committer.strong_count(), 0);
        assert_eq!(
            Arc::strong_count(&store),
            1,
            "no thread reads or writes the store"
        );
        assert!(process.now().is_none());
        assert!(process.host().serving.borrow().is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_first_start_writes_is_no_data_of_anyone() {
    let process = process();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let made_all = || {
        let config = process.config();
        own_data::first_start(&config).made_all(&store.definitions(b"").unwrap())
    };
    let begin = || async {
        let committer = Committer::start(Arc::clone(&store), Limits::default()).unwrap();
        let mandate = Arc::new(Mandate::without_end());
        Tenure::begin(&process, committer, mandate).await.unwrap()
    };
    let tenure = begin().await;
    tenure.end(&process).await;
    assert!(made_all());
    let tenure = begin().await;
    let added = tenure.broker.users().add("alice", b"mint", Vec::new());
    added.await.unwrap();
    assert!(!made_all());
    tenure.broker.users().delete("alice").await.unwrap();
    assert!(made_all());
    let vhost = tenure.broker.vhost("/").unwrap();
    let has = || has_queues_or_vhosts(|prefix| store.definitions(prefix)).unwrap();
    assert!(!has());
    let queue = NewQueue {
        name: "jobs".into(),
        durable: true,
        exclusive_owner: None,
        auto_delete: false,
        arguments: FieldTable::default(),
    };
    vhost.create_queue(queue).await.unwrap();
    assert!(!made_all() && has());
    tenure.end(&process).await;
}
