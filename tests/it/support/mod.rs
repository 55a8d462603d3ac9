//! What the tests share: a broker of their own, a peer that speaks raw AMQP, and waiting with a deadline.

mod peer;
mod server;

use std::time::{Duration, Instant};

pub(crate) use peer::{Client, Content, Event, Peer};
pub(crate) use server::TestServer;

/// How long anything may take. Far more than it needs, so that a slow machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds`, and panics with `what` if it never does.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
