//! Groups of command line options that several modes share.

mod argument;
mod broker;
mod consume;
mod length;
mod publish;
mod queues;

pub(crate) use argument::Argument;
pub(crate) use broker::BrokerOptions;
pub(crate) use consume::{BatchedAcks, ConsumeOptions};
pub(crate) use length::{LengthOptions, TimeOptions, some_seconds};
pub(crate) use publish::{Paced, PublishOptions, body_size};
pub(crate) use queues::QueueOptions;
