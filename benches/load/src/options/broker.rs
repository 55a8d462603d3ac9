//! The broker to measure.

use crate::broker::Processes;
use crate::client::Target;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BrokerOptions {
    /// The broker, as amqp://user:password@host:port/vhost.
    #[arg(
        long = "uri",
        value_name = "URI",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f"
    )]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) processes: Processes,
}
