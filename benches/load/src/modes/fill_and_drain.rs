//! Options of modes that fill the queues first and empty them later.

use super::session::Session;
use crate::error::BenchError;
use crate::load::{ConsumerPlan, Load, Progress, PublishPlan};
use crate::options::{BatchedAcks, ConsumeOptions, PublishOptions};
use crate::setup::Setup;

#[derive(Debug, clap::Args)]
pub(super) struct FillAndDrain {
    #[command(flatten)]
    publish: PublishOptions,
    #[command(flatten)]
    consume: ConsumeOptions,
    #[command(flatten)]
    acks: BatchedAcks,
}

impl FillAndDrain {
    /// `delay_ms` is the `x-delay` of all messages, if any.
    pub(super) fn session(
        &self,
        mode: &'static str,
        delay_ms: Option<i32>,
        progress: Progress,
    ) -> Result<Session, BenchError> {
        let mut setup = Setup::new(&self.publish, Some(&self.consume))?;
        setup.shape.delay_ms = delay_ms;
        Ok(Session {
            mode,
            setup,
            produce: PublishPlan {
                confirm_window: self.publish.confirm_window(),
                rate: None,
            },
            consume: Some(self.consumer_plan()?),
            keep: self.publish.keep,
            progress,
        })
    }

    pub(super) fn consumer_plan(&self) -> Result<ConsumerPlan, BenchError> {
        ConsumerPlan::new(self.consume.prefetch, self.acks.ack_batch)
    }

    pub(super) fn fill<'a>(&self, session: &'a Session, count: u64) -> Load<'a> {
        Load::fill(&session.setup, session.produce, count)
    }

    /// Consumes the messages that an earlier load has `sent`, by stream.
    pub(super) fn drain<'a>(
        &self,
        session: &'a Session,
        name: &'static str,
        sent: Vec<u64>,
    ) -> Result<Load<'a>, BenchError> {
        Ok(Load::drain(
            &session.setup,
            name,
            self.consumer_plan()?,
            sent,
        ))
    }
}
