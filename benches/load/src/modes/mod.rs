//! The modes: each has its own options, runs its loads and reports its results.

mod backlog;
mod both;
mod churn;
mod cmq_options;
mod cmq_receive;
mod cmq_send;
mod connection_report;
mod connections;
mod consume;
mod delayed;
mod fill_and_drain;
mod ideal_log;
mod latency;
mod mode;
mod produce;
mod queues;
mod rewind;
mod session;
mod stress;
mod swarm;

pub(crate) use backlog::Backlog;
pub(crate) use both::Both;
pub(crate) use churn::Churn;
pub(crate) use cmq_receive::CmqReceive;
pub(crate) use cmq_send::CmqSend;
pub(crate) use connections::Connections;
pub(crate) use consume::Consume;
pub(crate) use delayed::Delayed;
pub(crate) use ideal_log::IdealLog;
pub(crate) use latency::Latency;
pub(crate) use mode::Mode;
pub(crate) use produce::Produce;
pub(crate) use queues::Queues;
pub(crate) use rewind::Rewind;
pub(crate) use stress::Stress;
pub(crate) use swarm::Swarm;
