//! New secrets of a connection's user, and the end of a connection whose secret has expired.

use std::sync::Arc;

use tokio::time::Instant;

use super::connection::Connection;
use super::connection_state::{PendingMethod, Rest};
use super::error::{Code, Handled, Refusal};
use super::method_id::MethodId;
use crate::auth::AuthUser;
use crate::broker::users::RenewalError;
use crate::wire::AMQPClass;
use crate::wire::protocol::connection::{AMQPMethod, UpdateSecret, UpdateSecretOk};

impl Connection {
    /// The client has a new secret. Frames behind it wait until it is checked.
    pub(super) fn update_secret(&mut self, method: &UpdateSecret) {
        let shared = &self.state.shared;
        let (connection, user) = (&shared.name, &shared.session.user);
        tracing::debug!(%connection, %user, reason = ?method.reason.as_str(), "asked to update secret");
        let (session, peer) = (Arc::clone(&shared.session), shared.peer);
        let secret = method.new_secret.as_bytes().to_vec();
        let renewed = async move {
            let (user, vhost) = (session.logged_in(), session.vhost.name());
            let users = session.broker.users();
            Rest::NewSecret(users.renew(&user, &secret, vhost, peer).await)
        };
        self.state.pending = Some(PendingMethod {
            channel: 0,
            method: MethodId::CONNECTION_UPDATE_SECRET,
            future: Box::pin(renewed),
        });
    }

    /// The new secret is accepted or refused. Permissions are looked up again from now on. Consumers that may no longer
    /// read are cancelled.
    pub(super) fn secret_updated(
        &mut self,
        renewed: Result<Arc<AuthUser>, RenewalError>,
    ) -> Handled {
        let user = renewed.map_err(|error| Refusal::new(Code::NotAllowed, error.to_string()))?;
        let shared = &self.state.shared;
        shared.session.renew(user);
        self.expires = shared.expiry();
        for number in self.channels.numbers() {
            if let Some((channel, state)) = self.channel(number) {
                channel.cancel_unreadable(state);
            }
        }
        let ok = AMQPMethod::UpdateSecretOk(UpdateSecretOk {});
        self.state.send(0, AMQPClass::Connection(ok));
        Ok(())
    }

    /// Closes the connection if its secret has expired.
    pub(super) fn check_expiry(&mut self, now: Instant) {
        if self.expires.take_if(|expires| now >= *expires).is_some() {
            let refusal = Refusal::new(Code::ConnectionForced, "credential expired");
            self.close_connection(&refusal.about_nothing());
        }
    }
}
