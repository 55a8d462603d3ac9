//! Routing from an exchange and a routing key to queues.

use std::sync::Arc;

use criterion::{Criterion, Throughput};

use leveret::broker::exchange::{Binding, Destination, Exchange, ExchangeKind, RouteKeys};
use leveret::broker::routing::Routing;
use leveret::wire::FieldTable;

/// Number of queues that share the bindings evenly.
const QUEUES: usize = 100;
/// Number of routing keys that are matched in rotation.
const KEYS: usize = 1024;

/// A topic exchange with `bindings` bindings, each with a different word.
fn bound(bindings: usize) -> Routing<usize> {
    let mut routing = Routing::default();
    routing.insert_exchange(Arc::new(Exchange {
        name: "events".into(),
        kind: ExchangeKind::Topic,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: FieldTable::default(),
        stats: Arc::default(),
    }));
    for queue in 0..QUEUES {
        routing.insert_queue(format!("q{queue}").into(), queue);
    }
    for nth in 0..bindings {
        routing.bind(Arc::new(Binding::new(
            "events".into(),
            Destination::Queue(format!("q{}", nth % QUEUES).into()),
            format!("*.device{nth}.#").into(),
            FieldTable::default(),
        )));
    }
    routing
}

/// Matching against 1, 1,000 and 100,000 bindings.
pub(crate) fn topic(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topic match");
    group.throughput(Throughput::Elements(KEYS as u64));
    for bindings in [1, 1_000, 100_000] {
        let routing = bound(bindings);
        let keys: Vec<String> = (0..KEYS)
            .map(|nth| format!("north.device{}.temperature.high", nth * 97 % bindings))
            .collect();
        let mut found = Vec::new();
        group.bench_function(format!("{bindings} bindings"), |bencher| {
            bencher.iter(|| {
                let mut reached = 0;
                for routing_key in &keys {
                    found.clear();
                    let keys = RouteKeys {
                        routing_key,
                        cc: &[],
                        properties: &[0, 0],
                    };
                    routing.route("events", &keys, &mut found);
                    reached += found.len();
                }
                assert_eq!(reached, KEYS, "each key is bound once");
            });
        });
    }
    group.finish();
}
