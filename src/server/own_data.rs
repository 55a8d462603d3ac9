//! What a node has before it is in a set.

use crate::broker::first_start::FirstStart;
use crate::cluster::node::Holds;
use crate::config::Config;
use crate::store::{FjallStore, Replica, Store, StoreError};

/// What the store of this node has without a set. Messages are in queues, so definitions tell.
pub(super) fn of(store: &FjallStore, config: &Config) -> Result<Holds, StoreError> {
    if store.replica_state()?.members.is_some() || store.is_empty()? {
        return Ok(Holds::Nothing);
    }
    Ok(
        match first_start(config).made_all(&store.definitions(b"")?) {
            true => Holds::Defaults,
            false => Holds::Data,
        },
    )
}

/// What a first start makes with this configuration.
pub(super) fn first_start(config: &Config) -> FirstStart<'_> {
    let others = config.default_users.keys();
    let users = [&config.default_user].into_iter().chain(others);
    FirstStart {
        vhost: &config.default_vhost,
        users: users.map(|user| &**user).collect(),
    }
}
