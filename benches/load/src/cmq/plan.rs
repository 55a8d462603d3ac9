//! The loads of CMQ's API: their plan, their threads and what they measure.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::client::Client;
use super::endpoint::Endpoint;
use crate::broker::Processes;
use crate::error::BenchError;
use crate::findings::Findings;
use crate::latencies::Latencies;
use crate::load::{Meter, Outcome, Phase, Side, Snapshot, Stage, Totals, join_all, spawn_small};

/// How often the leader looks at the connections.
const TICK: Duration = Duration::from_millis(5);
/// The code of a delete of a queue that does not exist.
const NO_QUEUE: u16 = 4440;

#[derive(Clone, Debug)]
pub(crate) struct CmqPlan {
    pub(crate) endpoint: Endpoint,
    /// The broker's processes.
    pub(crate) processes: Processes,
    pub(crate) connections: usize,
    /// Connections share the queues evenly.
    pub(crate) queues: Vec<String>,
    /// Length of bodies in bytes.
    pub(crate) size: usize,
}

/// How long a load runs.
#[derive(Clone, Copy, Debug)]
enum Length {
    Time(Duration),
    Messages(u64),
}

/// One round of a connection. Returns the number of messages that it sent, or received and deleted.
type Round = fn(&mut Client) -> Result<u64, BenchError>;

impl CmqPlan {
    /// Creates the queues anew.
    pub(crate) fn create_queues(&self) -> Result<(), BenchError> {
        self.delete_queues()?;
        let mut client = self.connect(0)?;
        for queue in &self.queues {
            let parameters = format!("&maxMsgSize=1048576&queueName={queue}");
            client.call("CreateQueue", parameters.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn delete_queues(&self) -> Result<(), BenchError> {
        let mut client = self.connect(0)?;
        for queue in &self.queues {
            match client.call("DeleteQueue", format!("&queueName={queue}").as_bytes()) {
                Ok(()) | Err(BenchError::Closed { code: NO_QUEUE, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends for a time.
    pub(crate) fn send(&self, warm_up: Duration, time: Duration) -> Result<Outcome, BenchError> {
        let (outcome, _) = self.run(Client::send, warm_up, Length::Time(time))?;
        Ok(outcome)
    }

    /// Sends `count` messages, then receives and deletes them all. Measures the second part.
    pub(crate) fn receive(&self, count: u64) -> Result<Outcome, BenchError> {
        let (_, sent) = self.run(Client::send, Duration::ZERO, Length::Messages(count))?;
        let (mut outcome, received) = self.run(
            Client::receive_and_delete,
            Duration::ZERO,
            Length::Messages(sent),
        )?;
        outcome.received = std::mem::take(&mut outcome.published);
        outcome.findings = Some(Findings {
            missing: sent.saturating_sub(received),
            repeated_or_late: received.saturating_sub(sent),
            astray: 0,
            redelivered: 0,
        });
        Ok(outcome)
    }

    /// Repeats the round on all connections. Returns what was measured, and the number of all messages,
    /// including those of the warm-up and of the end.
    fn run(
        &self,
        round: Round,
        warm_up: Duration,
        length: Length,
    ) -> Result<(Outcome, u64), BenchError> {
        let crew = Crew::start(self, round)?;
        let warm_until = Instant::now() + warm_up;
        while Instant::now() < warm_until && crew.all_are_at_work() {
            thread::sleep(TICK);
        }
        let (begun, first) = (Instant::now(), crew.snapshot(&self.processes));
        crew.stage.enter(Phase::Measure);
        let is_done = || match length {
            Length::Messages(count) => crew.messages() >= count,
            Length::Time(time) => begun.elapsed() >= time,
        };
        while !is_done() && crew.all_are_at_work() {
            thread::sleep(TICK);
        }
        let mut outcome = first.until(&crew.snapshot(&self.processes));
        outcome.seconds = outcome.seconds.max(1e-6);
        outcome.usage.broker_rss_peak = self.processes.rss();
        let messages;
        (outcome.confirms, messages) = crew.end()?;
        Ok((outcome, messages))
    }

    fn connect(&self, nth: usize) -> Result<Client, BenchError> {
        let queue = self.queues.get(nth % self.queues.len().max(1));
        let queue = queue.map_or("", String::as_str);
        Client::connect(&self.endpoint, nth, queue, self.size)
    }
}

/// The connections at work, each with a thread.
struct Crew {
    stage: Arc<Stage>,
    meters: Vec<Arc<Meter>>,
    /// They return the latencies of rounds in the measured time.
    threads: Vec<JoinHandle<Result<Latencies, BenchError>>>,
}

impl Crew {
    fn start(plan: &CmqPlan, round: Round) -> Result<Crew, BenchError> {
        let mut crew = Crew {
            stage: Arc::new(Stage::new(0)),
            meters: Vec::new(),
            threads: Vec::new(),
        };
        for nth in 0..plan.connections {
            let mut client = plan.connect(nth)?;
            let (stage, meter) = (crew.stage.clone(), Arc::<Meter>::default());
            crew.meters.push(meter.clone());
            crew.threads.push(spawn_small("cmq", move || {
                let _measured = meter.sign_in(Side::Sending);
                let mut latencies = Latencies::default();
                while stage.phase() < Phase::End {
                    let begun = Instant::now();
                    let count = round(&mut client)?;
                    if stage.phase() == Phase::Measure && count > 0 {
                        latencies.record(begun.elapsed());
                    }
                    meter.published.add(count);
                }
                Ok(latencies)
            })?);
        }
        Ok(crew)
    }

    /// False after a connection has failed.
    fn all_are_at_work(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    fn messages(&self) -> u64 {
        self.meters.iter().map(|meter| meter.published.get()).sum()
    }

    fn snapshot(&self, processes: &Processes) -> Snapshot {
        let totals = Totals {
            published: self.messages(),
            received: 0,
        };
        let cpu = self.meters.iter().map(|meter| meter.cpu_seconds());
        Snapshot::take(self.stage.now_ns(), totals, cpu.collect(), processes)
    }

    /// Ends the threads. Returns the latencies of their rounds, and the number of all messages.
    fn end(mut self) -> Result<(Latencies, u64), BenchError> {
        self.stage.enter(Phase::End);
        let mut all = Latencies::default();
        for latencies in join_all(self.threads.drain(..))? {
            all.merge(&latencies);
        }
        Ok((all, self.messages()))
    }
}
