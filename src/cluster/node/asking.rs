//! Asks other nodes what they say of themselves.

use std::time::Duration;

use super::error::SetError;
use super::facts::Facts;
use super::kinds::FACTS;
use crate::cluster::link::{Lane, Links, Peer};
use crate::cluster::raft::MemberInfo;

/// How long an answer may take.
const FACTS_WITHIN: Duration = Duration::from_secs(1);

/// Asks the node at an address for its facts. If its clock has gone wrong since the handshake, or this one's, its answer
/// is the last one until they agree.
pub(super) async fn ask(links: &Links, address: &str) -> Result<Facts, SetError> {
    let to = Peer {
        node: None,
        address: address.to_owned(),
    };
    let asked_ms = links.wall_ms();
    let answer = links.call(&to, Lane::Control, FACTS, Vec::new(), FACTS_WITHIN);
    let facts = Facts::decode(&answer.await?).map_err(SetError::Refused)?;
    if let Some(theirs_ms) = facts.wall_ms {
        links.compare_clocks(address, theirs_ms, asked_ms);
    }
    Ok(facts)
}

/// The address of a node that an operator names.
pub(super) fn address_of(peers: &[(String, String)], target: &str) -> Result<String, SetError> {
    let name = target.strip_prefix("leveret@").unwrap_or(target);
    let has_port = || {
        let port = name.rsplit_once(':').map(|(_, port)| port);
        port.is_some_and(|port| port.parse::<u16>().is_ok())
    };
    match peers.iter().find(|(known, _)| known == name) {
        Some((_, address)) => Ok(address.clone()),
        None if has_port() => Ok(name.to_owned()),
        None => Err(SetError::Refused(format!(
            "--cluster-peers has no node {name}: give its address, HOST:PORT"
        ))),
    }
}

/// The leader that a node of the set to join knows.
pub(super) fn leader_of(target: &str, facts: Facts) -> Result<MemberInfo, SetError> {
    facts.leader.ok_or_else(|| {
        SetError::Refused(format!(
            "{target} knows no leader of its set now: try again later"
        ))
    })
}
