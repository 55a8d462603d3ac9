//! Begins this node's part in its set.

use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::error::StartError;
use super::known_members::KnownMembers;
use super::process::Process;
use super::set_options::SetSettings;
use super::{blocking, disk_room, own_data, repair, settings};
use crate::clock;
use crate::cluster::link::{Caller, LinkStream};
use crate::cluster::node::{
    Beginning, Group, GroupError, Holds, Node, RunningSet, SetError, SetOptions,
};
use crate::cluster::pass::PASSED_CLIENT;
use crate::cluster::raft::{Member, MemberError, MemberInfo, MemberOptions};
use crate::config::Config;
use crate::ctl;
use crate::ctl::protocol::CTL_STREAM;
use crate::net::Listener;
use crate::store::{FjallOptions, FjallStore, Identity, OnDamage, Replica, StoreError};

/// Takes part in the set. A node whose files are damaged begins anew.
pub(super) async fn start(
    process: &Arc<Process>,
    set: SetSettings,
    beginning: Beginning,
) -> Result<RunningSet, StartError> {
    match take_part(process, set.clone(), beginning).await {
        Err(refusal) if refusal.damage().is_some() => {
            keep_aside(process, &set, refusal).await?;
            take_part(process, set, beginning).await
        }
        begun => begun,
    }
}

/// Keeps aside the files of this node, of which this is damaged.
pub(super) async fn begin_anew(
    process: &Arc<Process>,
    set: &SetSettings,
    damage: String,
) -> Result<(), StartError> {
    keep_aside(process, set, SetError::Damaged(damage).into()).await
}

/// Returns the refusal if the operator or the other members do not allow it.
async fn keep_aside(
    process: &Arc<Process>,
    set: &SetSettings,
    refusal: StartError,
) -> Result<(), StartError> {
    let options = settings::store(&process.config(), &process.shares);
    if options.on_damage != OnDamage::Recover {
        return Err(refusal);
    }
    let dir = process.config().data_dir.clone();
    let known = SetSettings {
        peers: KnownMembers::peers(&dir, &set.peers, &set.name),
        ..set.clone()
    };
    let election_timeout = process.config().cluster_election_timeout;
    repair::begin_anew(dir, &known, election_timeout, refusal).await
}

/// Opens the store as a member's, and takes part in the set.
pub(super) async fn take_part(
    process: &Arc<Process>,
    set: SetSettings,
    beginning: Beginning,
) -> Result<RunningSet, StartError> {
    let config = process.config();
    let listener = Listener::open(set.listen).map_err(|error| StartError::Listen {
        address: set.listen,
        error,
    })?;
    let options = settings::store(&config, &process.shares);
    let dir = config.data_dir.clone();
    let (store, identity, holds) = {
        let (dir, config) = (dir.clone(), Arc::clone(&config));
        blocking(move || open(&dir, options, &config)).await?
    };
    let beginning = match FjallStore::has_begun_anew(&dir)? {
        true => Beginning::JoinsAgain,
        false => beginning,
    };
    let store = Arc::new(store);
    tokio::spawn(disk_room::spare(
        Arc::downgrade(process),
        Arc::downgrade(&store),
    ));
    let peers = match beginning {
        Beginning::JoinsAgain => KnownMembers::peers(&dir, &set.peers, &set.name),
        Beginning::Forms | Beginning::Joins => set.peers,
    };
    let options = SetOptions {
        name: set.name,
        address: set.address,
        peers,
        trust: set.trust,
        id: identity.node,
        set: identity.set,
        holds,
        beginning,
    };
    let node = Arc::new(ThisNode {
        process: Arc::downgrade(process),
        known: Arc::new(KnownMembers::of(dir)),
    });
    let join = |this, peers| async move {
        let options = MemberOptions {
            keep_log_bytes: None,
            clocks: Arc::new(clock::System),
            heartbeat: config.cluster_heartbeat,
            election_timeout: config.cluster_election_timeout,
            this,
        };
        match Member::start(options, store, peers).await {
            Ok(member) => Ok(member as Arc<dyn Group>),
            Err(MemberError::Damaged(what)) => Err(SetError::Damaged(what)),
            Err(error) => Err(GroupError(error.to_string()).into()),
        }
    };
    let running = RunningSet::start(options, listener, node, join).await?;
    process.set.set(running.set());
    Ok(running)
}

/// The store, who this node is, and what it has without a set.
fn open(
    dir: &Path,
    options: FjallOptions,
    config: &Config,
) -> Result<(FjallStore, Identity, Holds), StoreError> {
    let store = FjallStore::open_member(dir, options)?;
    let identity = store.identity()?.ok_or(StoreError::Closed)?;
    let holds = own_data::of(&store, config)?;
    Ok((store, identity, holds))
}

/// What the process does for its set.
struct ThisNode {
    process: Weak<Process>,
    known: Arc<KnownMembers>,
}

impl Node for ThisNode {
    fn report(&self) -> String {
        let view = self.process.upgrade().map(|process| process.view());
        // Plain data is always JSON.
        view.and_then(|view| serde_json::to_string(&view).ok())
            .unwrap_or_default()
    }

    fn note_members(&self, members: Vec<MemberInfo>) {
        self.known.note(members);
    }

    fn is_whole_again(&self) {
        if let Some(process) = self.process.upgrade()
            && let Err(failure) = FjallStore::is_whole_again(&process.config().data_dir)
        {
            tracing::warn!(%failure, "the next start asks for membership again");
        }
    }

    fn take(&self, from: &Caller, kind: u8, header: Bytes, stream: LinkStream) {
        let Some(process) = self.process.upgrade() else {
            return;
        };
        match kind {
            CTL_STREAM => {
                let host = process.host();
                tokio::spawn(ctl::server::serve_passed(stream, host));
            }
            PASSED_CLIENT => process.passage.take(from, &header, stream),
            unknown => {
                let node = &from.name;
                tracing::warn!(
                    node,
                    unknown,
                    "a stream of a kind that this release does not know"
                );
            }
        }
    }
}
