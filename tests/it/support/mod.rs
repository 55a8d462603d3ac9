//! Shared by the tests: a broker for each test, a peer that speaks raw AMQP, and polling with a deadline.

pub(crate) mod exit_code;
mod fields;
mod methods;
mod peer;
mod publish;
pub(crate) mod reply_code;
mod server;
pub(crate) mod socketless;

use std::fmt::Debug;
use std::time::{Duration, Instant};

pub(crate) use fields::{keys, long, table, text};
pub(crate) use methods::{declare, delete_queue, purge};
pub(crate) use peer::{Client, Content, Event, Peer};
pub(crate) use publish::Publish;
pub(crate) use server::TestServer;

/// The longest that any step may take. Far more than it needs, so that a slow machine is no failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls until `holds`, and panics with `what` after [`PATIENCE`].
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    eventually_eq(what, true, &mut holds).await;
}

/// Polls until `found` returns `expected`, and panics with `what` and the last value after [`PATIENCE`].
pub(crate) async fn eventually_eq<T: PartialEq + Debug>(
    what: &str,
    expected: T,
    mut found: impl FnMut() -> T,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let last = found();
        if last == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "never happened: {what}: {last:?} instead of {expected:?}"
        );
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
