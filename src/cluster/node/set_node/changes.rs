//! Changes of the members of the set.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::super::error::SetError;
use super::super::facts::Candidate;
use super::super::kinds::FORGET;
use super::super::membership::{self, ALIVE_WITHIN, Addition};
use super::{CHANGE_WITHIN, SetNode};
use crate::clock::monotonic;
use crate::cluster::raft::Standing;

/// A member that has not answered this node for so long was gone before the leader changed.
const SILENT_FOR: Duration = Duration::from_secs(10);

impl SetNode {
    /// As the leader: makes a node a member. It has what the set has when this returns.
    pub(in super::super) async fn admit(&self, new: Candidate) -> Result<(), SetError> {
        let Candidate { this: new, holds } = new;
        let _turn = self.changing.lock().await;
        let addition =
            membership::may_add(&self.group.status(), &new).map_err(SetError::Refused)?;
        if addition != Addition::Done {
            membership::may_come_with(&new.name, holds).map_err(SetError::Refused)?;
        }
        match addition {
            Addition::Done => return Ok(()),
            Addition::Replaces(old) => {
                self.knows_that_it_is_gone(old)?;
                self.group.remove(old).await?;
                info!(
                    name = new.name,
                    "a member that is gone is forgotten for its successor"
                );
            }
            Addition::New => {}
        }
        info!(
            name = new.name,
            address = new.address,
            "a node joins the set"
        );
        self.group.add(new).await?;
        Ok(())
    }

    /// Removes a member that is gone, by its name. Any member can be asked.
    pub async fn forget(&self, name: &str) -> Result<(), SetError> {
        let name = name.strip_prefix("leveret@").unwrap_or(name);
        match self.leader()? {
            None => self.dismiss(name).await,
            Some(leader) => self.ask_leader(&leader, FORGET, name, CHANGE_WITHIN).await,
        }
    }

    /// As the leader: removes a member.
    pub(in super::super) async fn dismiss(&self, name: &str) -> Result<(), SetError> {
        let _turn = self.changing.lock().await;
        let status = self.group.status();
        let member = status
            .members
            .iter()
            .find(|known| known.member.name == name);
        let id = member.map(|known| known.member.id).ok_or_else(|| {
            SetError::Refused(format!("leveret@{name} is not a member of the set"))
        })?;
        membership::may_remove(&status, id).map_err(SetError::Refused)?;
        self.knows_that_it_is_gone(id)?;
        self.group.remove(id).await?;
        info!(name, "a member is forgotten");
        Ok(())
    }

    /// A leader that was just elected has not heard all members yet, and would take a live one for gone. But it has asked
    /// all of them before, as each node does.
    fn knows_that_it_is_gone(&self, id: u64) -> Result<(), SetError> {
        let is_longer = |since: &Instant| since.elapsed() >= ALIVE_WITHIN;
        let has_led = self.leads_since.lock().as_ref().is_some_and(is_longer);
        let heard = self.heard.lock().get(&id).map(|(_, at)| *at);
        let is_silent = match heard {
            Some(at) => at.elapsed() >= SILENT_FOR,
            None => self.begun.elapsed() >= SILENT_FOR,
        };
        match has_led || is_silent {
            true => Ok(()),
            false => Err(SetError::Refused(
                "this set has a new leader, which does not know yet which members are there: try again in some seconds"
                    .to_owned(),
            )),
        }
    }

    /// Notes since when this node leads.
    pub(super) fn note_leading(&self) {
        let leads = matches!(self.group.status().standing, Standing::Leads(_));
        let mut leads_since = self.leads_since.lock();
        *leads_since = match (leads, *leads_since) {
            (false, _) => None,
            (true, None) => Some(monotonic()),
            (true, since) => since,
        };
    }

    /// As the leader: completes a change of members that was begun earlier.
    pub(in super::super) async fn complete_change(&self) {
        let leads = matches!(self.group.status().standing, Standing::Leads(_));
        if leads && let Err(error) = self.group.complete_change().await {
            warn!("a change of members that was begun is not complete: {error}");
        }
    }

    /// Goes on without the other members, which are lost, in a new set. Returns their names. It does not wait for its turn:
    /// a change that is under way may wait for them.
    pub async fn go_on_alone(&self) -> Result<Vec<String>, SetError> {
        let others = self
            .overview()
            .may_go_on_alone()
            .map_err(SetError::Refused)?;
        let names = others.join(", ");
        warn!("an operator gives up {names}: this node goes on alone, in a new set");
        self.group.stand_alone().await?;
        // The links speak for the new set, so that a node of the old one is refused. Raft may not have told its members yet.
        if let Some(set) = self.group.status().set {
            self.links.belong_to(set);
        }
        Ok(others)
    }
}
