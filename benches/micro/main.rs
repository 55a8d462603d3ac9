//! Micro-benchmarks of the pieces that a message passes through: `cargo bench`, or `cargo bench -- --quick` for a
//! glance. What is here: the list and how long each may take. Whole brokers are measured by `benches/compare/run`.

mod queue;
mod routing;
mod store;
mod wire;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// As in the broker.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Short, so that all of them together take about a minute with `--quick`.
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
    targets = wire::frames, wire::deliveries, routing::topic, queue::runs, store::chunks, store::commits
}
criterion_main!(all);
