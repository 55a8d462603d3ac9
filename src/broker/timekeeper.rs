//! Stores how the broker's time line relates to the machine's clocks, so that it continues over a restart.
//! `clock` defines the time line.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::definitions::Kind;
use super::definitions::record::{NamedRecord, Record, Records};
use crate::clock::{Anchor, Clock, Source};
use crate::model::Ticket;
use crate::store::Store;
use crate::store::commit::Committer;

/// Interval of notes. After a power loss on a machine that loses its wall clock with it, the line continues from a note
/// that is at most this much older than the last write.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// The anchor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct ClockRecord(Anchor);

impl NamedRecord for ClockRecord {
    const KIND: Kind = Kind::Clock;
    fn names(&self) -> Vec<&str> {
        Vec::new()
    }
}

/// The broker's clock, and the last note on disk.
pub(super) struct Timekeeper {
    clock: Arc<Clock>,
    committer: Arc<Committer>,
    noted: Mutex<Noted>,
}

struct Noted {
    anchor: Anchor,
    /// The batch of the last note.
    ticket: Ticket,
}

impl Timekeeper {
    /// Continues the time line of the committer's store, and notes it until this is dropped.
    pub(super) fn start(committer: Arc<Committer>, source: Arc<dyn Source>) -> Arc<Timekeeper> {
        let known = load(&**committer.store());
        let clock = Arc::new(Clock::start(source, known.as_ref()));
        let anchor = clock.anchor();
        let is_known = known.is_some_and(|known| known.places_as(&anchor));
        let keeper = Arc::new(Timekeeper {
            clock,
            committer,
            noted: Mutex::new(Noted {
                anchor: anchor.clone(),
                ticket: Ticket(0),
            }),
        });
        if !is_known {
            keeper.put(&mut keeper.lock(), anchor);
        }
        tokio::spawn(keep(Arc::downgrade(&keeper)));
        keeper
    }

    pub(super) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Writes a note if anything was written since the last one, or if the wall clock was set.
    pub(super) fn note(&self) {
        let anchor = self.clock.anchor();
        let mut noted = self.lock();
        let set_by_ms = anchor.wall_ahead_ms() - noted.anchor.wall_ahead_ms();
        if set_by_ms != 0 {
            let by = Duration::from_millis(set_by_ms.unsigned_abs());
            let direction = if set_by_ms > 0 { "ahead" } else { "back" };
            warn!(
                "the system's clock was set {direction} by {by:?}; locks, delays and times to live are not affected"
            );
        } else if self.committer.gathering().0 <= noted.ticket.0 + 1 {
            return;
        }
        self.put(&mut noted, anchor);
    }

    fn put(&self, noted: &mut Noted, anchor: Anchor) {
        // Not waited for: later writes are in this batch or a later one.
        let mut records = Records::default();
        records.put(&ClockRecord(anchor.clone()));
        noted.ticket = records.write_soon(&self.committer);
        noted.anchor = anchor;
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Noted> {
        self.noted.lock()
    }
}

/// The last note. If it cannot be read, the broker starts with a time line that begins at the wall clock.
fn load(store: &dyn Store) -> Option<Anchor> {
    match ClockRecord::load(store) {
        Ok(records) => records.into_iter().next().map(|record| record.0),
        Err(error) => {
            warn!(%error, "cannot read how the last run's time went; it goes on by the system's clock");
            None
        }
    }
}

async fn keep(keeper: Weak<Timekeeper>) {
    loop {
        tokio::time::sleep(NOTE_EVERY).await;
        let Some(keeper) = keeper.upgrade() else {
            return;
        };
        keeper.note();
    }
}
