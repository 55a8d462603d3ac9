//! CMQ's HTTP API as a load: batches sent, and batches received and deleted, over so many connections with one request
//! under way on each. What is here: plans, threads and measuring; requests are in `client`.

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::client::Client;
use super::BenchError;
use super::histogram::Histogram;
use super::load::{Outcome, Usage};
use super::order::Findings;
use super::process;
use super::setup::Setup;

/// Messages and handles in one request: the most that the API takes unless it is told otherwise.
const BATCH: usize = 16;
/// How often it is looked at whether all are done.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where the API is and with which key, from `http://SECRETID:SECRETKEY@HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    host: String,
    id: String,
    key: String,
}

impl Endpoint {
    pub(super) fn parse(uri: &str) -> Result<Endpoint, BenchError> {
        let login = uri
            .strip_prefix("http://")
            .and_then(|rest| rest.trim_end_matches('/').rsplit_once('@'));
        let parts = login.and_then(|(login, host)| Some((login.split_once(':')?, host)));
        match parts {
            Some(((id, key), host)) => Ok(Endpoint {
                host: host.to_owned(),
                id: id.to_owned(),
                key: key.to_owned(),
            }),
            None => Err(BenchError::Usage(format!(
                "{uri}: expected http://SECRETID:SECRETKEY@HOST:PORT"
            ))),
        }
    }
}

/// What to do.
#[derive(Clone, Debug)]
pub(super) struct CmqPlan {
    pub(super) endpoint: Endpoint,
    pub(super) connections: usize,
    pub(super) queues: Vec<String>,
    /// Length of bodies in bytes.
    pub(super) size: usize,
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
}

/// What one connection does over and over; it returns how many messages it moved.
type Step = fn(&mut Client) -> Result<u64, BenchError>;

impl CmqPlan {
    /// Makes the queues anew.
    pub(super) fn prepare(&self) -> Result<(), BenchError> {
        self.clean_up()?;
        let mut client = Client::connect(self, 0)?;
        for queue in &self.queues {
            client.call(
                "CreateQueue",
                format!("&maxMsgSize=1048576&queueName={queue}").as_bytes(),
            )?;
        }
        Ok(())
    }

