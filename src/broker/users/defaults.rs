//! Default users: they get permissions in new virtual hosts, and are created with the first of them.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::access::Change;
use super::registry::Users;
use crate::broker::definitions::access::UserRecord;
use crate::broker::definitions::proposal::Proposal;
use crate::broker::limits::UserLimits;
use crate::broker::new_vhosts::NewUser;
use crate::model::Name;
use crate::store::StoreFailed;

impl Users {
    /// Proposes permissions of users in virtual hosts that are being added, and the users that do not exist yet. A user
    /// that exists keeps its password and tags.
    pub(in crate::broker) async fn propose_defaults(
        &self,
        defaults: Vec<(Name, NewUser)>,
    ) -> Result<Proposal, StoreFailed> {
        let mut added: BTreeMap<Name, UserRecord> = BTreeMap::new();
        for (_, user) in &defaults {
            if self.get(&user.name).is_none() && !added.contains_key(&user.name) {
                added.insert(user.name.clone(), self.default_user(user).await?);
            }
        }
        let proposed = self.access.propose(|access| {
            let mut changes = Vec::new();
            for (vhost, user) in defaults {
                let is_known = access.users.contains_key(&user.name);
                match added.remove(&user.name) {
                    Some(record) if !is_known => changes.push(Change::PutUser(record)),
                    Some(_) | None => {}
                }
                changes.push(Change::PutPermission {
                    user: user.name,
                    vhost,
                    grant: user.grant,
                });
            }
            Ok::<_, Infallible>((changes, ()))
        });
        let Ok((proposal, ())) = proposed.await;
        Ok(proposal)
    }

    async fn default_user(&self, user: &NewUser) -> Result<UserRecord, StoreFailed> {
        let password = match &user.password {
            Some(password) => {
                let hash = self.hash(&user.name, password.as_bytes()).await;
                Some(hash.ok_or(StoreFailed)?)
            }
            None => None,
        };
        Ok(UserRecord {
            name: user.name.clone(),
            tags: user.tags.clone(),
            password,
            limits: UserLimits::default(),
        })
    }
}
