//! The layout of a load: which producer publishes to which queues, and which consumer reads them. Pure;
//! declares nothing.

use crate::error::BenchError;
use crate::stamp::STREAMS_MAX;

/// How messages reach queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Routing {
    /// The default exchange: the routing key is the queue's name.
    Default,
    /// A direct exchange with one key per binding.
    Direct,
    /// A fanout exchange: every queue gets every message.
    Fanout,
    /// A topic exchange with one pattern (`*.<n>.#`) per binding.
    Topic,
}

impl Routing {
    /// The exchange type, as declared; `None` for the default exchange.
    pub(crate) fn exchange_type(self) -> Option<&'static str> {
        match self {
            Routing::Default => None,
            Routing::Direct => Some("direct"),
            Routing::Fanout => Some("fanout"),
            Routing::Topic => Some("topic"),
        }
    }
}

/// Numbers of producers, consumers and queues, and the routes between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) prefix: String,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    pub(crate) queues: usize,
    pub(crate) routing: Routing,
    /// Number of routing keys. Each leads to one queue; a fanout has one for all queues.
    pub(crate) routes: usize,
}

impl Layout {
    /// `bindings` 0 is one per queue.
    pub(crate) fn new(
        prefix: &str,
        (producers, consumers, queues): (usize, usize, usize),
        routing: Routing,
        bindings: usize,
    ) -> Result<Layout, BenchError> {
        let usage = |what: &str| Err(BenchError::usage(what));
        let routes = match routing {
            Routing::Default | Routing::Fanout if bindings > 0 => {
                return usage("--bindings goes with --exchange-type direct or topic");
            }
            Routing::Fanout => 1,
            Routing::Default => queues,
            Routing::Direct | Routing::Topic if bindings == 0 => queues,
            Routing::Direct | Routing::Topic => bindings,
        };
        if producers == 0 || queues == 0 {
            return usage("at least one producer and one queue are needed");
        }
        if routes < queues && routing != Routing::Fanout {
            return usage("every queue needs a binding: --bindings is less than --queues");
        }
        let layout = Layout {
            prefix: prefix.to_owned(),
            producers,
            consumers,
            queues,
            routing,
            routes,
        };
        if layout.streams() > STREAMS_MAX {
            return usage("too many producers and bindings");
        }
        Ok(layout)
    }

    pub(crate) fn queue_name(&self, queue: usize) -> String {
        format!("{}.{queue}", self.prefix)
    }

    /// The exchange to publish to; empty for the default exchange.
    pub(crate) fn exchange_name(&self) -> String {
        match self.routing.exchange_type() {
            Some(kind) => format!("{}.{kind}", self.prefix),
            None => String::new(),
        }
    }

    /// The key that messages of a route are published with.
    pub(crate) fn routing_key(&self, route: usize) -> String {
        match self.routing {
            Routing::Default => self.queue_name(route),
            Routing::Direct => format!("key.{route}"),
            Routing::Fanout => String::new(),
            Routing::Topic => format!("bench.{route}.some.words"),
        }
    }

    /// All bindings: queue and binding key.
    pub(crate) fn bindings(&self) -> Vec<(usize, String)> {
        match self.routing {
            Routing::Default => Vec::new(),
            Routing::Fanout => (0..self.queues)
                .map(|queue| (queue, String::new()))
                .collect(),
            Routing::Direct => (0..self.routes)
                .map(|route| (route % self.queues, self.routing_key(route)))
                .collect(),
            Routing::Topic => (0..self.routes)
                .map(|route| (route % self.queues, format!("*.{route}.#")))
                .collect(),
        }
    }

    /// The routes that a producer uses in turn. Producers share the routes evenly; with fewer routes than
    /// producers several use the same one.
    pub(crate) fn routes_of(&self, producer: usize) -> Vec<usize> {
        share(self.routes, self.producers, producer)
    }

    /// The queues that a consumer reads.
    pub(crate) fn queues_of(&self, consumer: usize) -> Vec<usize> {
        share(self.queues, self.consumers, consumer)
    }

    /// Whether queues have several consumers, so that each sees a part of a stream.
    pub(crate) fn is_shared(&self) -> bool {
        self.consumers > self.queues
    }

    /// Number of streams. One producer's messages on one route are a stream.
    pub(crate) fn streams(&self) -> usize {
        self.producers * self.routes
    }

    pub(crate) fn stream(&self, producer: usize, route: usize) -> usize {
        producer * self.routes + route
    }

    /// Number of queues that get a copy of each message of a stream.
    pub(crate) fn copies(&self) -> usize {
        if self.routing == Routing::Fanout {
            self.queues
        } else {
            1
        }
    }

    /// Whether messages of a stream go to a queue.
    pub(crate) fn reaches(&self, stream: usize, queue: usize) -> bool {
        self.routing == Routing::Fanout || (stream % self.routes) % self.queues == queue
    }
}

/// The part of `nth` of `sharers` when they share `count` things evenly. With fewer things than sharers each
/// has one, and several have the same.
fn share(count: usize, sharers: usize, nth: usize) -> Vec<usize> {
    if count < sharers {
        vec![nth % count.max(1)]
    } else {
        (nth..count).step_by(sharers.max(1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(counts: (usize, usize, usize), routing: Routing, bindings: usize) -> Layout {
        Layout::new("t", counts, routing, bindings).unwrap()
    }

    #[test]
    fn every_route_has_a_producer_and_every_queue_a_consumer() {
        for counts in [
            (1, 1, 1),
            (4, 4, 4),
            (1, 4, 4),
            (4, 1, 4),
            (3, 5, 1),
            (2, 3, 10),
        ] {
            for routing in [
                Routing::Default,
                Routing::Direct,
                Routing::Fanout,
                Routing::Topic,
            ] {
                let layout = layout(counts, routing, 0);
                let mut routes: Vec<usize> = (0..layout.producers)
                    .flat_map(|nth| layout.routes_of(nth))
                    .collect();
                routes.sort_unstable();
                routes.dedup();
                assert_eq!(routes, (0..layout.routes).collect::<Vec<_>>());
                let mut queues: Vec<usize> = (0..layout.consumers)
                    .flat_map(|nth| layout.queues_of(nth))
                    .collect();
                queues.sort_unstable();
                assert_eq!(queues.len() > layout.queues, layout.is_shared());
                queues.dedup();
                assert_eq!(queues, (0..layout.queues).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn each_stream_reaches_as_many_queues_as_it_has_copies() {
        for (routing, bindings) in [
            (Routing::Default, 0),
            (Routing::Fanout, 0),
            (Routing::Topic, 17),
        ] {
            let layout = layout((2, 1, 5), routing, bindings);
            for stream in 0..layout.streams() {
                let reached = (0..layout.queues)
                    .filter(|queue| layout.reaches(stream, *queue))
                    .count();
                assert_eq!(reached, layout.copies());
            }
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let refused =
            |counts, routing, bindings| Layout::new("t", counts, routing, bindings).is_err();
        assert!(refused((0, 1, 1), Routing::Default, 0));
        assert!(refused((1, 1, 1), Routing::Default, 5));
        assert!(refused((1, 1, 10), Routing::Topic, 9));
        assert!(refused((20_000, 1, 1), Routing::Topic, 1000));
    }
}
