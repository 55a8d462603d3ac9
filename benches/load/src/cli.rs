//! The command line: a subcommand for each mode.

use clap::{Parser, Subcommand};

use crate::error::BenchError;
use crate::load::Progress;
use crate::modes::{
    Backlog, Both, Churn, CmqReceive, CmqSend, Connections, Consume, Delayed, IdealLog, Latency,
    Mode, Observed, Produce, Queues, Rewind, Stress, Swarm,
};
use crate::report::Report;

/// Measure a broker: Leveret, RabbitMQ, or any other that speaks AMQP 0-9-1.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) mode: Command,
    /// Write the summary as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish only.
    Produce(Produce),
    /// Fill the queues, then measure how fast consumers empty them.
    Consume(Consume),
    /// Publish and consume at the same time.
    Both(Both),
    /// Publish at a fixed rate and consume. Latency counts from the time when each message was to be sent.
    Latency(Latency),
    /// Fill the queues, restart the broker if there is a hook for it, empty the queues.
    Backlog(Backlog),
    /// Fill the queues, empty them, rewind them with a hook, and empty them again. The queues need
    /// x-rewind-seconds.
    Rewind(Rewind),
    /// Measure the memory of messages that are due in an hour (x-delay), or with --due the lateness of
    /// messages.
    Delayed(Delayed),
    /// Open connections and hold them.
    Connections(Connections),
    /// Open and close connections all the time.
    Churn(Churn),
    /// Declare queues one after another, restart the broker if there is a hook for it, delete the queues.
    Queues(Queues),
    /// Many slow pairs: publish at a fixed rate to many queues, each with its own producer and consumer.
    Swarm(Swarm),
    /// Measure latency alone, then beside a misbehaving client: its effect on others and on memory.
    Stress(Stress),
    /// Publish by turns alone and while observers fetch pages over HTTP each second: what metrics and an open
    /// web page cost.
    Observed(Observed),
    /// Send batches of 16 messages over CMQ's HTTP API.
    CmqSend(CmqSend),
    /// Send messages over CMQ's HTTP API, then measure how fast batches of 16 are received and deleted.
    CmqReceive(CmqReceive),
    /// Append messages to a preallocated file, with a sync per confirm window: the limit that the disk sets
    /// to brokers.
    IdealLog(IdealLog),
}

impl Command {
    pub(crate) fn run(&self, progress: Progress) -> Result<Box<dyn Report>, BenchError> {
        match self {
            Command::Produce(mode) => run(mode, progress),
            Command::Consume(mode) => run(mode, progress),
            Command::Both(mode) => run(mode, progress),
            Command::Latency(mode) => run(mode, progress),
            Command::Backlog(mode) => run(mode, progress),
            Command::Rewind(mode) => run(mode, progress),
            Command::Delayed(mode) => run(mode, progress),
            Command::Connections(mode) => run(mode, progress),
            Command::Churn(mode) => run(mode, progress),
            Command::Queues(mode) => run(mode, progress),
            Command::Swarm(mode) => run(mode, progress),
            Command::Stress(mode) => run(mode, progress),
            Command::Observed(mode) => run(mode, progress),
            Command::CmqSend(mode) => run(mode, progress),
            Command::CmqReceive(mode) => run(mode, progress),
            Command::IdealLog(mode) => run(mode, progress),
        }
    }
}

fn run<M: Mode>(mode: &M, progress: Progress) -> Result<Box<dyn Report>, BenchError> {
    Ok(Box::new(mode.run(progress)?))
}
