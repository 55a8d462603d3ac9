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

/// How long a node looks for a leader of its set before it gives up, besides the time for which one must be known.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
const LEADER_LOOK: Duration = Duration::from_millis(500);

/// Keeps the files of this node aside. Changes nothing and returns the refusal if no leader of its set answers: then
/// nothing tells that the others have what is here. `election_timeout` is the set's.
pub(super) async fn begin_anew(
    dir: PathBuf,
    settings: &SetSettings,
    election_timeout: Duration,
    refusal: StartError,
) -> Result<(), StartError> {
    // The file that tells it may be damaged too.
    let identity = Identity::read(&dir).ok();
    let has_no_set =
        identity.is_some_and(|identity| identity.is_none_or(|identity| identity.set.is_none()));
    // One that begins anew has no set until it is heard.
    if has_no_set && !FjallStore::has_begun_anew(&dir)? {
        return Err(refusal);
    }
    let set = identity.flatten().and_then(|identity| identity.set);
    // So long a leader may have counted on this node.
    let settles_after = election_timeout * 2;
    let deadline = monotonic() + LEADER_WITHIN + settles_after;
    let mut known_since = None;
    let leader = loop {
        let (name, trust) = (&settings.name, settings.trust.clone());
        let leader = RunningSet::leader_of_peers(name, trust, &settings.peers, set).await;
        let now = monotonic();
        known_since = leader.as_ref().and(known_since.or(Some(now)));
        let is_certain = known_since.is_some_and(|since| now >= since + settles_after);
        if is_certain || now > deadline {
            break leader.filter(|_| is_certain);
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
