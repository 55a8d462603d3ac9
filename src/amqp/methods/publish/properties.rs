//! Checks of a message's properties, in RabbitMQ's order and with its texts.

use bytes::Bytes;

use crate::amqp::channel::Channel;
use crate::amqp::connection_state::ConnectionState;
use crate::amqp::direct_reply_to::REPLY_TO;
use crate::amqp::error::{Code, Handled, Refusal};
use crate::amqp::limits::FURTHER_KEYS_MAX;
use crate::amqp::route_cache::Route;
use crate::broker::exchange::delay_ms;
use crate::broker::users::TAG_IMPERSONATOR;
use crate::model::Name;
use crate::model::arguments::quoted_string;
use crate::wire::{AMQPValue, FieldTable, PropertiesView};

/// The largest `expiration`: ten years, in milliseconds.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;

/// The `delivery-mode` of persistent messages.
const PERSISTENT: u8 = 2;

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
        let persistent = view.delivery_mode() == Some(PERSISTENT);
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
        check_keys(connection, route, &further_keys)?;
        if let Some(user) = view.user_id() {
            check_user(connection, user)?;
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
fn check_keys(connection: &ConnectionState, route: &Route, further_keys: &[Name]) -> Handled {
    if let Some(refused) = &route.refused {
        return Err(refused.clone());
    }
    if further_keys.is_empty() {
        return Ok(());
    }
    let keys = further_keys.iter().map(|key| &**key);
    Ok(connection
        .shared
        .session
        .check_keys(&route.exchange, keys)?)
}

/// The `user-id` must be the user's own name, unless the user is an impersonator.
fn check_user(connection: &ConnectionState, claimed: &[u8]) -> Handled {
    let user = &connection.shared.session.user;
    if claimed == user.name.as_bytes() || user.has_tag(TAG_IMPERSONATOR) {
        return Ok(());
    }
    let claimed = String::from_utf8_lossy(claimed);
    let text = format!(
        "user_id property set to '{claimed}' but authenticated user was '{}'",
        user.name
    );
    Err(Refusal::new(Code::PreconditionFailed, text))
}

/// The `expiration` property, milliseconds in digits. Refusals have RabbitMQ's texts.
fn expiration(raw: &[u8]) -> Result<u64, Refusal> {
    let refused = |why: String| {
        let text = format!(
            "invalid expiration '{}': {why}",
            String::from_utf8_lossy(raw)
        );
        Refusal::new(Code::PreconditionFailed, text)
    };
    let (negative, unsigned) = match raw {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, raw),
    };
    let digits = unsigned
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = unsigned.split_at_checked(digits).unwrap_or((unsigned, &[]));
    if number.is_empty() {
        return Err(refused("no_integer".to_owned()));
    }
    if !rest.is_empty() {
        return Err(refused(format!(
            "{{leftover_string,{}}}",
            quoted_string(rest)
        )));
    }
    let number = std::str::from_utf8(number)
        .unwrap_or_default()
        .trim_start_matches('0');
    let value = if number.is_empty() {
        Ok(0)
    } else {
        number.parse::<u64>()
    };
    match value {
        Ok(value) if negative && value > 0 => Err(refused(format!("{{value_negative,-{value}}}"))),
        Ok(value) if value <= EXPIRATION_MS_MAX => Ok(value),
        Ok(_) | Err(_) if negative => Err(refused(format!("{{value_negative,-{number}}}"))),
        Ok(_) | Err(_) => Err(refused(format!("{{value_too_large,{number}}}"))),
    }
}

/// The routing keys in the headers `CC` and `BCC`, in this order.
fn keys_in_headers(headers: &FieldTable) -> Result<Vec<Name>, Refusal> {
    let mut further = keys(headers, "CC")?;
    further.extend(keys(headers, "BCC")?);
    if further.len() > FURTHER_KEYS_MAX {
        let text = format!(
            "invalid message: CC and BCC have {} routing keys, at most {FURTHER_KEYS_MAX} are allowed",
            further.len()
        );
        return Err(Refusal::new(Code::PreconditionFailed, text));
    }
    Ok(further)
}

/// The routing keys in a `CC` or `BCC` header. Skips values of the array that are not strings.
fn keys(headers: &FieldTable, name: &str) -> Result<Vec<Name>, Refusal> {
    match headers.inner().get(name) {
        None => Ok(Vec::new()),
        Some(AMQPValue::FieldArray(values)) => {
            Ok(values.as_slice().iter().filter_map(key).collect())
        }
        Some(other) => {
            let found = crate::model::arguments::type_name(other);
            let text =
                format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{found}}}");
            Err(Refusal::new(Code::PreconditionFailed, text))
        }
    }
}

fn key(value: &AMQPValue) -> Option<Name> {
    match value {
        AMQPValue::LongString(key) => std::str::from_utf8(key.as_bytes()).ok().map(Name::from),
        _ => None,
    }
}

/// The properties without the `BCC` header, which consumers do not see; `None` without such a header.
fn without_bcc(view: &PropertiesView<'_>, headers: &FieldTable) -> Option<Bytes> {
    headers.inner().get("BCC")?;
    let mut visible = headers.inner().clone();
    visible.remove("BCC");
    Some(view.edit().set_headers(&FieldTable::from(visible)).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expirations() {
        for (raw, expected) in [
            ("0", Ok(0)),
            ("05", Ok(5)),
            ("+5", Ok(5)),
            ("-0", Ok(0)),
            ("315360000000", Ok(315_360_000_000)),
            ("315360000001", Err("{value_too_large,315360000001}")),
            (
                "99999999999999999999999999",
                Err("{value_too_large,99999999999999999999999999}"),
            ),
            ("-1", Err("{value_negative,-1}")),
            ("", Err("no_integer")),
            ("abc", Err("no_integer")),
            (" 5", Err("no_integer")),
            ("1x", Err("{leftover_string,\"x\"}")),
            ("-1x", Err("{leftover_string,\"x\"}")),
            ("1\n", Err("{leftover_string,\"\\n\"}")),
            ("1\u{1}", Err("{leftover_string,[1]}")),
        ] {
            let expected = expected.map_err(|why| format!("invalid expiration '{raw}': {why}"));
            assert_eq!(
                expiration(raw.as_bytes()).map_err(|refusal| refusal.text),
                expected,
                "{raw:?}"
            );
        }
    }

    #[test]
    fn the_number_of_keys_in_cc_and_bcc_is_limited() {
        let keys = |n: usize| {
            let key = AMQPValue::LongString("k".into());
            AMQPValue::FieldArray(vec![key; n].into())
        };
        let mut headers = FieldTable::default();
        headers.insert("CC".into(), keys(FURTHER_KEYS_MAX - 1));
        headers.insert("BCC".into(), keys(1));
        assert_eq!(
            keys_in_headers(&headers).map(|keys| keys.len()),
            Ok(FURTHER_KEYS_MAX)
        );
        headers.insert("BCC".into(), keys(2));
        let text = "invalid message: CC and BCC have 32769 routing keys, at most 32768 are allowed";
        let refused = Refusal::new(Code::PreconditionFailed, text);
        assert_eq!(keys_in_headers(&headers), Err(refused));
    }
}
