//! The options of `leveret-bench`. Whether they go together is checked by `Run::new`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::due::DueWindow;
use super::layout::Routing;
use super::stress::Stressor;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Publish only.
    Produce,
    /// Fill the queues, then measure how fast they are emptied.
    Consume,
    /// Publish and consume at the same time, as fast as it goes.
    Both,
    /// Publish at a fixed rate and consume; latency counts from when each message was due.
    Latency,
    /// Fill the queues, restart the broker if there is a hook for it, empty the queues.
    Backlog,
    /// Fill the queues, empty them, have them rewound by `--rewind-hook`, and empty them again. The queues need
    /// `x-rewind-seconds`.
    Rewind,
    /// Publish messages that are due in an hour (`x-delay`), restart the broker if there is a hook for it: the memory that
    /// they take. With `--due`: how late they come.
    Delayed,
    /// Open connections and hold them.
    Connections,
    /// Open and close connections all the time.
    Churn,
    /// Declare queues one after another, restart the broker if there is a hook for it, delete them.
    Queues,
    /// Many slow pairs: publish at a fixed rate to each of many queues, every one with a producer and a consumer of its
    /// own.
    Swarm,
    /// The load of `latency` alone, then the same beside a `--stressor`: what that does to others and to memory.
    Stress,
    /// Send batches of 16 over CMQ's HTTP API, `--cmq-uri`.
    CmqSend,
    /// Send messages over CMQ's HTTP API, then measure how fast batches of 16 are received and deleted.
    CmqReceive,
    /// No broker: append the same messages to a preallocated file in `--dir`, with a sync per confirm window. What the
    /// disk allows.
    IdealLog,
}

/// Measure a broker: leveret, RabbitMQ, or any other that speaks AMQP 0-9-1.
#[derive(Debug, clap::Parser)]
#[command(version)]
pub(super) struct Args {
    /// What to measure.
    pub(super) mode: Mode,
    /// The broker, as amqp://user:password@host:port/vhost.
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    pub(super) uri: String,
    /// For `cmq-send` and `cmq-receive`: the API, as http://SECRETID:SECRETKEY@host:port.
    #[arg(long)]
    pub(super) cmq_uri: Option<String>,
    /// Drive a sink inside this process instead of a broker, to see what the load generator itself can do. One
    /// consumer per queue, default exchange, bodies up to 100 KB.
    #[arg(long, conflicts_with_all = ["uri", "pid", "pid_file", "exchange_type"])]
    pub(super) sink: bool,
    /// Process ids of the broker, to report its CPU time and memory.
    #[arg(long, value_delimiter = ',')]
    pub(super) pid: Vec<u32>,
    /// Files that hold a process id of the broker; read whenever it is needed, for a broker that is restarted.
    #[arg(long, value_delimiter = ',')]
    pub(super) pid_file: Vec<PathBuf>,
    /// So many producers and consumers, each pair with a queue of its own.
    #[arg(long, conflicts_with_all = ["producers", "consumers", "queues"])]
    pub(super) pairs: Option<usize>,
    /// Producers, one connection each.
    #[arg(long)]
    pub(super) producers: Option<usize>,
    /// Consumers, one connection each.
    #[arg(long)]
    pub(super) consumers: Option<usize>,
    /// Queues. They are shared out among producers and consumers.
    #[arg(long)]
    pub(super) queues: Option<usize>,
    /// Length of bodies in bytes, at least 16.
    #[arg(long, default_value_t = 1024)]
    pub(super) size: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 5.0)]
    pub(super) seconds: f64,
    /// Seconds before measuring starts.
    #[arg(long, default_value_t = 1.5)]
    pub(super) warm_up: f64,
    /// Measure so many messages, all queues together, instead of a time. Filling for `consume` takes 500,000 and for
    /// `backlog`, `rewind` and `delayed` 1,000,000 unless this says otherwise.
    #[arg(long)]
    pub(super) count: Option<u64>,
    /// Messages per second to offer, all producers together. Unless this says otherwise `latency` offers 1,000, and
    /// `swarm` 100 per pair.
    #[arg(long)]
    pub(super) rate: Option<u64>,
    /// Messages that a producer may have unconfirmed; 0: no confirms.
    #[arg(long, default_value_t = 1000)]
    pub(super) confirm_window: u32,
    /// Unacknowledged messages per consumer and queue; 0: no limit.
    #[arg(long, default_value_t = 500)]
    pub(super) prefetch: u16,
    /// Messages per acknowledgement; 0: none are asked for. Unless this says otherwise 1 for `latency`, else 100.
    #[arg(long)]
    pub(super) ack_batch: Option<u32>,
    /// Publish transient messages.
    #[arg(long)]
    pub(super) transient: bool,
    /// Declare queues that do not outlive a restart.
    #[arg(long)]
    pub(super) transient_queues: bool,
    /// An argument for every queue, as name=value, such as x-queue-type=quorum. May be repeated.
    #[arg(long = "queue-argument")]
    pub(super) queue_arguments: Vec<String>,
    /// An argument for every consumer, as name=value, such as x-stream-offset=first. May be repeated.
    #[arg(long = "consume-argument", value_name = "NAME=VALUE")]
    pub(super) consume_arguments: Vec<String>,
    /// The exchange to publish to.
    #[arg(long, value_enum, default_value_t = Routing::Default)]
    pub(super) exchange_type: Routing,
    /// Bindings of a direct or topic exchange, all queues together; producers publish to each in turn.
    #[arg(long, default_value_t = 0)]
    pub(super) bindings: usize,
    /// For `delayed`: messages are due at random times, from FROM to TO seconds after publishing began (not in an hour).
    /// They are consumed when all are published and the broker is back from `--restart-hook`, and how late they come is
    /// measured. So that all count, FROM is to be later than that.
    #[arg(long, value_name = "FROM..TO")]
    pub(super) due: Option<DueWindow>,
    /// For `stress`: who behaves badly beside the pair that is measured.
    #[arg(long, value_enum, default_value_t = Stressor::Flood)]
    pub(super) stressor: Stressor,
    /// Connections to hold, or threads that open and close them, or connections to CMQ's API.
    #[arg(long, default_value_t = 100)]
    pub(super) connections: usize,
    /// For `backlog`, `delayed` and `queues`: a shell command that restarts the broker and returns when it may be connected to.
    #[arg(long)]
    pub(super) restart_hook: Option<String>,
    /// For `rewind`: a shell command that rewinds all queues to their beginning, and returns when that is done.
    #[arg(long)]
    pub(super) rewind_hook: Option<String>,
    /// For `ideal-log`: the directory whose disk is measured.
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    /// The names of queues and exchanges begin with this.
    #[arg(long, default_value = "leveret-bench")]
    pub(super) prefix: String,
    /// Leave queues and exchanges behind.
    #[arg(long)]
    pub(super) keep: bool,
    /// Write the summary as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Show no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}
