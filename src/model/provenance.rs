//! What a message says of itself that enters a queue through the restore exchange: where it was published before
//! it came from another broker, and how many of its deliveries failed there. The header is added by who moves
//! messages and taken off by the broker, so that consumers see the message as it was.

use bytes::Bytes;

use super::{Name, Origin};
use crate::wire::table::Entries;
use crate::wire::{
    PropertiesView, put_bool_field, put_table_field, put_text_field, put_u32_field, table_with,
    table_without,
};

/// A message published here goes to the queue that its routing key names, as if from the exchange and routing key
/// in its header [`HEADER`]. Only administrators may publish to it. Like the exchange for rewinds, it is in no
/// table: it cannot be bound and is not listed.
pub const RESTORE_EXCHANGE: &str = "amq.leveret.restore";

const HEADER: &str = "x-leveret-origin";
const EXCHANGE: &str = "exchange";
const ROUTING_KEY: &str = "routing-key";
const FAILURES: &str = "failures";
const HAD_HEADERS: &str = "headers";
/// The longest name of an exchange or routing key, in bytes.
const NAME_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    pub origin: Origin,
    /// How many of its deliveries failed. A message with failures is delivered as redelivered.
    pub failures: u32,
}

impl Provenance {
    /// The provenance in properties, and the properties without it. `None` without one, or if it is malformed.
    pub fn take_from(view: &PropertiesView<'_>) -> Option<(Provenance, Bytes)> {
        let entry = view.header(HEADER).filter(|entry| entry.tag == b'F')?;
        let fields = Entries::of_fields(entry.value);
        let (mut exchange, mut routing_key, mut failures, mut had_headers) =
            (None, None, None, None);
        for field in fields {
            match (field.name, field.tag) {
                (name, b'S') if name == EXCHANGE.as_bytes() => exchange = text(field.value),
                (name, b'S') if name == ROUTING_KEY.as_bytes() => routing_key = text(field.value),
                (name, b'i') if name == FAILURES.as_bytes() => {
                    failures = field.value.try_into().ok().map(u32::from_be_bytes);
                }
                (name, b't') if name == HAD_HEADERS.as_bytes() => {
                    had_headers = Some(field.value != [0]);
                }
                _ => return None,
            }
        }
        let provenance = Provenance {
            origin: Origin {
                exchange: exchange?,
                routing_key: routing_key?,
            },
            failures: failures?,
        };
        let mut edit = view.edit();
        match had_headers? {
            true => edit.set_headers_raw(table_without(view.headers_raw()?, HEADER)),
            false => edit.remove_headers(),
        };
        Some((provenance, edit.finish()))
    }
}

/// The properties `raw` with the provenance of their message. `None` if they are malformed.
pub fn with_provenance(
    raw: &[u8],
    exchange: &str,
    routing_key: &str,
    failures: u32,
) -> Option<Bytes> {
    let view = PropertiesView::parse(raw).ok()?;
    let headers = view.headers_raw();
    let mut fields = Vec::with_capacity(96);
    put_text_field(&mut fields, EXCHANGE, exchange.as_bytes());
    put_text_field(&mut fields, ROUTING_KEY, routing_key.as_bytes());
    put_u32_field(&mut fields, FAILURES, failures);
    put_bool_field(&mut fields, HAD_HEADERS, headers.is_some());
    let mut field = Vec::with_capacity(128);
    put_table_field(&mut field, HEADER, &fields);
    let headers = table_with(headers, &field);
    Some(view.edit().set_headers_raw(headers).finish())
}

fn text(value: &[u8]) -> Option<Name> {
    let value = std::str::from_utf8(value).ok()?;
    (value.len() <= NAME_MAX).then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance() -> Provenance {
        Provenance {
            origin: Origin {
                exchange: "amq.topic".into(),
                routing_key: "a.b".into(),
            },
            failures: 3,
        }
    }

    #[test]
    fn properties_are_the_same_afterwards() {
        for raw in [
            &b"\0\0"[..],
            b"\x20\0\0\0\0\0",
            b"\x20\0\0\0\0\x04\x01bt\x01",
            b"\xa0\x08\x01x\0\0\0\x09\x01bt\x01\x01bu\0\x01\x03app",
        ] {
            let with = with_provenance(raw, "amq.topic", "a.b", 3).unwrap();
            let view = PropertiesView::parse(&with).unwrap();
            assert_eq!(view.check_headers(), Ok(()));
            let (taken, without) = Provenance::take_from(&view).unwrap();
            assert_eq!(taken, provenance());
            assert_eq!(without, raw);
        }
    }

    #[test]
    fn a_malformed_provenance_is_none() {
        let of = |fields: &[u8]| {
            let mut field = Vec::new();
            put_table_field(&mut field, HEADER, fields);
            let headers = table_with(None, &field);
            let mut edit = PropertiesView::parse(b"\0\0").unwrap().edit();
            let raw = edit.set_headers_raw(headers).finish();
            Provenance::take_from(&PropertiesView::parse(&raw).unwrap()).is_some()
        };
        let mut whole = Vec::new();
        put_text_field(&mut whole, EXCHANGE, b"");
        put_text_field(&mut whole, ROUTING_KEY, b"k");
        put_u32_field(&mut whole, FAILURES, 0);
        assert!(!of(&whole), "a field is missing");
        put_bool_field(&mut whole, HAD_HEADERS, false);
        assert!(of(&whole));
        let with = |name: &str, text: &[u8]| {
            let mut fields = whole.clone();
            put_text_field(&mut fields, name, text);
            of(&fields)
        };
        assert!(!with("other", b""));
        assert!(!with(ROUTING_KEY, &[b'k'; 256]));
        assert!(!with(EXCHANGE, b"\xff"));
        assert!(Provenance::take_from(&PropertiesView::parse(b"\0\0").unwrap()).is_none());
    }
}
