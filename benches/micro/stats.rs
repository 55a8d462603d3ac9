//! The cost of counting on a message's path.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};

use leveret::broker::stats::{
    ExchangeCounts, ExchangeStats, HandedOut, Protocol, PublishCounts, VhostStats,
};
use leveret::model::arguments::QueueKind;

/// Number of messages of a batch of frames, and of messages alone.
const BATCHES: [usize; 2] = [1, 100];

/// Counts publishes as a connection does, and deliveries with their acks as a queue does. Several connections add to one
/// virtual host; the benchmark has one thread, so it does not show what they cost each other.
pub(crate) fn counting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("counting");
    let vhost = VhostStats::default();
    let exchange = Arc::<ExchangeStats>::default();
    for messages in BATCHES {
        group.throughput(Throughput::Elements(messages as u64));
        let (mut publishes, mut exchanges) = Default::default();
        group.bench_function(format!("{messages} publishes"), |bencher| {
            bencher.iter(|| {
                publish(&mut publishes, &mut exchanges, &exchange, messages);
                exchanges.flush();
                publishes.flush(&vhost);
            });
        });
        group.bench_function(format!("{messages} deliveries with acks"), |bencher| {
            bencher.iter(|| {
                let delivered = HandedOut {
                    deliver: black_box(messages as u64),
                    ..HandedOut::default()
                };
                vhost.count_handed_out(Protocol::Amqp, QueueKind::Classic, &delivered);
                let acked = HandedOut {
                    ack: black_box(messages as u64),
                    ..HandedOut::default()
                };
                vhost.count_handed_out(Protocol::Amqp, QueueKind::Classic, &acked);
            });
        });
    }
    group.finish();
}

fn publish(
    publishes: &mut PublishCounts,
    exchanges: &mut ExchangeCounts,
    exchange: &Arc<ExchangeStats>,
    messages: usize,
) {
    for _ in 0..messages {
        exchanges.add(exchange, black_box(1));
        publishes.add(black_box(1024), black_box(1), black_box(true));
    }
}
