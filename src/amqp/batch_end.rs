//! The end of a batch of frames: runs and acks go to their queues, incomplete contents are detached from the
//! read buffer, and the confirms that are due leave.

use super::connection::Connection;
use crate::model::Ticket;

impl Connection {
    pub(super) fn end_batch(&mut self) {
        while let Some(number) = self.state.to_flush.pop() {
            if let Some((channel, state)) = self.channel(number) {
                channel.is_dirty = false;
                channel.flush(state);
            }
        }
        self.detach_incomplete_contents();
        self.send_confirms();
    }

    /// Contents that this batch has left incomplete wait for later frames, and must not keep the read buffer
    /// meanwhile.
    fn detach_incomplete_contents(&mut self) {
        while let Some(number) = self.state.assembling.next_begun() {
            let read_buffer = self.state.read_buffer;
            if let Some(channel) = self.channels.get_mut(number) {
                channel.assembly.detach_header(read_buffer);
            }
        }
        self.assembly_share.set(self.state.assembling.bytes());
    }

    /// Sends the confirms that are due, and registers with the committer for the next ones.
    pub(super) fn send_confirms(&mut self) {
        if self.state.confirming.is_empty() {
            return;
        }
        let durable = self.state.shared.committer.durable();
        let mut next: Option<Ticket> = None;
        let mut confirming = std::mem::take(&mut self.state.confirming);
        confirming.retain(|number| {
            let Some(channel) = self.channels.get_mut(*number) else {
                return false;
            };
            let before = channel.message_stats.confirm;
            let waits_for = channel.send_confirms(&mut self.state.out, durable);
            self.state.published.published.confirmed += channel.message_stats.confirm - before;
            next = match (next, waits_for) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            waits_for.is_some()
        });
        self.state.confirming = confirming;
        if let Some(next) = next {
            self.wake_when_durable(next, durable);
        }
    }

    /// Registers once per ticket, not once per message.
    fn wake_when_durable(&mut self, next: Ticket, durable: Ticket) {
        let is_registered = |at: Ticket| durable < at && at <= next;
        if !self.wake_at.is_some_and(is_registered) {
            self.wake_at = Some(next);
            let outbox = self.state.shared.outbox.clone();
            self.state.shared.committer.when_durable(next, outbox);
        }
    }
}
