//! How a new node becomes a member: it forms a set with its peers, or joins one.

use bytes::Bytes;
use tracing::{info, warn};

use super::super::asking::{address_of, ask, leader_of};
use super::super::bridge::peer;
use super::super::error::SetError;
use super::super::facts::{Candidate, Holds};
use super::super::forming::{self, Asked, Heard, Step};
use super::super::kinds::JOIN;
use super::{CHANGE_WITHIN, SetNode};
use crate::cluster::link::Lane;

impl SetNode {
    /// Makes this new node a member of the set whose leader `target` knows: a configured name, or an address.
    pub async fn join(&self, target: &str) -> Result<(), SetError> {
        let status = self.group.status();
        if status.set.is_some() && !self.overview().has_not_joined_yet() {
            return Err(SetError::Refused(
                "this node belongs to a set already".to_owned(),
            ));
        }
        self.ask_to_join(target).await
    }

    /// Makes this node, whose files were damaged, a member again, in the place of the one that it was. True when it has
    /// what the set has.
    pub(in super::super) async fn join_again(&self) -> bool {
        let mut refused = "no other member answers".to_owned();
        for (name, _) in &self.peers {
            match self.ask_to_join(name).await {
                Ok(()) => {
                    *self.waits_for.lock() = None;
                    self.node.is_whole_again();
                    return true;
                }
                Err(error) => refused = error.to_string(),
            }
        }
        let mut waits_for = self.waits_for.lock();
        let why = format!(
            "the files of this node were damaged, and it gets everything from the other members: {refused}"
        );
        if waits_for.as_ref() != Some(&why) {
            warn!("this node is not whole yet: {why}");
        }
        *waits_for = Some(why);
        false
    }

    async fn ask_to_join(&self, target: &str) -> Result<(), SetError> {
        let status = self.group.status();
        let facts = ask(&self.links, &address_of(&self.peers, target)?).await?;
        let set = facts.set;
        let leader = leader_of(target, facts)?;
        if status.set.is_some() && status.set != set {
            return Err(SetError::Refused(
                "this node has begun to enter another set: start it with a new data directory"
                    .to_owned(),
            ));
        }
        let candidate = Candidate {
            // What it has since it entered the set is the set's.
            holds: Some(match status.set {
                Some(_) => Holds::Nothing,
                None => self.holds(),
            }),
            this: status.this,
        };
        let request = serde_json::to_vec(&candidate).unwrap_or_default();
        let request = vec![Bytes::from(request)];
        let to = peer(&leader);
        let joined = self
            .links
            .call(&to, Lane::Control, JOIN, request, CHANGE_WITHIN);
        joined.await?;
        info!(leader = leader.name, "this node is a member of the set");
        Ok(())
    }

    /// One try to form the set.
    pub(in super::super) async fn try_to_form(&self) {
        // The process begins it anew.
        if *self.gives_up.borrow() {
            return;
        }
        let status = self.group.status();
        let mut asked = Vec::new();
        for (name, address) in &self.peers {
            let heard = match ask(&self.links, address).await {
                Ok(facts) => Heard::Facts(facts),
                Err(error) => Heard::Nothing(error.to_string()),
            };
            asked.push(Asked {
                name: name.clone(),
                address: address.clone(),
                heard,
            });
        }
        match forming::next(&status.this, self.holds(), &asked) {
            Step::Form(members) => {
                let count = members.len();
                match self.group.form(members).await {
                    Ok(()) => info!(members = count, "a set of nodes begins"),
                    Err(error) => self.wait_for(Some(error.to_string())),
                }
            }
            Step::GiveUp(why) => {
                self.wait_for(Some(why));
                self.gives_up.send_replace(true);
            }
            Step::Wait(why) | Step::Outside(why) => self.wait_for(Some(why)),
        }
    }
}
