//! Policies of a running broker: what they change in live queues and exchanges, under load, at scale and over a restart.

mod live; // each key on a live queue or exchange
mod model; // random changes against a naive model
mod race; // changes under load lose nothing
mod scale; // many queues

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret::broker::vhost::Vhost;
use leveret::clock::{Source, System};
use leveret::model::policy::{PolicyDraft, PolicyKind};
use serde_json::Value;

use crate::support::TestServer;

fn draft(name: &str, pattern: &str, definition: Value) -> PolicyDraft {
    PolicyDraft {
        name: name.into(),
        pattern: pattern.into(),
        apply_to: None,
        definition,
        priority: None,
    }
}

fn vhost(server: &TestServer) -> Arc<Vhost> {
    server.broker.vhost("/").unwrap()
}

/// Sets the policy `p` for queues and exchanges whose names begin with `q`.
async fn set(server: &TestServer, definition: Value) {
    let draft = draft("p", "^q", definition);
    let set = vhost(server).set_policy(PolicyKind::User, draft).await;
    set.unwrap();
}

/// Clears the policy `p`.
async fn clear(server: &TestServer) {
    vhost(server)
        .clear_policy(PolicyKind::User, "p")
        .await
        .unwrap();
}

/// The machine's clocks, ahead by as much as a test wants.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Ahead {
    fn advance(&self, ms: u64) {
        self.0.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }
}

impl Source for Ahead {
    fn since_boot_ns(&self) -> u64 {
        System.since_boot_ns() + self.0.load(Ordering::Relaxed)
    }

    fn wall_ns(&self) -> u64 {
        System.wall_ns() + self.0.load(Ordering::Relaxed)
    }

    fn boot(&self) -> Option<Arc<str>> {
        System.boot()
    }
}
