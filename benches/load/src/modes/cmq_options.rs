//! What both modes of CMQ's API share: options, queues and report.

use crate::broker::Processes;
use crate::cmq::{CmqPlan, Endpoint};
use crate::error::BenchError;
use crate::load::Outcome;
use crate::report::{LoadReport, NoDetails, Summary};

#[derive(Debug, clap::Args)]
pub(super) struct CmqOptions {
    /// The API, as http://SECRETID:SECRETKEY@host:port.
    #[arg(long = "cmq-uri", value_name = "URI")]
    endpoint: Endpoint,
    #[command(flatten)]
    processes: Processes,
    /// Connections, each with one request at a time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Queues. Connections share them evenly.
    #[arg(long, default_value_t = 1)]
    queues: usize,
    /// Names of queues begin with this.
    #[arg(long, default_value = "leveret-bench")]
    prefix: String,
    /// Length of bodies in bytes.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Leave the queues behind.
    #[arg(long)]
    keep: bool,
}

impl CmqOptions {
    /// Creates the queues, runs the load and deletes the queues.
    pub(super) fn run(
        &self,
        mode: &'static str,
        measure: impl FnOnce(&CmqPlan) -> Result<Outcome, BenchError>,
    ) -> Result<Summary<NoDetails>, BenchError> {
        let queues = (0..self.queues).map(|queue| format!("{}-cmq-{queue}", self.prefix));
        let plan = CmqPlan {
            endpoint: self.endpoint.clone(),
            processes: self.processes.clone(),
            connections: self.connections,
            queues: queues.collect(),
            size: self.size,
        };
        plan.create_queues()?;
        let outcome = measure(&plan);
        if !self.keep {
            plan.delete_queues()?;
        }
        let load = LoadReport::new(mode, &outcome?, self.size, None);
        Ok(Summary {
            mode,
            broker: "CMQ API 2.0".to_owned(),
            settings: None,
            ok: load.is_ok(),
            loads: vec![load],
            details: NoDetails {},
        })
    }
}
