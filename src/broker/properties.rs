//! Checks of a message's properties that all front doors share, in RabbitMQ's words.

use bytes::Bytes;

use super::users::TAG_IMPERSONATOR;
use crate::auth::AuthUser;
use crate::model::Name;
use crate::model::arguments::{quoted_string, type_name};
use crate::wire::{AMQPValue, FieldTable, PropertiesView};

/// The largest `expiration`: ten years, in milliseconds.
const EXPIRATION_MS_MAX: u64 = 315_360_000_000;
/// The `delivery-mode` of persistent messages.
const PERSISTENT: u8 = 2;
/// Maximum number of routing keys in the headers `CC` and `BCC` of one message. RabbitMQ has no such limit,
/// but at most 26,207 fit into its largest header frame.
pub const FURTHER_KEYS_MAX: usize = 32 * 1024;

/// A property that no message may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidProperty(pub String);

/// The `user-id` must be the user's own name, unless the user is an impersonator.
pub fn check_user_id(user: &AuthUser, claimed: &[u8]) -> Result<(), InvalidProperty> {
    if claimed == user.name.as_bytes() || user.has_tag(TAG_IMPERSONATOR) {
        return Ok(());
    }
    let claimed = String::from_utf8_lossy(claimed);
    Err(InvalidProperty(format!(
        "user_id property set to '{claimed}' but authenticated user was '{}'",
        user.name
    )))
}

/// Whether the message survives a restart in a durable queue.
pub fn is_persistent(view: &PropertiesView<'_>) -> bool {
    view.delivery_mode() == Some(PERSISTENT)
}

/// The `expiration` property, milliseconds in digits. Refusals have RabbitMQ's texts.
pub fn expiration(raw: &[u8]) -> Result<u64, InvalidProperty> {
    let refused = |why: String| {
        InvalidProperty(format!(
            "invalid expiration '{}': {why}",
            String::from_utf8_lossy(raw)
        ))
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
pub fn keys_in_headers(headers: &FieldTable) -> Result<Vec<Name>, InvalidProperty> {
    let mut further = keys(headers, "CC")?;
    further.extend(keys(headers, "BCC")?);
    if further.len() > FURTHER_KEYS_MAX {
        let text = format!(
            "invalid message: CC and BCC have {} routing keys, at most {FURTHER_KEYS_MAX} are allowed",
            further.len()
        );
        return Err(InvalidProperty(text));
    }
    Ok(further)
}

/// The routing keys in a `CC` or `BCC` header. Skips values of the array that are not strings.
fn keys(headers: &FieldTable, name: &str) -> Result<Vec<Name>, InvalidProperty> {
    match headers.inner().get(name) {
        None => Ok(Vec::new()),
        Some(AMQPValue::FieldArray(values)) => {
            Ok(values.as_slice().iter().filter_map(key).collect())
        }
        Some(other) => {
            let found = type_name(other);
            let text =
                format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{found}}}");
            Err(InvalidProperty(text))
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
pub fn without_bcc(view: &PropertiesView<'_>, headers: &FieldTable) -> Option<Bytes> {
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
                expiration(raw.as_bytes()).map_err(|invalid| invalid.0),
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
        assert_eq!(
            keys_in_headers(&headers),
            Err(InvalidProperty(text.to_owned()))
        );
    }
}
