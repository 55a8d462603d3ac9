//! The database of a member as Raft's state machine. An entry that a majority has is applied when it is durable here
//! too. The writes come from this node's own log, so Raft's copy of them is not needed.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tracing::info;

use super::hurt::Hurt;
use super::log::Durability;
use super::records::{decode_members, members_of};
use super::runtime;
use super::types::{Group, Members, entry_id, log_id, store_index};
use crate::store::{OutgoingSnapshot, Replica};

/// Entries that are applied together.
const TOGETHER_MAX: usize = 64;

/// The database of a member.
pub(super) struct Machine<R> {
    store: Arc<R>,
    durability: Arc<Durability<R>>,
    hurt: Arc<Hurt>,
}

/// The state of the database at one entry, for a member that lags behind the log.
pub(super) enum Image<R: Replica> {
    /// To be sent.
    Outgoing(R::Outgoing),
    /// Received whole, and on disk.
    Received(R::Received),
    /// None: Raft only learns up to where the log may be purged.
    Virtual,
}

impl<R: Replica> Machine<R> {
    pub(super) fn new(store: Arc<R>, durability: Durability<R>, hurt: Arc<Hurt>) -> Machine<R> {
        Machine {
            store,
            durability: Arc::new(durability),
            hurt,
        }
    }

    /// Applies everything up to this index of the store, on a thread that may block.
    async fn apply_upto(&self, upto: u64) -> io::Result<()> {
        self.durability.wait(upto).await?;
        let (store, durability) = (self.store.clone(), self.durability.clone());
        let applied = runtime::blocking(move || {
            store.apply_entries(upto).map_err(|error| {
                durability.note_damage(&error);
                io::Error::other(error)
            })
        });
        applied.await?
    }

    fn meta(&self) -> io::Result<SnapshotMetaOf<Group>> {
        let state = self.store.replica_state().map_err(io::Error::other)?;
        Ok(SnapshotMetaOf::<Group> {
            last_log_id: log_id(state.applied),
            last_membership: members_of(&state)?,
        })
    }
}

impl<R: Replica> RaftStateMachine<Group> for Machine<R> {
    type SnapshotData = Image<R>;
    type SnapshotBuilder = Machine<R>;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<Group>>, StoredMembershipOf<Group>), io::Error> {
        let meta = self.meta()?;
        Ok((meta.last_log_id, meta.last_membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Group>, io::Error>> + Unpin + OptionalSend,
    {
        let mut pieces = entries.ready_chunks(TOGETHER_MAX);
        while let Some(piece) = pieces.next().await {
            let mut responders = Vec::with_capacity(piece.len());
            let mut upto = 0;
            for item in piece {
                let (entry, responder) = item?;
                upto = entry_id(&entry.log_id()).index;
                responders.extend(responder);
            }
            self.apply_upto(upto).await?;
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Machine<R> {
        Machine {
            store: self.store.clone(),
            durability: self.durability.clone(),
            hurt: self.hurt.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Group>,
        image: Image<R>,
    ) -> Result<(), io::Error> {
        match image {
            Image::Received(received) => {
                self.durability.install(received).await?;
                info!(
                    entry = store_index(meta.last_log_id.as_ref()),
                    "a snapshot of the leader has taken the place of what this node had"
                );
                Ok(())
            }
            Image::Outgoing(_) | Image::Virtual => {
                Err(io::Error::other("only a received snapshot is installed"))
            }
        }
    }

    /// What the database holds now. Its last entry and its members are of one moment.
    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Group, Image<R>>>, io::Error> {
        let store = self.store.clone();
        let snapshot = runtime::blocking(move || store.snapshot()).await?;
        let mut snapshot = snapshot.map_err(io::Error::other)?;
        let Some(last) = log_id(snapshot.id()) else {
            return Ok(None);
        };
        let members = snapshot.members().map(decode_members);
        let members = members.transpose()?.unwrap_or_default();
        if !has_third(&members) || self.hurt.leaves_out() {
            snapshot.leave_out_damaged();
        }
        let meta = SnapshotMetaOf::<Group> {
            last_log_id: Some(last),
            last_membership: members,
        };
        let snapshot = Image::Outgoing(snapshot);
        Ok(Some(SnapshotOf::<Group, Image<R>> { meta, snapshot }))
    }
}

/// Whether a member besides this node and the one that lacks entries may have what this node cannot read. The one that
/// lacks them may be a learner.
fn has_third(members: &Members) -> bool {
    members.voter_ids().count() >= 2 && members.nodes().count() >= 3
}

impl<R: Replica> RaftSnapshotBuilder<Group> for Machine<R> {
    type SnapshotData = Image<R>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Group, Image<R>>, io::Error> {
        Ok(SnapshotOf::<Group, Image<R>> {
            meta: self.meta()?,
            snapshot: Image::Virtual,
        })
    }
}
