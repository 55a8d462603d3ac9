//! Checks of a message's properties, in RabbitMQ's order and with its texts.

use bytes::Bytes;

use crate::amqp::channel::Channel;
use crate::amqp::connection_state::ConnectionState;
use crate::amqp::direct_reply_to::REPLY_TO;
use crate::amqp::error::{Code, Refusal};
use crate::amqp::route_cache::Route;
use crate::broker::error::BrokerError;
use crate::broker::exchange::delay_ms;
use crate::broker::properties::{
    InvalidProperty, check_user_id, expiration, is_persistent, keys_in_headers, without_bcc,
};
use crate::broker::users::{Answer, Validity};
use crate::model::Name;
use crate::wire::PropertiesView;

impl From<InvalidProperty> for Refusal {
    fn from(invalid: InvalidProperty) -> Refusal {
        Refusal::new(Code::PreconditionFailed, invalid.to_string())
    }
}

/// Properties that the broker acts on.
pub(super) struct CheckedProperties {
    /// All properties, as consumers get them.
    pub(super) properties: Bytes,
    pub(super) persistent: bool,
    pub(super) priority: u8,
    pub(super) expiration_ms: Option<u64>,
    /// `x-delay`.
    pub(super) delay_ms: Option<u64>,
    /// Routing keys in `CC` and `BCC`.
    pub(super) further_keys: Vec<Name>,
    /// Whether the user may publish with these keys. Not refused, but perhaps not answered.
    pub(super) keys: Answer,
}

impl Channel {
    /// Checks the properties and the permissions that their routing keys need.
    pub(super) fn check_properties(
        &self,
        connection: &ConnectionState,
        route: &Route,
        properties: Bytes,
    ) -> Result<CheckedProperties, Refusal> {
        // RabbitMQ's channel crashes on properties that it cannot decode.
        let view = PropertiesView::parse(&properties).map_err(|_| Refusal::crash())?;
        view.check_headers().map_err(|_| Refusal::crash())?;
        let reply_to = self.reply_address(&view)?;
        let expiration_ms = view.expiration().map(expiration).transpose()?;
        let priority = view.priority().unwrap_or(0);
        let persistent = is_persistent(&view);
        let mut further_keys = Vec::new();
        let mut changed = None;
        let mut delay = None;
        if view.has_headers() {
            delay = delay_ms(&view);
            if view.header("CC").is_some() || view.header("BCC").is_some() {
                let headers = view.headers().map_err(|_| Refusal::crash())?;
                further_keys = keys_in_headers(&headers)?;
                changed = without_bcc(&view, &headers);
            }
        }
        let keys = check_keys(connection, route, &further_keys)?;
        if let Some(user) = view.user_id() {
            check_user_id(&connection.shared.session.logged_in(), user)?;
        }
        if let Some(address) = reply_to {
            let current = changed.as_ref().unwrap_or(&properties);
            let view = PropertiesView::parse(current).map_err(|_| Refusal::crash())?;
            changed = Some(view.edit().set_reply_to(address).finish());
        }
        let properties = changed.unwrap_or(properties);
        Ok(CheckedProperties {
            properties,
            persistent,
            priority,
            expiration_ms,
            delay_ms: delay,
            further_keys,
            keys,
        })
    }

    /// The address that replaces direct reply-to's pseudo queue in a request.
    fn reply_address(&self, view: &PropertiesView<'_>) -> Result<Option<&str>, Refusal> {
        if view.reply_to() != Some(REPLY_TO.as_bytes()) {
            return Ok(None);
        }
        match &self.reply_consumer {
            Some((_, address)) => Ok(Some(address.name())),
            None => Err(Refusal::new(
                Code::PreconditionFailed,
                "fast reply consumer does not exist",
            )),
        }
    }
}

/// Checks the right to publish with all routing keys, the method's first.
fn check_keys(
    connection: &ConnectionState,
    route: &Route,
    further_keys: &[Name],
) -> Result<Answer, Refusal> {
    if let Some(refused) = &route.refused {
        return Err(refused.clone());
    }
    if further_keys.is_empty() {
        return Ok(Answer::Known(Ok(Validity::Epoch)));
    }
    let keys = further_keys.iter().map(|key| &**key);
    match connection.shared.session.ask_keys(&route.exchange, keys) {
        Answer::Known(Err(refused)) => Err(BrokerError::from(refused).into()),
        answer @ (Answer::Known(Ok(_)) | Answer::Asked(_)) => Ok(answer),
    }
}
