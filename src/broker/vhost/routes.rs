//! Routes messages. A short walk runs under the lock on the routing state, a long one in a snapshot of it, so that
//! declarations do not wait for a message with many keys or bindings.

use std::sync::Arc;

use super::host::Vhost;
use crate::broker::exchange::{Content, Exchange, RouteKeys};
use crate::broker::queue::Queue;
use crate::broker::routing::{DelayedRoute, Progress, Routed, STEPS_AT_ONCE, Walk};

/// Number of queues that are looked up by name between two yields.
const NAMES_AT_ONCE: usize = 4 * 1024;

impl Vhost {
    /// Appends the queues that a message goes to from `exchange`, each once. Returns the queues that get it through a
    /// delayed exchange, as [`delay_message`](crate::broker::exchange::delay_message) makes it.
    #[must_use = "a message that is held still has to be published"]
    pub fn route(
        &self,
        exchange: &Exchange,
        keys: &RouteKeys<'_>,
        out: &mut Vec<Arc<Queue>>,
    ) -> Option<DelayedRoute<Arc<Queue>>> {
        let routed = self.try_route(exchange, keys).unwrap_or_else(|| {
            let snapshot = self.routing().snapshot(&exchange.name);
            let content = Content::new(*keys);
            let mut walk = Walk::new(&snapshot, &exchange.name, &content);
            while walk.advance(usize::MAX) == Progress::More {}
            self.routing().look_up(&walk.finish())
        });
        out.extend(routed.now);
        routed.delayed
    }

    /// Where a message goes from `exchange`; `None` if that takes a longer walk: see [`Vhost::route_in_pieces`].
    pub fn try_route(
        &self,
        exchange: &Exchange,
        keys: &RouteKeys<'_>,
    ) -> Option<Routed<Arc<Queue>>> {
        self.routing().try_route(&exchange.name, keys)
    }

    /// Where a message goes from `exchange`, by a walk of any length that yields to other tasks.
    pub async fn route_in_pieces(
        &self,
        exchange: &Exchange,
        keys: &RouteKeys<'_>,
    ) -> Routed<Arc<Queue>> {
        let snapshot = self.routing().snapshot(&exchange.name);
        let content = Content::new(*keys);
        let mut walk = Walk::new(&snapshot, &exchange.name, &content);
        while walk.advance(STEPS_AT_ONCE) == Progress::More {
            tokio::task::yield_now().await;
        }
        let found = walk.finish();
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for (names, queues) in [(&found.now, &mut now), (&found.later, &mut later)] {
            for names in names.chunks(NAMES_AT_ONCE) {
                self.routing().append(names, queues);
                tokio::task::yield_now().await;
            }
        }
        Routed::new(now, later, &found)
    }
}
