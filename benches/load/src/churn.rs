//! Threads that open and close connections all the time.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::client::{Link, Target};
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::load::{Phase, Stage, spawn_small};

/// Starts the threads, which end with the stage. Each returns the latencies from `connect` to an open
/// channel.
pub(crate) fn start_churn(
    target: &Target,
    threads: usize,
    stage: &Arc<Stage>,
) -> Result<Vec<JoinHandle<Result<Latencies, BenchError>>>, BenchError> {
    let start = |_| {
        let (stage, target) = (stage.clone(), target.clone());
        spawn_small("churn", move || {
            let mut opening = Latencies::default();
            while stage.phase() < Phase::End {
                let begun = Instant::now();
                let link = Link::open(&target)?;
                opening.record(begun.elapsed());
                link.close()?;
            }
            Ok(opening)
        })
    };
    (0..threads).map(start).collect()
}
