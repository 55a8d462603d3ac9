//! Serves the readers of a stream from its pages, and reads ahead of the lagging ones.

use crate::broker::queue::effects::{Effect, Effects};

use super::{LOADS_MAX, READ_AHEAD_BYTES, Stream};

impl Stream {
    /// Delivers to every reader as far as its credit and the resident messages go, and asks for missing
    /// reads. Returns the number of lagging readers.
    pub(super) fn serve(&mut self, fx: &mut Effects) -> u64 {
        let mut lagging = 0;
        let mut unread = None;
        let count = self.readers.len();
        let first = self.first_to_read.checked_rem(count).unwrap_or(0);
        let (start, rest) = self.readers.split_at_mut(first);
        for (index, reader) in (first..).zip(rest).chain((0..).zip(start)) {
            if reader.cursor >= self.durable || reader.is_seeking {
                continue;
            }
            if !reader.consumer.has_credit() {
                lagging += 1;
                continue;
            }
            let range = self.floor..self.durable;
            let stuck = reader.serve(&self.pages, &self.lost, range, &mut fx.deliveries);
            if reader.cursor >= self.durable {
                continue;
            }
            lagging += 1;
            let missing = match stuck {
                true => Some(reader.cursor),
                false => self.pages.look_ahead(
                    self.command,
                    reader.cursor,
                    self.durable,
                    READ_AHEAD_BYTES,
                ),
            };
            // Lost messages may follow, and resident ones after them.
            if let Some(from) = missing.map(|from| self.lost.first_gap(from))
                && from < self.durable
                && self.pages.find(from).is_none()
                && !self.loading.contains(&from)
            {
                if self.loading.len() < LOADS_MAX {
                    self.loading.push(from);
                    fx.push(Effect::Read {
                        log: self.log,
                        from,
                    });
                } else if stuck {
                    // When a read has ended, the next one is made for this reader first.
                    unread.get_or_insert(index);
                }
            }
        }
        if let Some(unread) = unread {
            self.first_to_read = unread;
        }
        lagging
    }
}
