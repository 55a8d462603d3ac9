//! One consumer of a stream: where it is, what it wants, how much it may be sent. Non-destructive: what one is given
//! takes nothing from the others.

use std::ops::Range;

use crate::broker::queue::consumer::{Consumer, Delivery};
use crate::model::stream::{STREAM_FILTER_VALUE, StreamFilter};
use crate::model::{Lease, Message};
use crate::store::{RangeSet, StoredMessage};
use crate::wire::PropertiesView;

use super::pages::Pages;

/// The type tag of strings in tables (AMQP 0-9-1 errata, 3).
const LONG_STRING: u8 = b'S';

/// A consumer and its place.
pub(super) struct Reader {
    pub(super) consumer: Consumer,
    /// The next offset that it looks at.
    pub(super) cursor: u64,
    /// It begins with the chunk that holds the cursor, wherever in it that is.
    pub(super) whole_chunk: bool,
    /// Messages that came before, are passed over.
    pub(super) not_before_ms: Option<u64>,
    /// Its place is being looked for on disk.
    pub(super) seeking: bool,
    pub(super) filter: Option<StreamFilter>,
}

impl Reader {
    /// Gives it what it may have of the messages in memory within `range`. True if it could have more but
    /// for what is not in memory.
    /// What is `lost` is passed over.
    pub(super) fn serve(
        &mut self,
        pages: &Pages,
        lost: &RangeSet,
        range: Range<u64>,
        deliveries: &mut Vec<Delivery>,
    ) -> bool {
        let (floor, until) = (range.start, range.end);
        self.cursor = self.cursor.max(floor);
        while self.cursor < until && self.consumer.has_credit() && !self.seeking {
            let Some((first, page)) = pages.find(self.cursor) else {
                if lost.contains(self.cursor) {
                    self.cursor = lost.first_gap(self.cursor);
                    continue;
                }
                return true;
            };
            if std::mem::take(&mut self.whole_chunk) {
                self.cursor = first.max(floor);
            }
            for stored in page.from(self.cursor) {
                if stored.offset >= until || !self.consumer.has_credit() {
                    break;
                }
                self.cursor = stored.offset + 1;
                if self.wants(stored) {
                    deliveries.push(self.give(stored));
                }
            }
        }
        false
    }

    fn wants(&mut self, stored: &StoredMessage) -> bool {
        if let Some(ms) = self.not_before_ms {
            if stored.enqueued_ms < ms {
                return false;
            }
            // Times only rise in a stream.
            self.not_before_ms = None;
        }
        self.filter
            .as_ref()
            .is_none_or(|filter| wants(filter, &stored.message))
    }

    fn give(&mut self, stored: &StoredMessage) -> Delivery {
        self.consumer.charge(stored.message.size());
        Delivery {
            consumer: self.consumer.id(),
            lease: Lease {
                offset: stored.offset,
                turn: 0,
                lane: 0,
            },
            message: stored.message.clone(),
            redelivered: false,
            delivery_count: 0,
            enqueued: None,
        }
    }
}

/// A value that is no string is none.
fn wants(filter: &StreamFilter, message: &Message) -> bool {
    let value = PropertiesView::parse(&message.properties)
        .ok()
        .and_then(|view| view.header(STREAM_FILTER_VALUE))
        .filter(|entry| entry.tag == LONG_STRING)
        .map(|entry| entry.value);
    filter.wants(value)
}
