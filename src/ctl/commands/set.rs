//! Verbs about the set of nodes. Every node of the set carries them out, whether it runs the broker or not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::cluster_status;
use crate::cluster::node::{SetError, SetNode};
use crate::ctl::context::{Host, NodeCommand};
use crate::ctl::exit_code::{EX_DATAERR, EX_SOFTWARE, EX_UNAVAILABLE};
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::ctl::protocol::Request;
use crate::node;
use crate::views::SetView;

/// How long `await_online_nodes` waits, as in RabbitMQ.
const ONLINE_WITHIN: Duration = Duration::from_secs(300);
const ONLINE_POLL: Duration = Duration::from_millis(250);

fn unavailable(text: impl Into<String>) -> Failure {
    Failure::error(EX_UNAVAILABLE, text.into())
}

fn view(host: &Host) -> Result<SetView, Failure> {
    let set = host.set.as_ref().map(|set| set.views.view());
    set.ok_or_else(|| unavailable("this node runs by itself"))
}

fn set(host: &Host) -> Result<Arc<SetNode>, Failure> {
    let set = host.set.as_ref().and_then(|set| set.current.get());
    set.ok_or_else(|| unavailable("this node takes no part in its set now"))
}

fn done(outcome: Result<(), SetError>) -> Outcome {
    match outcome {
        Ok(()) => Ok(Reply::Done),
        Err(error) => Err(unavailable(error.to_string())),
    }
}

pub(super) fn status(host: &Host) -> Outcome {
    let this = (host.view)().ok_or_else(|| unavailable("the node stops"))?;
    Ok(cluster_status::report(this, Some(view(host)?)))
}

pub(super) fn discover_peers(host: &Host) -> Outcome {
    let members = view(host)?.members;
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
    Ok(Reply::Report {
        text: format!("[{}]", quoted.join(", ")),
        json: json!(names),
    })
}

pub(super) async fn await_online_nodes(host: &Host, request: &Request) -> Outcome {
    let wanted = request.arg(0).parse::<usize>();
    let wanted = wanted.map_err(|_| Failure::error(EX_DATAERR, "Bad argument: not a number"))?;
    let deadline = Instant::now() + ONLINE_WITHIN;
    while view(host)?.running().count() < wanted {
        if Instant::now() >= deadline {
            let text = format!(
                "Error: timed out while waiting. Not enough nodes joined {}'s cluster.",
                node::name()
            );
            return Err(Failure::error(EX_SOFTWARE, text));
        }
        sleep(ONLINE_POLL).await;
    }
    Ok(Reply::Done)
}

pub(super) fn quorum_critical(host: &Host) -> Outcome {
    let set = view(host)?;
    let this = &set.this;
    if set.members.len() < 2 {
        return Ok(super::checks::ok(format!(
            "Node {this} seems to be the only one in a single node cluster, the check does not apply"
        )));
    }
    if !set.is_critical {
        return Ok(super::checks::ok(format!(
            "Node {this} reported no queues or streams with minimum quorum"
        )));
    }
    let text = format!("the set loses its majority when node {this} goes");
    Err(Failure {
        json: Some(json!({"result": "error", "node": this, "message": text})),
        ..Failure::plain(EX_UNAVAILABLE, text.clone())
    })
}

pub(super) async fn join(host: &Host, request: &Request) -> Outcome {
    let (done, joined) = oneshot::channel();
    let command = NodeCommand::Join(request.arg(0).to_owned(), done);
    let sent = host.node.commands.send(command).await;
    sent.map_err(|_| unavailable("the broker is shutting down"))?;
    let joined = joined.await;
    let joined = joined.map_err(|_| unavailable("the broker is shutting down"))?;
    joined.map(|()| Reply::Done).map_err(unavailable)
}

pub(super) async fn forget(host: &Host, request: &Request) -> Outcome {
    done(set(host)?.forget(request.arg(0)).await)
}

/// The operator has been asked whether the other nodes are lost.
pub(super) async fn force_boot(host: &Host) -> Outcome {
    let set = set(host)?;
    let given_up = set.go_on_alone().await;
    let given_up = given_up.map_err(|error| unavailable(error.to_string()))?;
    let status = set.overview().status;
    Ok(Reply::Message(format!(
        "leveret@{} goes on alone, with everything up to entry {}. Given up: {}. Never start them on their data again: let \
         nodes with empty data directories join",
        status.this.name,
        status.applied.unwrap_or_default(),
        given_up.join(", ")
    )))
}

pub(super) async fn transfer_leadership(host: &Host, request: &Request) -> Outcome {
    let to = request.args.first().map(String::as_str);
    done(set(host)?.transfer(to).await)
}
