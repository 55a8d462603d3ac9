//! A load on a broker: producers and consumers on their own threads, and a leader that measures.

mod confirms;
mod consumer;
mod crew;
mod leader;
mod meter;
mod outcome;
mod plan;
mod producer;
mod progress;
mod rate;
mod run;
mod snapshot;
mod stage;
mod thread;
mod window;

pub(crate) use consumer::ConsumerPlan;
pub(crate) use leader::RSS_EVERY;
pub(crate) use meter::{Meter, Side};
pub(crate) use outcome::{Outcome, Usage};
pub(crate) use plan::{Load, PublishPlan};
pub(crate) use producer::{Produced, ProducerPlan, produce};
pub(crate) use progress::Progress;
pub(crate) use rate::Rate;
pub(crate) use run::DRAIN_STALL;
pub(crate) use snapshot::{Snapshot, Totals};
pub(crate) use stage::{Phase, Stage};
pub(crate) use thread::{join_all, spawn_small};
pub(crate) use window::Window;
