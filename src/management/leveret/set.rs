//! The set of nodes, as the node that answers sees it.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::management::api::Shared;
use crate::management::caller::Monitor;
use crate::management::error::{ApiError, Refusal};
use crate::management::json::{Answer, Json};
use crate::views::{MemberView, SetView};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get))
}

/// The set.
#[derive(Serialize, ToSchema)]
struct SetJson {
    /// In hexadecimal digits.
    id: Option<String>,
    leader: Option<String>,
    term: u64,
    /// Changes of leader that the answering node has seen since its start.
    elections: u64,
    last_index: Option<u64>,
    committed: Option<u64>,
    applied: Option<u64>,
    /// What is missing, and what an operator can do.
    advice: Option<String>,
    members: Vec<MemberJson>,
}

/// A member of the set.
#[derive(Serialize, ToSchema)]
struct MemberJson {
    name: String,
    /// In hexadecimal digits.
    id: String,
    /// Where the other nodes reach it.
    address: String,
    /// `leader`, `follower` or `learner`.
    role: &'static str,
    running: bool,
    /// Entries of the leader's log that it does not have.
    lag: Option<u64>,
    /// Milliseconds since the answering node heard it.
    unheard_ms: Option<u64>,
    version: Option<String>,
    mem_used: Option<u64>,
    disk_free: Option<u64>,
}

/// The set of nodes.
#[utoipa::path(
    get, path = "/api/leveret/set", tag = "leveret",
    responses((status = 200, body = SetJson), (status = 401, body = Refusal), (status = 404, body = Refusal))
)]
async fn get(State(api): State<Shared>, _: Monitor) -> Answer<SetJson> {
    let set = api.views.set().ok_or(ApiError::NotFound)?;
    Ok(Json(json(&api, &set)))
}

fn json(api: &Shared, set: &SetView) -> SetJson {
    SetJson {
        id: set.id.map(|id| format!("{id:016x}")),
        leader: set.leader.clone(),
        term: set.term,
        elections: set.elections,
        last_index: set.last_index,
        committed: set.committed,
        applied: set.applied,
        advice: set.advice.clone(),
        members: set.members.iter().map(|known| member(api, known)).collect(),
    }
}

fn member(api: &Shared, member: &MemberView) -> MemberJson {
    let own = member.is_this.then(|| api.views.node());
    let node = own.as_ref().or(member.node.as_ref());
    MemberJson {
        name: member.name.clone(),
        id: format!("{:016x}", member.id),
        address: member.address.clone(),
        role: member.role(),
        running: member.is_running,
        lag: member.lag,
        unheard_ms: member
            .unheard
            .map(|unheard| u64::try_from(unheard.as_millis()).unwrap_or(u64::MAX)),
        version: node.map(|node| node.version.clone()),
        mem_used: node.map(|node| node.mem_used),
        disk_free: node.and_then(|node| node.disk_free),
    }
}
