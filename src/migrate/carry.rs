//! How one message is published at the target, so that its consumers see what those of the source saw.
//!
//! Leveret has an exchange for that (`amq.leveret.restore`): exchange, routing key and failed deliveries stay. At any
//! other broker the message goes through the default exchange, and one that may be there twice has a header.

use bytes::Bytes;

use super::inventory::QueueKind;
use super::streams::{OFFSET, Offsets};
use crate::model::{RESTORE_EXCHANGE, with_provenance};
use crate::shovel::link::LinkError;
use crate::shovel::pump::{Delivery, Forward, Publication};
use crate::wire::{PropertiesView, put_bool_field, table_with, table_without};

/// Marks a message that may be at the target twice, where its redelivered flag cannot say so.
pub(super) const MARK: &str = "x-migrated-redelivered";
/// Counts that quorum queues add to deliveries.
const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";
const NO_OFFSET: &str = "a delivery of a stream without its offset";
const MALFORMED: &str = "malformed properties";

/// How the target takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entrance {
    /// Through Leveret's restore exchange.
    Restore,
    /// Through the default exchange: as published there, by the user of the migration.
    Default,
}

/// Carries the messages of one queue.
pub(super) struct Carry {
    pub(super) queue: String,
    pub(super) kind: QueueKind,
    pub(super) entrance: Entrance,
    /// Of a stream.
    pub(super) offsets: Option<Offsets>,
}

impl Forward for Carry {
    fn publication<'a>(
        &'a mut self,
        delivery: &'a Delivery,
        properties: Bytes,
    ) -> Result<Publication<'a>, LinkError> {
        let malformed = |why: &str| LinkError::Protocol(why.to_owned());
        let view = PropertiesView::parse(&properties).map_err(|_| malformed(MALFORMED))?;
        let (mark, is_again, own) = match &mut self.offsets {
            Some(offsets) => {
                let offset = number(&view, OFFSET).ok_or_else(|| malformed(NO_OFFSET))?;
                let is_again = offsets.publishes(offset)?;
                (offset, is_again, without(&view, &[OFFSET]))
            }
            None => (0, delivery.redelivered, None),
        };
        let own = own.unwrap_or_else(|| properties.clone());
        let (exchange, properties) = match self.entrance {
            Entrance::Restore => {
                let published = restored(self.kind, delivery, is_again, own);
                (RESTORE_EXCHANGE, published)
            }
            Entrance::Default if is_again => ("", marked(&own)),
            Entrance::Default => ("", Some(own)),
        };
        Ok(Publication {
            exchange,
            routing_key: &self.queue,
            mandatory: true,
            properties: properties.ok_or_else(|| malformed(MALFORMED))?,
            mark,
        })
    }
}

/// The properties for the restore exchange.
fn restored(kind: QueueKind, delivery: &Delivery, is_again: bool, own: Bytes) -> Option<Bytes> {
    let (own, failures) = match kind {
        QueueKind::Classic => (own, u32::from(is_again)),
        QueueKind::Quorum if is_again => {
            // The target counts on from here, and adds the header itself.
            let view = PropertiesView::parse(&own).ok()?;
            let count = number(&view, DELIVERY_COUNT).unwrap_or_default();
            let failures = u32::try_from(count).unwrap_or(u32::MAX).max(1);
            let bare = without(&view, &[DELIVERY_COUNT, ACQUIRED_COUNT]);
            (bare.unwrap_or(own), failures)
        }
        QueueKind::Quorum => (own, 0),
        // Streams deliver everything again, so no flag says anything.
        QueueKind::Stream if is_again => (marked(&own)?, 0),
        QueueKind::Stream => (own, 0),
    };
    with_provenance(&own, &delivery.exchange, &delivery.routing_key, failures)
}

/// The properties with the header that marks a message as perhaps twice at the target.
fn marked(raw: &[u8]) -> Option<Bytes> {
    let view = PropertiesView::parse(raw).ok()?;
    let mut field = Vec::new();
    put_bool_field(&mut field, MARK, true);
    let headers = table_with(view.headers_raw(), &field);
    Some(view.edit().set_headers_raw(headers).finish())
}

/// The properties without headers that the source's broker added; `None` if they have none of them. A table that is
/// empty then was not there before.
fn without(view: &PropertiesView<'_>, names: &[&str]) -> Option<Bytes> {
    const EMPTY: usize = 4;
    let mut headers = view.headers_raw()?.to_vec();
    let before = headers.len();
    for name in names {
        headers = table_without(&headers, name);
    }
    if headers.len() == before {
        return None;
    }
    let mut edit = view.edit();
    match headers.len() {
        EMPTY => edit.remove_headers(),
        _ => edit.set_headers_raw(headers),
    };
    Some(edit.finish())
}

