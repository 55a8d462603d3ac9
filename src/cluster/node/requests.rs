//! What other nodes ask of this one.

use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::error::SetError;
use super::facts::Candidate;
use super::kinds::{FACTS, FORGET, JOIN, RAFT_BELOW, TRANSFER};
use super::set_node::SetNode;
use crate::cluster::link::{Answering, Caller, LinkStream, Refusal, Service};
use crate::cluster::raft::Origin;

/// Answers other nodes as long as this one takes part in its set.
pub(super) struct Requests(pub(super) Weak<SetNode>);

impl Service for Requests {
    fn call(&self, from: &Caller, kind: u8, request: Bytes) -> Answering {
        let set = self.0.upgrade();
        let from = from.clone();
        Box::pin(async move {
            let set = set.ok_or_else(|| Refusal("the node stops".to_owned()))?;
            match kind {
                raft if raft < RAFT_BELOW => {
                    Ok(set.group().handle(origin(&from), raft, request).await)
                }
                FACTS => Ok(set.facts().encode()),
                JOIN => {
                    let new: Candidate = serde_json::from_slice(&request).map_err(refusal)?;
                    if new.this.id != from.node {
                        return Err(Refusal("a node joins with its own id".to_owned()));
                    }
                    // In a task of its own: a link that is cut must not leave half of the change.
                    let admitted = tokio::spawn(async move { set.admit(new).await });
                    done(admitted.await.map_err(refusal)?)
                }
                FORGET => {
                    let name = text(&request)?.to_owned();
                    let dismissed = tokio::spawn(async move { set.dismiss(&name).await });
                    done(dismissed.await.map_err(refusal)?)
                }
                TRANSFER => {
                    let name = text(&request)?;
                    done(set.hand_over((!name.is_empty()).then_some(name)).await)
                }
                unknown => Err(Refusal(format!(
                    "this node does not know requests of kind {unknown}: it is of an earlier release"
                ))),
            }
        })
    }

    fn left(&self, from: &Caller) {
        if let Some(set) = self.0.upgrade() {
            let node = from.node;
            tokio::spawn(async move { set.group().succeed(node).await });
        }
    }

    fn stream(&self, from: &Caller, kind: u8, header: Bytes, stream: LinkStream) {
        let Some(set) = self.0.upgrade() else {
            return;
        };
        if kind < RAFT_BELOW {
            let group = Arc::clone(set.group());
            let from = origin(from);
            tokio::spawn(async move { group.receive(from, header, Box::new(stream)).await });
        } else {
            set.node().take(from, kind, header, stream);
        }
    }
}

fn origin(from: &Caller) -> Origin {
    Origin {
        id: from.node,
        name: from.name.clone(),
    }
}

fn text(request: &Bytes) -> Result<&str, Refusal> {
    std::str::from_utf8(request).map_err(refusal)
}

fn refusal(error: impl ToString) -> Refusal {
    Refusal(error.to_string())
}

fn done(outcome: Result<(), SetError>) -> Result<Bytes, Refusal> {
    outcome.map(|()| Bytes::new()).map_err(refusal)
}
