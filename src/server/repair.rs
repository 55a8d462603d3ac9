//! What a member does whose files are damaged: it begins anew, if the other members have everything.

use std::path::PathBuf;
use std::time::Duration;

use tracing::{error, info};

use super::blocking;
use super::error::StartError;
use super::set_options::SetSettings;
use crate::clock::monotonic;
use crate::cluster::node::RunningSet;
use crate::store::{FjallStore, Identity};

/// How long a node looks for a leader of its set before it gives up.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
const LEADER_LOOK: Duration = Duration::from_millis(500);

/// Keeps the files of this node aside. Changes nothing and returns the refusal if no leader of its set answers: then
/// nothing tells that the others have what is here.
pub(super) async fn begin_anew(
    dir: PathBuf,
    settings: &SetSettings,
    refusal: StartError,
) -> Result<(), StartError> {
    // The file that tells it may be damaged too.
    let identity = Identity::read(&dir).ok();
    if identity.is_some_and(|identity| identity.is_none_or(|it| it.set.is_none())) {
        return Err(refusal); // it has never been in a set
    }
    let set = identity.flatten().and_then(|identity| identity.set);
    let deadline = monotonic() + LEADER_WITHIN;
    let leader = loop {
        let (name, trust) = (&settings.name, settings.trust.clone());
        let leader = RunningSet::leader_of_peers(name, trust, &settings.peers, set).await;
        if leader.is_some() || monotonic() > deadline {
            break leader;
        }
        tokio::time::sleep(LEADER_LOOK).await;
    };
    let Some(leader) = leader else {
        error!(
            "this node could get everything from the other members, but none of them knows a leader of its set: start \
             it again when they run"
        );
        return Err(refusal);
    };
    let why = refusal.damage().unwrap_or_default();
    blocking(move || FjallStore::begin_anew(&dir, &why)).await?;
    info!(leader, "this node begins anew: its files were damaged");
    Ok(())
}
