//! Room for bodies that have arrived in part: one budget for the broker, and a bound for each connection. Who has no
//! room is not read further until there is some. So that a body always becomes whole in the end, one connection at a
//! time may go on without room: the turn goes round those who wait, in the order in which they came.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use super::limits::{ASSEMBLING_OWN_MAX, HELD_BACK_MAX, TURN_IDLE_MAX};

/// The budget and its bounds, in bytes.
#[derive(Debug)]
pub(super) struct Room {
    /// What all connections may hold together.
    all_max: usize,
    /// What one may hold without a turn; in its turn twice that.
    own_max: usize,
    taken: AtomicUsize,
    /// Connections that wait for the turn.
    waiting: AtomicUsize,
    turn: Arc<Semaphore>,
    full: watch::Sender<bool>,
}

/// Whether a connection may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Free,
    InTurn,
    TooMuch,
}

impl Room {
    /// Room for `all_max` bytes. A message of `message_max` always finds some.
    pub(super) fn new(all_max: usize, message_max: usize) -> Arc<Room> {
        Arc::new(Room {
            all_max,
            own_max: message_max.max(ASSEMBLING_OWN_MAX),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            turn: Arc::new(Semaphore::new(1)),
            full: watch::Sender::new(false),
        })
    }

    fn stand(&self, own: usize) -> Stand {
        if own == 0 {
            Stand::Free
        } else if own >= self.own_max.saturating_mul(2) {
            Stand::TooMuch
        } else if own >= self.own_max || self.taken.load(Ordering::Relaxed) >= self.all_max {
            Stand::InTurn
        } else {
            Stand::Free
        }
    }

    fn change(&self, before: usize, after: usize) {
        let was = match after > before {
            true => self.taken.fetch_add(after - before, Ordering::Relaxed),
            false => self.taken.fetch_sub(before - after, Ordering::Relaxed),
        };
        let is = was + after - before;
        if (was >= self.all_max) != (is >= self.all_max) {
            self.full.send_if_modified(|full| {
                // Others may have changed it meanwhile: what counts is how it is.
                let now = self.taken.load(Ordering::Relaxed) >= self.all_max;
                std::mem::replace(full, now) != now
            });
        }
    }
}

/// One of those who wait for the turn.
struct Waiting(Arc<Room>);

impl Waiting {
    fn new(room: &Arc<Room>) -> Waiting {
        room.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(room))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a connection stands. The turn is given on when it is dropped.
enum Place {
    Free,
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    /// `idle`: nothing has come since the turn began or was looked at.
    Turn {
        _permit: OwnedSemaphorePermit,
        until: Instant,
        idle: bool,
    },
    TooMuch {
        until: Instant,
    },
}

/// What follows when the time of a connection's place is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing.
    GoesOn,
    /// The peer has left messages half sent that others need the room of: the connection ends.
    Ends,
}

/// A connection's part of the room.
pub(super) struct Share {
    room: Arc<Room>,
    own: usize,
    place: Place,
    full: watch::Receiver<bool>,
}

impl Share {
    /// A part of nothing yet.
    pub(super) fn new(room: &Arc<Room>) -> Share {
        Share {
            room: Arc::clone(room),
            own: 0,
            place: Place::Free,
            full: room.full.subscribe(),
        }
    }

    /// The connection holds so many bytes now.
    pub(super) fn hold(&mut self, own: usize) {
        if own == self.own {
            if own == 0 {
                return;
            }
        } else {
            self.room.change(self.own, own);
            self.own = own;
        }
        match (self.room.stand(own), &self.place) {
            (Stand::Free, Place::Free)
            | (Stand::InTurn, Place::Waiting(_) | Place::Turn { .. })
            | (Stand::TooMuch, Place::TooMuch { .. }) => {}
            (Stand::Free, _) => self.place = Place::Free,
            (Stand::InTurn, Place::Free | Place::TooMuch { .. }) => self.queue(),
            (Stand::TooMuch, _) => {
                let until = Instant::now() + HELD_BACK_MAX;
                self.place = Place::TooMuch { until };
            }
        }
    }

    fn queue(&mut self) {
        let room = Arc::clone(&self.room);
        self.place = Place::Waiting(Box::pin(async move {
            let _waiting = Waiting::new(&room);
            Arc::clone(&room.turn).acquire_owned().await.ok()
        }));
    }

    /// Whether the connection may be read.
    pub(super) fn may_read(&self) -> bool {
        matches!(self.place, Place::Free | Place::Turn { .. })
    }

    /// Something was read.
    pub(super) fn progress(&mut self) {
        if let Place::Turn { idle, .. } = &mut self.place {
            *idle = false;
        }
    }

