//! Tells what a broker writes at its first start from what clients and operators have declared, by the records alone: for
//! those who look at a store that no broker uses.

use super::definitions::Kind;
use super::definitions::queue_ids::IDS_KEY;
use super::definitions::record::{Identity, key};
use super::parameters::{CLUSTER_NAME, IMPORTED_HASH, INTERNAL_CLUSTER_ID};
use crate::store::{DefinitionEntry, StoreError};

/// What a first start makes.
#[derive(Debug)]
pub struct FirstStart<'a> {
    /// The virtual host.
    pub vhost: &'a str,
    /// The users, with permissions in the virtual host.
    pub users: Vec<&'a str>,
}

impl FirstStart<'_> {
    /// Whether a broker with these definitions has nothing that someone has declared. Values are not looked at: a user of
    /// these may have another password by now.
    pub fn made_all(&self, definitions: &[DefinitionEntry]) -> bool {
        definitions.iter().all(|(key, _)| self.made(key))
    }

    fn made(&self, made: &[u8]) -> bool {
        let is = |kind, names: &[&str]| made == key(kind, &Identity::of_names(names));
        let parameters = [CLUSTER_NAME, INTERNAL_CLUSTER_ID, IMPORTED_HASH];
        made == IDS_KEY
            || is(Kind::Clock, &[])
            || is(Kind::Vhost, &[self.vhost])
            || parameters
                .iter()
                .any(|name| is(Kind::GlobalParameter, &[name]))
            || self
                .users
                .iter()
                .any(|user| is(Kind::User, &[user]) || is(Kind::Permission, &[user, self.vhost]))
    }
}

/// Whether there are queues, or virtual hosts besides the first. `definitions` returns the definitions whose keys have a
/// prefix.
pub fn has_queues_or_vhosts(
    definitions: impl Fn(&[u8]) -> Result<Vec<DefinitionEntry>, StoreError>,
) -> Result<bool, StoreError> {
    let count = |kind| {
        let all = definitions(&key(kind, &Identity::of_names(&[])));
        all.map(|all| all.len())
    };
    Ok(count(Kind::Queue)? > 0 || count(Kind::Vhost)? > 1)
}
