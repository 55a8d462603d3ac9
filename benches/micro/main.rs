//! Micro-benchmarks of the code on a message's path: `cargo bench`, or `cargo bench -- --quick` for a first
//! look. This file lists them and sets their times. `benches/compare/run` measures whole brokers.

mod queue;
mod routing;
mod stats;
mod store;
mod wire;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// The broker's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Short times, so that all benchmarks take about a minute with `--quick`.
fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
}

criterion_group! {
    name = all;
    config = settings();
    targets = wire::frames, wire::deliveries, routing::topic, queue::runs, stats::counting, store::chunks, store::commits
}
criterion_main!(all);
