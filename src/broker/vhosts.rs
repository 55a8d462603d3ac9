//! The list of virtual hosts, and every change of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::definitions::Kind;
use super::definitions::record::{DefinitionError, Identity, Record, Records};
use super::definitions::table::Table;
use super::definitions::topology::VhostRecord;
use super::vhost::{NAME_BYTES_MAX, Shared, Vhost, VhostMetadata};
use crate::model::Name;
use crate::store::StoreFailed;

/// The refusal of a change of virtual hosts.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum VhostError {
    #[error("virtual host '{0}' already exists")]
    AlreadyExists(Name),
    #[error("virtual host '{0}' does not exist")]
    NotFound(Name),
    /// The name is longer than [`NAME_BYTES_MAX`].
    #[error("the name of a virtual host has at most 255 bytes")]
    NameTooLong,
    /// An operator has protected it.
    #[error("virtual host '{0}' is protected from deletion")]
    Protected(Name),
    #[error(transparent)]
    Store(#[from] StoreFailed),
}

/// All virtual hosts by name.
pub(super) struct Vhosts {
    by_name: BTreeMap<Name, Arc<Vhost>>,
    shared: Arc<Shared>,
}

pub(super) enum Change {
    Put(Name, VhostMetadata),
    Remove(Name),
}

impl Table for Vhosts {
    type Change = Change;

    fn write(change: &Change, records: &mut Records) {
        match change {
            Change::Put(name, metadata) => records.put(&metadata.record(name)),
            Change::Remove(name) => records.remove(Kind::Vhost, &Identity::of_names(&[name])),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(name, metadata) => match self.by_name.get(&name) {
                Some(vhost) => vhost.set_metadata(metadata),
                None => {
                    let vhost = Vhost::new(name.clone(), metadata, Arc::clone(&self.shared));
                    self.by_name.insert(name, vhost);
                }
            },
            Change::Remove(name) => {
                self.by_name.remove(&name);
            }
        }
    }
}

impl Vhosts {
    /// The virtual hosts of the store, each with the predeclared exchanges only.
    pub(super) fn load(shared: Arc<Shared>) -> Result<Vhosts, DefinitionError> {
        let records = VhostRecord::load(&**shared.committer.store())?;
        let mut vhosts = Vhosts {
            by_name: BTreeMap::new(),
            shared,
        };
        for record in records {
            let metadata = VhostMetadata::of_record(&record);
            vhosts.apply(Change::Put(record.name, metadata));
        }
        Ok(vhosts)
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Vhost>> {
        self.by_name.get(name).cloned()
    }

    /// Ordered by name.
    pub(super) fn list(&self) -> Vec<Arc<Vhost>> {
        self.by_name.values().cloned().collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn propose_add(
        &self,
        name: &str,
        metadata: VhostMetadata,
    ) -> Result<(Vec<Change>, ()), VhostError> {
        if name.len() > NAME_BYTES_MAX {
            return Err(VhostError::NameTooLong);
        }
        match self.by_name.contains_key(name) {
            true => Err(VhostError::AlreadyExists(name.into())),
            false => Ok((vec![Change::Put(name.into(), metadata)], ())),
        }
    }

    /// Adds virtual hosts, or replaces their metadata. Answers with the names of those that are new.
    pub(super) fn propose_put(
        &self,
        put: Vec<(Name, VhostMetadata)>,
    ) -> Result<(Vec<Change>, Vec<Name>), VhostError> {
        if put.iter().any(|(name, _)| name.len() > NAME_BYTES_MAX) {
            return Err(VhostError::NameTooLong);
        }
        let names = put.iter().map(|(name, _)| name);
        let new: BTreeSet<&Name> = names
            .filter(|name| !self.by_name.contains_key(*name))
            .collect();
        let new = new.into_iter().cloned().collect();
        let put = put.into_iter();
        let changes = put.map(|(name, metadata)| Change::Put(name, metadata));
        Ok((changes.collect(), new))
    }

    pub(super) fn propose_update(
        &self,
        name: &str,
        metadata: VhostMetadata,
    ) -> Result<(Vec<Change>, ()), VhostError> {
        let vhost = self.known(name)?;
        Ok((vec![Change::Put(vhost.name().clone(), metadata)], ()))
    }

    pub(super) fn propose_change(
        &self,
        name: &str,
        change: impl FnOnce(&VhostMetadata) -> VhostMetadata,
    ) -> Result<(Vec<Change>, ()), VhostError> {
        let vhost = self.known(name)?;
        let metadata = change(&vhost.metadata());
        Ok((vec![Change::Put(vhost.name().clone(), metadata)], ()))
    }

    pub(super) fn propose_delete(
        &self,
        name: &str,
    ) -> Result<(Vec<Change>, Arc<Vhost>), VhostError> {
        let vhost = self.known(name)?;
        if vhost.metadata().protected_from_deletion {
            return Err(VhostError::Protected(vhost.name().clone()));
        }
        let remove = Change::Remove(vhost.name().clone());
        Ok((vec![remove], Arc::clone(vhost)))
    }

    fn known(&self, name: &str) -> Result<&Arc<Vhost>, VhostError> {
        let vhost = self.by_name.get(name);
        vhost.ok_or_else(|| VhostError::NotFound(name.into()))
    }
}