/// A header with a signed 64-bit number that is not negative.
fn number(view: &PropertiesView<'_>, name: &str) -> Option<u64> {
    let entry = view
        .header(name)
        .filter(|entry| matches!(entry.tag, b'l' | b'L'))?;
    let value = i64::from_be_bytes(entry.value.try_into().ok()?);
    u64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Provenance;

    const PLAIN: &[u8] = b"\0\0";
    const HEADERS: &[u8] = b"\x20\0\0\0\0\x04\x01bt\x01";

    /// The properties with a counter that a broker adds.
    fn with_number(raw: &[u8], name: &str, value: i64) -> Bytes {
        crate::wire::append_headers(raw, &[(name, value)], None).unwrap()
    }

    fn carry(kind: QueueKind, entrance: Entrance) -> Carry {
        Carry {
            queue: "q".to_owned(),
            kind,
            entrance,
            offsets: (kind == QueueKind::Stream).then(|| Offsets::without_state(5, 8)),
        }
    }

    /// What the target's consumers see: exchange, routing key, failures, properties.
    fn carried(
        kind: QueueKind,
        entrance: Entrance,
        redelivered: bool,
        raw: &[u8],
    ) -> (String, String, u32, Bytes) {
        let delivery = Delivery {
            tag: 1,
            redelivered,
            exchange: "e".to_owned(),
            routing_key: "k".to_owned(),
        };
        let mut carry = carry(kind, entrance);
        let published = carry
            .publication(&delivery, Bytes::copy_from_slice(raw))
            .unwrap();
        assert!(published.mandatory);
        assert_eq!(published.routing_key, "q");
        if entrance == Entrance::Default {
            assert_eq!(published.exchange, "");
            return ("".to_owned(), "q".to_owned(), 0, published.properties);
        }
        assert_eq!(published.exchange, RESTORE_EXCHANGE);
        let view = PropertiesView::parse(&published.properties).unwrap();
        let (provenance, properties) = Provenance::take_from(&view).unwrap();
        let origin = provenance.origin;
        (
            origin.exchange.to_string(),
            origin.routing_key.to_string(),
            provenance.failures,
            properties,
        )
    }

    #[test]
    fn leveret_takes_messages_as_they_were() {
        use QueueKind::{Classic, Quorum, Stream};
        let counted = with_number(&with_number(HEADERS, DELIVERY_COUNT, 3), ACQUIRED_COUNT, 4);
        let marked_plain = marked(PLAIN).unwrap();
        for (kind, redelivered, raw, failures, seen) in [
            (Classic, false, PLAIN, 0, PLAIN),
            (Classic, false, HEADERS, 0, HEADERS),
            (Classic, true, HEADERS, 1, HEADERS),
            // A client's own header of a classic queue stays.
            (Classic, true, &counted, 1, &counted),
            (Quorum, true, &counted, 3, HEADERS),
            (
                Quorum,
                true,
                &with_number(PLAIN, ACQUIRED_COUNT, 1),
                1,
                PLAIN,
            ),
            (Quorum, false, &counted, 0, &counted),
            (Stream, false, &with_number(HEADERS, OFFSET, 8), 0, HEADERS),
            (Stream, false, &with_number(PLAIN, OFFSET, 8), 0, PLAIN),
            (
                Stream,
                false,
                &with_number(PLAIN, OFFSET, 7),
                0,
                &marked_plain,
            ),
        ] {
            let (exchange, key, count, properties) =
                carried(kind, Entrance::Restore, redelivered, raw);
            assert_eq!((exchange.as_str(), key.as_str()), ("e", "k"));
            assert_eq!(count, failures, "{kind:?} {raw:?}");
            assert_eq!(properties, seen, "{kind:?} {raw:?}");
        }
    }

    #[test]
    fn other_brokers_get_a_mark_on_what_may_be_there_twice() {
        let (.., properties) = carried(QueueKind::Classic, Entrance::Default, false, HEADERS);
        assert_eq!(properties, HEADERS);
        let (.., properties) = carried(QueueKind::Quorum, Entrance::Default, true, HEADERS);
        assert_eq!(properties, marked(HEADERS).unwrap());
        let view = PropertiesView::parse(&properties).unwrap();
        assert_eq!(view.header(MARK).map(|entry| entry.value), Some(&[1][..]));
    }

    #[test]
    fn a_stream_without_offsets_is_refused() {
        let mut carry = carry(QueueKind::Stream, Entrance::Restore);
        let delivery = Delivery::default();
        let published = carry.publication(&delivery, Bytes::from_static(PLAIN));
        assert!(published.is_err());
    }
}
