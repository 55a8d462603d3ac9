//! Latency at a fixed rate.

use super::mode::Mode;
use super::session::Session;
use crate::error::BenchError;
use crate::load::{ConsumerPlan, Load, Progress, PublishPlan};
use crate::options::{ConsumeOptions, LengthOptions, Paced, PublishOptions};
use crate::report::{NoDetails, Summary};
use crate::setup::Setup;

#[derive(Debug, clap::Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pair: PacedPair,
}

/// Options of a load at a fixed rate.
#[derive(Debug, clap::Args)]
pub(super) struct PacedPair {
    #[command(flatten)]
    publish: PublishOptions,
    #[command(flatten)]
    consume: ConsumeOptions,
    #[command(flatten)]
    paced: Paced,
    #[command(flatten)]
    length: LengthOptions,
}

impl Mode for Latency {
    type Details = NoDetails;

    fn run(&self, progress: Progress) -> Result<Summary<NoDetails>, BenchError> {
        let session = self.pair.session("latency", progress)?;
        session.run(|loads| {
            loads.run(&self.pair.load(&session, "latency"))?;
            Ok(NoDetails {})
        })
    }
}

impl PacedPair {
    pub(super) fn session(
        &self,
        mode: &'static str,
        progress: Progress,
    ) -> Result<Session, BenchError> {
        let consume = ConsumerPlan::new(self.consume.prefetch, self.paced.ack_batch)?;
        Ok(Session {
            mode,
            setup: Setup::new(&self.publish, Some(&self.consume))?,
            produce: PublishPlan {
                confirm_window: self.publish.confirm_window(),
                rate: Some(self.paced.rate),
            },
            consume: Some(consume),
            keep: self.publish.keep,
            progress,
        })
    }

    pub(super) fn load<'a>(&self, session: &'a Session, name: &'static str) -> Load<'a> {
        Load::new(
            &session.setup,
            name,
            session.produce,
            session.consume,
            &self.length,
        )
    }
}
