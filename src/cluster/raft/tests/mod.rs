//! Tests of members in one process, over real stores and a network of calls that can be cut.

mod abstentions;
mod changes;
mod damage;
mod joins;
mod members;
mod own_data;
pub(super) mod simulation;
mod snapshot_streams;
mod snapshots;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::*;
use crate::store::{Batch, FjallOptions, FjallStore, Op, Replica, Store};

/// A directory in memory if possible.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn small() -> FjallOptions {
    FjallOptions {
        extent_bytes: 256 * 1024,
        ..FjallOptions::default()
    }
}

/// The calls between the members of one test.
#[derive(Default)]
struct Network {
    members: Mutex<BTreeMap<u64, Arc<Member>>>,
    /// Members that are cut off from all others.
    cut: Mutex<BTreeSet<u64>>,
}

/// The calls of one member.
struct Caller {
    me: u64,
    network: Arc<Network>,
}

impl Network {
    fn origin(&self, id: u64) -> Origin {
        let members = self.members.lock();
        let name = members.get(&id).map(|member| member.this().name.clone());
        Origin {
            id,
            name: name.unwrap_or_default(),
        }
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        let cut = self.cut.lock();
        cut.contains(&from) || cut.contains(&to)
    }
}

impl Peers for Caller {
    fn call(
        &self,
        to: &MemberInfo,
        _: Lane,
        kind: u8,
        request: Vec<Bytes>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (network, me, to) = (self.network.clone(), self.me, to.id);
        async move {
            let unreachable = || PeerError::Unreachable("it is cut off".to_owned());
            if network.is_cut(me, to) {
                return Err(unreachable());
            }
            let member = network.members.lock().get(&to).cloned();
            let member = member.ok_or_else(unreachable)?;
            let from = network.origin(me);
            let answer = member.handle(&from, kind, request.concat().into());
            let answer = tokio::time::timeout(within, answer).await;
            if network.is_cut(me, to) {
                return Err(unreachable());
            }
            answer.map_err(|_| PeerError::TimedOut)
        }
        .boxed()
    }

    fn open(
        &self,
        to: &MemberInfo,
        _: u8,
        header: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn PeerStream>, PeerError>> {
        let member = self.network.members.lock().get(&to.id).cloned();
        let from = self.network.origin(self.me);
        let is_cut = self.network.is_cut(self.me, to.id);
        async move {
            let member = member.filter(|_| !is_cut);
            let member = member.ok_or_else(|| PeerError::Unreachable("cut off".to_owned()))?;
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move { member.receive(&from, header, Box::new(far)).await });
            Ok(Box::new(near) as Box<dyn PeerStream>)
        }
        .boxed()
    }
}

/// A node of a test: its directory outlives the member.
struct Node {
    dir: PathBuf,
    name: &'static str,
    network: Arc<Network>,
    keep_log_bytes: Option<u64>,
    election_timeout: Duration,
    running: Option<(Arc<Member>, Arc<FjallStore>)>,
}

impl Node {
    async fn start(dir: &Path, name: &'static str, network: &Arc<Network>) -> Node {
        let mut node = Node::stopped(dir, name, network);
        node.restart().await;
        node
    }

    /// A node that is not started yet.
    fn stopped(dir: &Path, name: &'static str, network: &Arc<Network>) -> Node {
        // Logs of a failed test tell what happened; RUST_LOG says how much.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
        drop(subscriber.with_test_writer().try_init());
        Node {
            dir: dir.join(name),
            name,
            network: network.clone(),
            keep_log_bytes: None,
            election_timeout: Duration::from_millis(300),
            running: None,
        }
    }

    /// A node that is not started yet, with what a broker that ran alone has left.
    fn ran_alone(
        dir: &Path,
        name: &'static str,
        network: &Arc<Network>,
        values: std::ops::Range<u8>,
    ) -> Node {
        use crate::store::Journal;
        let node = Node::stopped(dir, name, network);
        let alone = FjallStore::open(&node.dir, small()).unwrap();
        for value in values {
            alone.append(&put(value)).unwrap();
            alone.sync().unwrap();
            alone.apply().unwrap();
        }
        node
    }

    async fn restart(&mut self) {
        let store = Arc::new(FjallStore::open_member(&self.dir, small()).unwrap());
        let id = store.identity().unwrap().unwrap().node;
        let peers = Arc::new(Caller {
            me: id,
            network: self.network.clone(),
        });
        let options = MemberOptions {
            this: MemberInfo {
                id,
                name: self.name.to_owned(),
                address: format!("{}:1", self.name),
            },
            heartbeat: Duration::from_millis(50),
            election_timeout: self.election_timeout,
            keep_log_bytes: self.keep_log_bytes,
            clocks: Arc::new(crate::clock::System),
        };
        let member = Member::start(options, store.clone(), peers).await.unwrap();
        self.network.members.lock().insert(id, member.clone());
        self.running = Some((member, store));
    }

    async fn stop(&mut self) {
        let (member, store) = self.running.take().unwrap();
        self.network.members.lock().remove(&member.this().id);
        member.stop().await;
        drop(member);
        let released = || Arc::strong_count(&store) == 1;
        eventually("the store is released", released).await;
    }

    fn member(&self) -> Arc<Member> {
        self.running.as_ref().unwrap().0.clone()
    }

    fn info(&self) -> MemberInfo {
        self.member().this().clone()
    }

    fn standing(&self) -> Standing {
        self.member().standing().borrow().clone()
    }

    fn leads(&self) -> bool {
        self.running.is_some() && matches!(self.standing(), Standing::Leads(_))
    }

    /// The values of the definitions in its database.
    fn values(&self) -> Vec<u8> {
        let store = &self.running.as_ref().unwrap().1;
        let found = store.definitions(b"").unwrap();
        found.iter().map(|(_, value)| value[0]).collect()
    }
}

async fn eventually(what: &str, holds: impl FnMut() -> bool) {
    assert!(soon(holds).await, "not in time: {what}");
}

/// Whether it holds before the deadline.
async fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = tokio::time::sleep(Duration::from_secs(30));
    tokio::pin!(deadline);
    while !holds() {
        if deadline.is_elapsed() {
            return false;
        }
        tokio::select! {
            () = &mut deadline => {}
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
        }
    }
    true
}

/// Waits until one of the nodes leads, and returns which.
async fn leader(nodes: &[Node]) -> usize {
    eventually("a node leads", || nodes.iter().any(Node::leads)).await;
    nodes.iter().position(Node::leads).unwrap()
}

/// Hands over to a member, as soon as the leader knows that it has what is purged.
async fn hand_over(leader: &Node, to: u64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(refused) = leader.member().transfer(Some(to)).await {
        let is_late = tokio::time::Instant::now() > deadline;
        let may_follow = matches!(refused, MemberError::NotCaughtUp(_));
        assert!(may_follow && !is_late, "{refused}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn put(value: u8) -> Batch {
    let key = vec![value];
    let op = Op::PutDefinition {
        key,
        value: vec![value],
    };
    [op].into_iter().collect()
}

/// Appends, syncs and applies batches, as the committer does.
async fn write(store: Arc<dyn Store>, values: std::ops::Range<u8>) -> bool {
    let write = move || {
        let appended = values
            .clone()
            .all(|value| store.append(&put(value)).is_ok());
        appended && store.sync().is_ok() && store.apply().is_ok()
    };
    tokio::task::spawn_blocking(write).await.unwrap()
}
