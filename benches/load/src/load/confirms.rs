//! The side of a producer that takes confirms.

use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::meter::{Meter, Side};
use super::stage::{Phase, Stage};
use super::thread::spawn_small;
use super::window::Window;
use crate::client::{Event, Incoming, refuse_close};
use crate::error::BenchError;
use crate::latencies::Latencies;

/// How long a producer waits for a confirm. A broker that compacts or recovers can be silent for long.
pub(super) const STALL: Duration = Duration::from_secs(60);

pub(super) struct Confirms<'a> {
    window: &'a Window,
    stage: &'a Stage,
    meter: &'a Meter,
    pub(super) taken: Taken,
    /// Time of the last read with data.
    moved: Instant,
}

/// The confirms of a producer so far.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Messages that the broker refused.
    pub(super) refused: u64,
    /// Latencies of confirms in the measured time.
    pub(super) latencies: Latencies,
}

impl<'a> Confirms<'a> {
    pub(super) fn new(window: &'a Window, stage: &'a Stage, meter: &'a Meter) -> Confirms<'a> {
        Confirms {
            window,
            stage,
            meter,
            taken: Taken::default(),
            moved: Instant::now(),
        }
    }

    /// Reads once from the socket, and takes the confirms.
    pub(super) fn read(
        &mut self,
        incoming: &mut Incoming,
        socket: &mut TcpStream,
    ) -> Result<(), BenchError> {
        if !incoming.fill(socket)? {
            return self.check_stall();
        }
        let now_ns = self.stage.now_ns();
        let is_measuring = self.stage.phase() == Phase::Measure;
        let mut published = 0;
        while let Some(event) = incoming.next()? {
            match event {
                Event::Confirm {
                    tag,
                    multiple,
                    taken,
                } => {
                    let latencies = is_measuring.then_some(&mut self.taken.latencies);
                    let count = self.window.confirm(tag, multiple, now_ns, latencies);
                    if taken {
                        published += count;
                    } else {
                        self.taken.refused += count;
                    }
                }
                Event::Method(method) => refuse_close(&method)?,
                Event::Delivery(_) => {
                    return Err(BenchError::unexpected("a delivery to a producer"));
                }
            }
        }
        self.moved = Instant::now();
        self.meter.published.add(published);
        self.meter.last_ns.set(now_ns);
        Ok(())
    }

    fn check_stall(&mut self) -> Result<(), BenchError> {
        let unconfirmed = self.window.unconfirmed();
        if unconfirmed == 0 {
            self.moved = Instant::now();
        } else if self.moved.elapsed() > STALL {
            return Err(BenchError::Stalled {
                seconds: STALL.as_secs(),
                what: format!("{unconfirmed} messages are not confirmed"),
            });
        }
        Ok(())
    }
}

/// The thread gives the socket's read buffer back.
type ConfirmThread = JoinHandle<Result<(Incoming, Taken), BenchError>>;

/// Takes confirms on a thread of its own until the window is done.
pub(super) fn spawn(
    mut socket: TcpStream,
    mut incoming: Incoming,
    window: &Arc<Window>,
    stage: &Arc<Stage>,
    meter: &Arc<Meter>,
) -> Result<ConfirmThread, BenchError> {
    let (window, stage, meter) = (window.clone(), stage.clone(), meter.clone());
    spawn_small("confirms", move || {
        let _measured = meter.sign_in(Side::Receiving);
        let mut confirms = Confirms::new(&window, &stage, &meter);
        while !window.is_done() {
            confirms.read(&mut incoming, &mut socket)?;
        }
        Ok((incoming, confirms.taken))
    })
}
