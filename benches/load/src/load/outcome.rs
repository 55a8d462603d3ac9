//! The measurements of one load.

use crate::findings::Findings;
use crate::latencies::Latencies;
use crate::lateness::Lateness;

#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The measured time.
    pub(crate) seconds: f64,
    /// Messages confirmed and received in that time.
    pub(crate) published: u64,
    pub(crate) received: u64,
    /// Messages that the broker refused during the whole load.
    pub(crate) refused: u64,
    pub(crate) confirms: Latencies,
    /// From the time when a message was to be sent to its delivery.
    pub(crate) latencies: Latencies,
    /// Set if messages were due at random times and there were consumers.
    pub(crate) lateness: Option<Lateness>,
    pub(crate) usage: Usage,
    /// Messages in the queues at the end of the measured time.
    pub(crate) backlog: u64,
    /// Messages sent during the whole load and before, by stream.
    pub(crate) sent: Vec<u64>,
    /// Set if there were consumers.
    pub(crate) findings: Option<Findings>,
    /// Seconds since the beginning of the measured time, and messages so far.
    pub(crate) course: Vec<(f64, u64)>,
}

/// Resources used in the measured time.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// CPU seconds of the broker, if its processes are known.
    pub(crate) broker_cpu: Option<f64>,
    pub(crate) broker_rss_peak: Option<u64>,
    pub(crate) broker_written: Option<u64>,
    /// CPU seconds of the workers, and of the busiest thread among them.
    pub(crate) client_cpu: f64,
    pub(crate) busiest_thread_cpu: f64,
    /// CPU seconds of all processes of the machine.
    pub(crate) machine_cpu: f64,
}