    /// Deletes the queues.
    pub(super) fn clean_up(&self) -> Result<(), BenchError> {
        let mut client = Client::connect(self, 0)?;
        for queue in &self.queues {
            match client.call("DeleteQueue", format!("&queueName={queue}").as_bytes()) {
                Ok(()) | Err(BenchError::Closed { code: 4440, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends for the time of the plan.
    pub(super) fn send(&self, setup: &Setup) -> Result<Outcome, BenchError> {
        let (outcome, _) = self.run(setup, Client::send, self.warm_up, None)?;
        Ok(outcome)
    }

    /// Sends so many messages, then receives and deletes them all; only the second is in the outcome.
    pub(super) fn receive(&self, setup: &Setup, count: u64) -> Result<Outcome, BenchError> {
        let at_once = Duration::ZERO;
        let (_, sent) = self.run(setup, Client::send, at_once, Some(count))?;
        let step = Client::receive_and_delete;
        let (mut outcome, received) = self.run(setup, step, at_once, Some(sent))?;
        outcome.received = std::mem::take(&mut outcome.published);
        outcome.findings = Some(Findings {
            missing: sent.saturating_sub(received),
            repeated_or_late: received.saturating_sub(sent),
            astray: 0,
            redelivered: 0,
        });
        Ok(outcome)
    }

    /// Lets all connections do their step, until the time of the plan is over or so many messages are moved. Beside
    /// what was measured it returns how many were moved all in all.
    fn run(
        &self,
        setup: &Setup,
        step: Step,
        warm_up: Duration,
        count: Option<u64>,
    ) -> Result<(Outcome, u64), BenchError> {
        let crew = Crew::start(self, step)?;
        let warm_until = Instant::now() + warm_up;
        while Instant::now() < warm_until && crew.is_at_work() {
            thread::sleep(LOOK_EVERY);
        }
        let (begun, first) = (Instant::now(), crew.snapshot(setup));
        crew.begin();
        let done = |moved: u64| match count {
            Some(count) => moved >= count,
            None => begun.elapsed() >= self.time,
        };
        while !done(crew.moved()) && crew.is_at_work() {
            thread::sleep(LOOK_EVERY);
        }
        let (ended, last) = (begun.elapsed(), crew.snapshot(setup));
        let (request_ns, total) = crew.end()?;
        let outcome = Outcome {
            seconds: ended.as_secs_f64().max(1e-6),
            published: last.moved - first.moved,
            confirm_ns: request_ns,
            usage: first.until(&last, setup),
            ..Outcome::default()
        };
        Ok((outcome, total))
    }
}

/// What a thread shows while it works.
#[derive(Default)]
struct Meter {
    thread: AtomicU32,
    moved: AtomicU64,
}

struct Crew {
    measuring: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    meters: Vec<Arc<Meter>>,
    threads: Vec<JoinHandle<Result<Histogram, BenchError>>>,
}

impl Crew {
    fn start(plan: &CmqPlan, step: Step) -> Result<Crew, BenchError> {
        let mut crew = Crew {
            measuring: Arc::default(),
            stopped: Arc::default(),
            meters: Vec::new(),
            threads: Vec::new(),
        };
        for nth in 0..plan.connections {
            let mut client = Client::connect(plan, nth)?;
            let meter = Arc::<Meter>::default();
            crew.meters.push(meter.clone());
            let (measuring, stopped) = (crew.measuring.clone(), crew.stopped.clone());
            crew.threads.push(thread::spawn(move || {
                let id = process::thread_id().unwrap_or(0);
                meter.thread.store(id, Ordering::Relaxed);
                let mut request_ns = Histogram::default();
                while !stopped.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let moved = step(&mut client)?;
                    if measuring.load(Ordering::Relaxed) && moved > 0 {
                        let took = u64::try_from(begun.elapsed().as_nanos());
                        request_ns.record(took.unwrap_or(u64::MAX));
                    }
                    meter.moved.fetch_add(moved, Ordering::Relaxed);
                }
                Ok(request_ns)
            }));
        }
        Ok(crew)
    }

    fn begin(&self) {
        self.measuring.store(true, Ordering::Relaxed);
    }

    /// False once one has failed.
    fn is_at_work(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    fn moved(&self) -> u64 {
        let moved = |meter: &Arc<Meter>| meter.moved.load(Ordering::Relaxed);
        self.meters.iter().map(moved).sum()
    }

    fn snapshot(&self, setup: &Setup) -> Snapshot {
        let cpu = |meter: &Arc<Meter>| {
            process::thread_cpu_seconds(meter.thread.load(Ordering::Relaxed)).unwrap_or(0.0)
        };
        Snapshot {
            moved: self.moved(),
            broker_cpu: setup.broker_cpu(),
            written: setup.broker_written(),
            threads: self.meters.iter().map(cpu).collect(),
            machine: process::machine_cpu_seconds().unwrap_or(0.0),
        }
    }

    /// Ends the threads. Returns how long their requests took, and how many messages they moved.
    fn end(mut self) -> Result<(Histogram, u64), BenchError> {
        self.stopped.store(true, Ordering::Relaxed);
        // All are joined before an error is looked at, so that none is left behind.
        let threads = std::mem::take(&mut self.threads);
        let joined: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        let mut all = Histogram::default();
        for one in joined {
            all.merge(&one.unwrap_or(Err(BenchError::Panicked))?);
        }
        Ok((all, self.moved()))
    }
}

/// Everything that is measured, at one moment.
struct Snapshot {
    moved: u64,
    broker_cpu: Option<f64>,
    written: Option<u64>,
    threads: Vec<f64>,
    machine: f64,
}

impl Snapshot {
    fn until(&self, later: &Snapshot, setup: &Setup) -> Usage {
        let broker_cpu = self.broker_cpu.zip(later.broker_cpu);
        let written = self.written.zip(later.written);
        let threads = self.threads.iter().zip(&later.threads);
        let threads: Vec<f64> = threads.map(|(from, to)| to - from).collect();
        Usage {
            broker_cpu: broker_cpu.map(|(from, to)| to - from),
            broker_rss_peak: setup.broker_rss(),
            broker_written: written.map(|(from, to)| to - from),
            client_cpu: threads.iter().sum(),
            busiest_thread_cpu: threads.iter().copied().fold(0.0, f64::max),
            machine_cpu: later.machine - self.machine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        let endpoint = Endpoint::parse("http://AKIDx:k:1@127.0.0.1:5680/").unwrap();
        let (id, key, host) = (endpoint.id, endpoint.key, endpoint.host);
        assert_eq!((&*id, &*key, &*host), ("AKIDx", "k:1", "127.0.0.1:5680"));
        for uri in ["127.0.0.1:5680", "http://127.0.0.1:5680", "http://id@h:1"] {
            assert!(Endpoint::parse(uri).is_err(), "{uri}");
        }
    }
}
