//! What survives a crash, according to the oracle: what the last batch that is left has, without transient messages and
//! without the leases of connections.

use std::collections::BTreeMap;

use crate::model::Ticket;
use crate::model::arguments::QueueKind;

use super::contents::{Holder, Place};
use super::oracle::Oracle;

impl Oracle {
    /// A batch has taken everything up to now.
    pub(super) fn collected(&mut self, ticket: Ticket) {
        self.batches.insert(ticket, self.now.clone());
    }

    pub(super) fn synced(&mut self, ticket: Ticket) {
        self.batches = self.batches.split_off(&ticket);
        self.stream_durable = self.stored_of_stream(ticket);
    }

    fn stored_of_stream(&self, ticket: Ticket) -> u64 {
        let stored = self.batches.get(&ticket);
        stored.map_or(0, |contents| contents.stream.len() as u64)
    }

    /// The broker has crashed, and `last` is the last batch that survived.
    pub(super) fn crashed(&mut self, last: Ticket, now_ms: u64) {
        self.now = self.batches.get(&last).cloned().unwrap_or_default();
        self.batches = BTreeMap::from([(last, self.now.clone())]);
        self.stream_durable = self.now.stream.len() as u64;
        let arguments = &self.arguments;
        let is_classic = |queue: usize| arguments[queue].kind == QueueKind::Classic;
        for entry in self.now.messages.values_mut() {
            entry.place = match entry.place {
                // Its death was not stored.
                Place::Rejected(queue) => Place::In(queue),
                place => place,
            };
            entry.place = match entry.place {
                Place::In(queue) if is_classic(queue) && !entry.persistent => Place::Gone,
                Place::Acked(_) if !entry.persistent => Place::Gone,
                place => place,
            };
        }
        let contents = &mut self.now;
        let messages = &contents.messages;
        contents.leases.retain(|(queue, _), held| {
            let is_there = messages
                .get(&held.number)
                .is_some_and(|entry| entry.place == Place::In(*queue));
            let lasts = held.ends_ms.is_none_or(|ends_ms| now_ms < ends_ms);
            matches!(held.holder, Holder::Receiver(_)) && is_there && lasts
        });
        self.consumers.clear();
        self.unanswered.clear();
        self.ended.clear();
        self.handed_out_before.append(&mut self.handed_out);
        self.first_below.clear();
        self.active = None;
        self.crashes += 1;
    }
}
