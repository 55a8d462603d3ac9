//! Deliveries of the sink, which invents the messages.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use leveret::wire::{put_body_frame, put_content_header, put_deliver};

use super::queue::{Queue, QueueState};
use crate::client::CHANNEL;
use crate::stamp::Stamp;

/// The most deliveries per write.
const RUN: u64 = 250;
/// How often an idle thread checks its connection.
const LOOK: Duration = Duration::from_millis(100);
/// Offset of the delivery tag in a delivery, without the consumer tag: frame head, method ids, length of the
/// consumer tag.
const DELIVERY_TAG_AT: usize = 7 + 4 + 1;

/// The deliveries of one queue to one consumer.
pub(super) struct Deliveries {
    pub(super) queue: Arc<Queue>,
    pub(super) socket: TcpStream,
    pub(super) open: Arc<AtomicBool>,
    /// Deliveries that may be unacknowledged.
    pub(super) window: u64,
    pub(super) tag: String,
    pub(super) name: String,
    pub(super) lost: Option<u64>,
}

impl Deliveries {
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut block = BytesMut::new();
        while let Some((first, count, state)) = self.next_run() {
            if block.is_empty() {
                block = self.block(state.size);
            }
            let one = block.len() / usize::try_from(RUN).unwrap_or(1);
            let count = usize::try_from(count).unwrap_or(0);
            let stamp_at = one - 1 - usize::try_from(state.size).unwrap_or(0);
            let tag_at = DELIVERY_TAG_AT + self.tag.len();
            for (sequence, message) in (first..).zip(block.chunks_exact_mut(one).take(count)) {
                let skipped = u64::from(self.lost.is_some_and(|lost| lost <= sequence));
                let stamp = Stamp {
                    sequence: sequence + skipped,
                    ..state.latest
                };
                for (at, bytes) in [
                    (tag_at, &(sequence + 1).to_be_bytes()[..]),
                    (stamp_at, &stamp.encode()[..]),
                ] {
                    if let Some(field) = message.get_mut(at..at + bytes.len()) {
                        field.copy_from_slice(bytes);
                    }
                }
            }
            self.socket
                .write_all(block.get(..one * count).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Waits until messages may be delivered. Returns the number of the first message, their count, and the queue's state;
    /// `None` after the end of the connection.
    fn next_run(&self) -> Option<(u64, u64, QueueState)> {
        let mut state = self.queue.state.lock();
        loop {
            let there = state.published
                - u64::from(self.lost.is_some()).min(state.published)
                - state.delivered;
            let room = self
                .window
                .saturating_sub(state.delivered - state.acked.min(state.delivered));
            let count = RUN.min(there).min(room);
            if !self.open.load(Ordering::Relaxed) {
                return None;
            }
            if count > 0 {
                let first = state.delivered;
                state.delivered += count;
                return Some((first, count, *state));
            }
            self.queue.changed.wait_for(&mut state, LOOK);
        }
    }

    fn block(&self, size: u64) -> BytesMut {
        let mut block = BytesMut::new();
        let body = vec![b'x'; usize::try_from(size).unwrap_or(0)];
        for _ in 0..RUN {
            put_deliver(&mut block, CHANNEL, &self.tag, 0, false, "", &self.name);
            put_content_header(&mut block, CHANNEL, &[0, 0], size);
            put_body_frame(&mut block, CHANNEL, &body);
        }
        block
    }
}
