//! Listings: the items that contain `searchWord`, and of these the page that `offset` and `limit` name.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::names::queue_id;
use crate::broker::queue::Queue;
use crate::cmq::call::{Call, Outcome, is_served};
use crate::cmq::error::CmqError;
use crate::cmq::limits::{LIST_DEFAULT, LIST_MAX};

/// Offsets that listings of queues and topics take.
pub(super) const ANY_OFFSET: RangeInclusive<u64> = 0..=u64::MAX;

/// The page that a request names.
pub(super) struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    pub(super) fn read(
        call: &Call<'_>,
        offsets: RangeInclusive<u64>,
        limit_max: u64,
    ) -> Result<Page, CmqError> {
        let offset = call.parameters.ranged("offset", offsets)?.unwrap_or(0);
        let limit = call.parameters.ranged("limit", 0..=limit_max)?;
        let [offset, limit] = [offset, limit.unwrap_or(LIST_DEFAULT)]
            .map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Page { offset, limit })
    }

    pub(super) fn of<'a, T>(&self, items: &'a [T]) -> impl Iterator<Item = &'a T> {
        items.iter().skip(self.offset).take(self.limit)
    }
}

/// `totalCount`.
pub(super) fn total<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// Whether a name contains a word, whatever the case.
pub(super) fn contains_word(name: &str, word: &str) -> bool {
    let [name, word] = [name, word].map(str::to_ascii_lowercase);
    name.contains(&word)
}

/// Lists those of `queues` that the API serves and the caller may see.
pub(super) fn queue_list(call: &Call<'_>, mut queues: Vec<Arc<Queue>>) -> Outcome {
    let word = call.parameters.text("searchWord").unwrap_or_default();
    queues.retain(|queue| {
        contains_word(queue.name(), word) && is_served(queue) && call.sees_queue(queue.name())
    });
    let page = Page::read(call, ANY_OFFSET, LIST_MAX)?;
    let response = call.success().with(|object| {
        object.number("totalCount", total(&queues)).objects(
            "queueList",
            page.of(&queues),
            |item, queue| {
                item.text("queueId", &queue_id(queue.id()))
                    .text("queueName", queue.name());
            },
        );
    });
    Ok(response.into())
}
