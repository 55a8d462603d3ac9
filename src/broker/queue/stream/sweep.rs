//! When the store may remove the chunks below a stream's floor: only after the record with that floor is
//! durable. A crash before would leave a record that names messages which are gone.

use crate::model::Ticket;

/// How far the removal of chunks below the floor is.
#[derive(Default)]
pub(super) struct Sweep {
    /// The floor has risen, and no batch has it yet.
    is_wanted: bool,
    /// The batch that has the floor up to which to sweep.
    from: Option<Ticket>,
    is_running: bool,
}

impl Sweep {
    /// After a restart the whole log below the floor is swept.
    pub(super) fn recover(floor: u64) -> Sweep {
        Sweep {
            from: (floor > 0).then_some(Ticket(0)),
            ..Sweep::default()
        }
    }

    pub(super) fn floor_has_risen(&mut self) {
        self.is_wanted = true;
    }

    /// The batch with this ticket has the floor.
    pub(super) fn floor_is_in(&mut self, ticket: Ticket) {
        if self.from.is_none() && std::mem::take(&mut self.is_wanted) {
            self.from = Some(ticket);
        }
    }

    /// Begins a sweep if one is due, given the last durable batch.
    pub(super) fn begin(&mut self, durable: Ticket) -> bool {
        let is_due = self.from.is_some_and(|from| from <= durable) && !self.is_running;
        if is_due {
            self.from = None;
            self.is_running = true;
        }
        is_due
    }

    pub(super) fn ended(&mut self) {
        self.is_running = false;
    }
}
