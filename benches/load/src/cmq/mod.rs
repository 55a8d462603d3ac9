//! CMQ's HTTP API as a load: batches are sent, or received and deleted, over several connections.

mod answer;
mod client;
mod endpoint;
mod form;
mod plan;

pub(crate) use endpoint::Endpoint;
pub(crate) use plan::CmqPlan;
