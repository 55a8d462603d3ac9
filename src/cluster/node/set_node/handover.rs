//! Hands the leadership over to another member.

use std::time::Duration;

use super::super::error::SetError;
use super::super::kinds::TRANSFER;
use super::SetNode;

/// How long a handover may take.
const TRANSFER_WITHIN: Duration = Duration::from_secs(5);

impl SetNode {
    /// Has the leader hand over, to a member or to the one that is furthest. Any member can be asked.
    pub async fn transfer(&self, name: Option<&str>) -> Result<(), SetError> {
        let name = name.map(|name| name.strip_prefix("leveret@").unwrap_or(name));
        match self.leader()? {
            None => self.hand_over(name).await,
            Some(leader) => {
                let name = name.unwrap_or_default();
                self.ask_leader(&leader, TRANSFER, name, TRANSFER_WITHIN)
                    .await
            }
        }
    }

    /// As the leader: hands over.
    pub async fn hand_over(&self, name: Option<&str>) -> Result<(), SetError> {
        let status = self.group.status();
        let to = match name {
            None => None,
            Some(name) => {
                let member = status
                    .members
                    .iter()
                    .find(|known| known.member.name == name);
                let member = member.ok_or_else(|| {
                    SetError::Refused(format!("leveret@{name} is not a member of the set"))
                })?;
                if member.member.id == status.this.id {
                    return Ok(());
                }
                Some(member.member.id)
            }
        };
        let transfer = tokio::time::timeout(TRANSFER_WITHIN, self.group.transfer(to));
        match transfer.await {
            Ok(transferred) => Ok(transferred?),
            Err(_) => Err(SetError::Refused(
                "no other member took over in time".to_owned(),
            )),
        }
    }
}
