//! What operators see of a running broker: plain typed data. The command line, the management API and the metrics render
//! the same views, each with its own names. A listing takes a snapshot and sorts it without a lock.

mod certificates; // certificates and when they end
mod connection; // connections and channels
mod consumer; // consumers
mod exchange; // exchanges and bindings
mod features; // feature flags and deprecated features
mod history; // samples and rates
mod listener; // listeners
mod memory; // what memory is used for
mod node; // the process, and totals of the broker
mod node_view; // the process, plain data
mod queue; // queues
mod set; // the set of nodes
mod sources; // what views are built from
mod vhost; // virtual hosts

pub use crate::shovel::{Force, ShovelState, ShovelStatus};
pub use certificates::{CertificateError, CertificateView, unit_secs};
pub use connection::{ChannelRef, ChannelView, ConnectionView};
pub use consumer::{Activity, ConsumerView};
pub use exchange::{BindingView, ExchangeView};
pub use features::{DeprecatedFeature, FEATURE_FLAGS};
pub use history::{Depth, History, Rated, Subject, Values, Window};
pub use listener::{ListenerView, Protocol, Security};
pub use memory::MemoryView;
pub use node::{ObjectTotals, OverviewView, QueueTotals};
pub use node_view::{NodeView, Usage};
pub use queue::{QueueState, QueueView};
pub use set::{MemberView, SetSource, SetView};
pub use sources::{AmqpLimits, NodeInfo, Views};
pub use vhost::VhostView;
