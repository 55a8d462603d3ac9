//! What a start warns of: a configuration that is valid, but open to everyone on the network.

use std::sync::Arc;

use tracing::warn;

use crate::broker::broker::{Broker, DEFAULT_USER};
use crate::model::Name;
use crate::views::ListenerView;

/// Warns if guest may log in from other machines, and still has the password that everyone knows.
pub(super) async fn warn_of_guest(
    listeners: &[ListenerView],
    loopback_users: &[Name],
    broker: &Arc<Broker>,
) {
    if !is_open_to_guest(listeners, loopback_users) {
        return;
    }
    let Some(guest) = broker.users().get(DEFAULT_USER) else {
        return;
    };
    // A check of a password takes long by design.
    let checked = tokio::task::spawn_blocking(move || {
        let hash = guest.password_hash();
        hash.is_some_and(|hash| hash.verify(DEFAULT_USER.as_bytes()))
    });
    if checked.await.is_ok_and(|is_known| is_known) {
        warn!(
            "everyone who reaches the listeners can log in as guest with the password guest: change the password, delete \
             the user, or name it in loopback-users"
        );
    }
}

fn is_open_to_guest(listeners: &[ListenerView], loopback_users: &[Name]) -> bool {
    let is_restricted = loopback_users.iter().any(|user| &**user == DEFAULT_USER);
    let is_reachable = |listener: &ListenerView| !listener.address.ip().is_loopback();
    !is_restricted && listeners.iter().any(is_reachable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::{Protocol, Security};

    #[test]
    fn guest_can_come_from_elsewhere_only_without_the_rule_and_through_an_open_listener() {
        for (address, users, expected) in [
            ("0.0.0.0:5672", &["guest"][..], false),
            ("0.0.0.0:5672", &[], true),
            ("[::]:5672", &["app"], true),
            ("127.0.0.1:5672", &[], false),
            ("[::1]:5672", &[], false),
        ] {
            let listener = ListenerView {
                protocol: Protocol::Amqp,
                security: Security::Plain,
                address: address.parse().unwrap(),
            };
            let users: Vec<Name> = users.iter().map(|user| (*user).into()).collect();
            assert_eq!(
                is_open_to_guest(&[listener], &users),
                expected,
                "{address} {users:?}"
            );
        }
    }
}
