//! The metrics door: Prometheus reads the broker's numbers over HTTP, with RabbitMQ's names and Leveret's own. Needs no
//! log-in, as RabbitMQ's does not, so it listens on the loopback address unless told otherwise.

mod body; // the body of a response
mod exposition; // the text formats
mod families; // what is shown, subject by subject
mod family; // a family of metrics
mod front; // accepts connections
mod handlers; // the paths
mod negotiation; // which format a client gets
mod pieces; // a response, piece by piece
mod query; // the parameters of a request
mod standby; // a node that does not run the broker

pub use front::{Front, MetricsConfig};
pub use standby::{Standby, StandbySource};