    /// Waits until the connection may stand otherwise. For ever unless it waits for its turn. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        let Place::Waiting(turn) = &mut self.place else {
            return std::future::pending().await;
        };
        tokio::select! {
            permit = turn => {
                let until = Instant::now() + TURN_IDLE_MAX;
                self.place = match permit {
                    Some(permit) => Place::Turn { _permit: permit, until, idle: true },
                    None => Place::Free,
                };
            }
            // It may be free now: `hold` looks.
            _ = self.full.changed() => {}
        }
    }

    /// When [`Share::look`] has something to do.
    pub(super) fn until(&self) -> Option<Instant> {
        match &self.place {
            Place::Turn { until, .. } | Place::TooMuch { until } => Some(*until),
            Place::Free | Place::Waiting(_) => None,
        }
    }

    /// Gives the turn on if it has lasted long enough. `listens`: the connection would have read what came.
    pub(super) fn look(&mut self, now: Instant, listens: bool) -> Over {
        match &mut self.place {
            Place::TooMuch { until } if now >= *until => Over::Ends,
            Place::Turn { until, idle, .. } if now >= *until => {
                if self.room.waiting.load(Ordering::Relaxed) == 0 {
                    *until = now + TURN_IDLE_MAX;
                    *idle = true;
                } else if *idle && listens {
                    return Over::Ends;
                } else {
                    // At the end of the line.
                    self.queue();
                }
                Over::GoesOn
            }
            Place::Free | Place::Waiting(_) | Place::Turn { .. } | Place::TooMuch { .. } => {
                Over::GoesOn
            }
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.change(self.own, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: usize = 100;

    /// Small enough for tests.
    fn room() -> Arc<Room> {
        let mut room = Arc::into_inner(Room::new(ALL, 0)).unwrap();
        room.own_max = 60;
        Arc::new(room)
    }

    /// Waits until it may be read, or so long.
    async fn waits_for(share: &mut Share, long: Duration) -> bool {
        let turn = async {
            while !share.may_read() {
                share.changed().await;
            }
        };
        tokio::time::timeout(long, turn).await.is_ok()
    }

    async fn settles(share: &mut Share) {
        assert!(waits_for(share, Duration::from_secs(20)).await);
    }

    #[tokio::test]
    async fn who_has_no_room_waits_until_there_is_some() {
        let room = room();
        let (mut a, mut b, mut c) = (Share::new(&room), Share::new(&room), Share::new(&room));
        a.hold(59);
        b.hold(50);
        c.hold(1);
        assert!(a.may_read() && !b.may_read() && !c.may_read());
        // Who has nothing half sent is read; messages that come whole need no room.
        assert!(Share::new(&room).may_read());
        // One of them may go on.
        settles(&mut b).await;
        b.hold(51);
        assert!(b.may_read());
        b.hold(0);
        assert!(b.may_read());
        settles(&mut c).await;
        c.hold(1);
        assert!(c.may_read());
        drop((a, c));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn the_turn_goes_round() {
        let room = room();
        let [mut a, mut b, mut c] = [(); 3].map(|()| Share::new(&room));
        for share in [&mut a, &mut b, &mut c] {
            share.hold(50);
        }
        a.hold(50);
        assert!(!a.may_read() && !b.may_read() && !c.may_read());
        settles(&mut b).await;
        assert!(b.may_read() && !waits(&mut c).await && !waits(&mut a).await);
        let late = Instant::now() + TURN_IDLE_MAX * 2;
        b.progress();
        assert_eq!(b.look(late, true), Over::GoesOn);
        assert!(!b.may_read());
        settles(&mut c).await;
        assert!(c.may_read() && !waits(&mut b).await);
        // It was not listened to, so that it is not to blame.
        assert_eq!(c.look(late + TURN_IDLE_MAX, false), Over::GoesOn);
        settles(&mut a).await;
        assert!(a.may_read() && !c.may_read());
    }

    /// Has it wait for its turn; whether it has it.
    async fn waits(share: &mut Share) -> bool {
        waits_for(share, Duration::from_millis(10)).await
    }

    #[tokio::test]
    async fn who_sends_nothing_in_its_turn_while_others_wait_ends() {
        let room = room();
        let (mut silent, mut other) = (Share::new(&room), Share::new(&room));
        for share in [&mut silent, &mut other] {
            share.hold(55);
        }
        silent.hold(55);
        settles(&mut silent).await;
        let late = Instant::now() + TURN_IDLE_MAX * 2;
        assert_eq!(silent.look(late, true), Over::GoesOn, "none waits for it");
        assert!(!waits(&mut other).await);
        let later = late + TURN_IDLE_MAX * 2;
        assert_eq!(silent.look(later, true), Over::Ends);
        drop(silent);
        settles(&mut other).await;
        assert!(other.may_read());
    }

    #[tokio::test]
    async fn more_than_a_turn_allows_is_held_back_for_a_while_only() {
        let room = room();
        let mut share = Share::new(&room);
        share.hold(120);
        assert!(!share.may_read());
        assert_eq!(share.look(Instant::now(), true), Over::GoesOn);
        let late = Instant::now() + HELD_BACK_MAX;
        assert_eq!(share.look(late, true), Over::Ends);
        share.hold(0);
        assert!(share.may_read());
    }
}
