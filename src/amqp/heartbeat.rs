//! Heartbeats of one connection: when to send one, and when the peer counts as dead. Pure: called every half
//! interval, as in RabbitMQ.

use std::time::Duration;

/// The peer is dead after this many checks without a byte from it.
const SILENT_CHECKS_MAX: u8 = 2;

/// Result of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Send a heartbeat frame.
    pub(crate) send: bool,
    /// The peer is dead.
    pub(crate) dead: bool,
}

#[derive(Debug)]
pub(crate) struct Heart {
    interval_secs: u16,
    odd: bool,
    silent_checks: u8,
    sent: bool,
    has_beaten: bool,
    /// Bytes of a heartbeat in the output; they do not count as traffic.
    beating: usize,
    received: bool,
}

impl Heart {
    /// `interval_secs` was negotiated; 0 turns heartbeats off.
    pub(crate) fn new(interval_secs: u16) -> Heart {
        Heart {
            interval_secs,
            odd: false,
            silent_checks: 0,
            // The handshake is a sign of life.
            sent: false,
            has_beaten: false,
            beating: 0,
            received: true,
        }
    }

    /// Time between ticks; `None` without heartbeats.
    pub(crate) fn tick_every(&self) -> Option<Duration> {
        (self.interval_secs > 0).then(|| Duration::from_millis(u64::from(self.interval_secs) * 500))
    }

    /// A heartbeat of `bytes` bytes was put into the empty output.
    pub(crate) fn beats(&mut self, bytes: usize) {
        self.beating = bytes;
    }

    /// The socket has taken `bytes` bytes.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let heartbeat = self.beating.min(bytes);
        self.beating -= heartbeat;
        self.sent |= bytes > heartbeat;
    }

    /// Bytes were received, or the connection was not read.
    pub(crate) fn received(&mut self) {
        self.received = true;
    }

    /// Half an interval has passed.
    pub(crate) fn tick(&mut self) -> Beat {
        if self.interval_secs == 0 {
            return Beat::default();
        }
        // The first tick sends a heartbeat, whatever was sent before it.
        let is_first = !std::mem::replace(&mut self.has_beaten, true);
        let send = !std::mem::take(&mut self.sent) || is_first;
        self.odd = !self.odd;
        if !self.odd {
            // A whole interval has passed: check the peer.
            match std::mem::take(&mut self.received) {
                true => self.silent_checks = 0,
                false => self.silent_checks += 1,
            }
        }
        Beat {
            send,
            dead: self.silent_checks >= SILENT_CHECKS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_connections_beat_every_half_interval() {
        let mut heart = Heart::new(10);
        assert_eq!(heart.tick_every(), Some(Duration::from_secs(5)));
        for _ in 0..6 {
            assert!(heart.tick().send);
            heart.beats(8);
            // The socket takes it in pieces.
            heart.sent(3);
            heart.sent(5);
            heart.received();
        }
    }

    #[test]
    fn other_output_replaces_a_heartbeat() {
        let mut heart = Heart::new(10);
        heart.sent(100);
        assert!(heart.tick().send, "the first tick always sends one");
        heart.beats(8);
        heart.sent(9);
        heart.received();
        assert_eq!(
            heart.tick(),
            Beat {
                send: false,
                dead: false
            }
        );
        assert!(heart.tick().send);
    }

    #[test]
    fn a_silent_peer_is_dead_after_two_checks() {
        let mut heart = Heart::new(10);
        let dead_at = (1..20).find(|_| heart.tick().dead);
        // One check with the handshake, two without a byte: three intervals.
        assert_eq!(dead_at, Some(6));
    }

    #[test]
    fn no_heartbeats() {
        let mut heart = Heart::new(0);
        assert_eq!(heart.tick_every(), None);
        assert_eq!(heart.tick(), Beat::default());
    }
}
