//! One consumer of a stream: its position, its filter and its credit.

use std::ops::Range;

use crate::broker::queue::consumer::{Consumer, Delivery, ReturnCounts};
use crate::model::stream::{STREAM_FILTER_VALUE, StreamFilter};
use crate::model::{Lease, Message};
use crate::store::{RangeSet, StoredMessage};
use crate::wire::PropertiesView;

use super::pages::Pages;

/// The type tag of strings in tables (AMQP 0-9-1 errata, 3).
const LONG_STRING: u8 = b'S';

/// A consumer and its position.
pub(super) struct Reader {
    pub(super) consumer: Consumer,
    /// The next offset that it looks at.
    pub(super) cursor: u64,
    /// It begins with the whole chunk that holds the cursor.
    pub(super) whole_chunk: bool,
    /// Skips messages enqueued earlier than this.
    pub(super) not_before_ms: Option<u64>,
    /// Its position is being looked for on disk.
    pub(super) is_seeking: bool,
    pub(super) filter: Option<StreamFilter>,
}

impl Reader {
    /// Delivers resident messages within `range`, as far as the credit goes. Passes over `lost` ones. True if
    /// it stopped at a message that is not resident.
    pub(super) fn serve(
        &mut self,
        pages: &Pages,
        lost: &RangeSet,
        range: Range<u64>,
        deliveries: &mut Vec<Delivery>,
    ) -> bool {
        let (floor, until) = (range.start, range.end);
        self.cursor = self.cursor.max(floor);
        while self.cursor < until && self.consumer.has_credit() && !self.is_seeking {
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
            // Times never fall within a stream, so no later message is too early.
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
            counts: ReturnCounts::default(),
            enqueued: None,
        }
    }
}

/// Whether a filter lets a message through. A filter value that is not a string counts as none.
fn wants(filter: &StreamFilter, message: &Message) -> bool {
    let value = PropertiesView::parse(&message.properties)
        .ok()
        .and_then(|view| view.header(STREAM_FILTER_VALUE))
        .filter(|entry| entry.tag == LONG_STRING)
        .map(|entry| entry.value);
    filter.wants(value)
}
