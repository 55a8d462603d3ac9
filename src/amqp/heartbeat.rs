//! Heartbeats of one connection: when to send one, and when the peer is taken for dead. Pure: told every half interval
//! what has happened since, as RabbitMQ looks at it.

use std::time::Duration;

/// Checks without a byte from the peer after which it is dead.
const SILENT_CHECKS_MAX: u8 = 2;

/// What to do at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Send a heartbeat frame.
    pub(crate) send: bool,
    /// The peer is dead.
    pub(crate) dead: bool,
}

/// The state between ticks.
#[derive(Debug)]
pub(crate) struct Heart {
    interval_secs: u16,
    odd: bool,
    silent_checks: u8,
    sent: bool,
    has_beaten: bool,
    /// Bytes of heartbeats that are among the output: they are no traffic.
    beating: usize,
    received: bool,
}

impl Heart {
    /// A heart for the negotiated interval; 0 is none.
    pub(crate) fn new(interval_secs: u16) -> Heart {
        Heart {
            interval_secs,
            odd: false,
            silent_checks: 0,
            // The first half has its heartbeat whatever was sent in it, and the handshake is a sign of life.
            sent: false,
            has_beaten: false,
            beating: 0,
            received: true,
        }
    }

    /// The interval that was agreed, in seconds; 0 is none.
    pub(crate) fn interval_secs(&self) -> u16 {
        self.interval_secs
    }

    /// Time between ticks; `None` without heartbeats.
    pub(crate) fn tick_every(&self) -> Option<Duration> {
        (self.interval_secs > 0).then(|| Duration::from_millis(u64::from(self.interval_secs) * 500))
    }

    /// A heartbeat of so many bytes is the next output. It takes the place of no later one.
    pub(crate) fn beats(&mut self, bytes: usize) {
        self.beating = bytes;
    }

    /// The socket has taken so many bytes.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let heartbeat = self.beating.min(bytes);
        self.beating -= heartbeat;
        self.sent |= bytes > heartbeat;
    }

    /// Something was received, whatever it was; or the peer was not listened to.
    pub(crate) fn received(&mut self) {
        self.received = true;
    }

    /// Half an interval has passed.
    pub(crate) fn tick(&mut self) -> Beat {
        if self.interval_secs == 0 {
            return Beat::default();
        }
        let is_first = !std::mem::replace(&mut self.has_beaten, true);
        let send = !std::mem::take(&mut self.sent) || is_first;
        self.odd = !self.odd;
        if !self.odd {
            // A whole interval: the peer's part.
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
            // A socket may take it in pieces.
            heart.sent(3);
            heart.sent(5);
            heart.received();
        }
    }

    #[test]
    fn what_else_is_sent_takes_the_place_of_a_heartbeat() {
        let mut heart = Heart::new(10);
        heart.sent(100);
        assert!(heart.tick().send, "the first half has one in any case");
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
