//! The queues that a run declares.

use super::argument::Argument;

#[derive(Debug, clap::Args)]
pub(crate) struct QueueOptions {
    /// An argument for every queue, such as x-queue-type=quorum. May be repeated.
    #[arg(long = "queue-argument", value_name = "NAME=VALUE")]
    pub(crate) queue_arguments: Vec<Argument>,
    /// Declare queues that a restart deletes.
    #[arg(long)]
    pub(crate) transient_queues: bool,
    /// Names of queues and exchanges begin with this.
    #[arg(long, default_value = "leveret-bench")]
    pub(crate) prefix: String,
}
