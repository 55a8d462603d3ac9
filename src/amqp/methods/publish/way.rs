//! Where a message goes: the rights to publish there, remembered with the queues of a routing key, and the search for
//! the queues of a message whose way depends on more. A search that takes long is waited for.

use std::sync::Arc;

use super::{HeldTargets, Ready, Targets, internal};
use crate::amqp::channel::Channel;
use crate::amqp::cx::{Cx, Handled, done};
use crate::amqp::error::{Code, Refusal};
use crate::amqp::routes::Way;
use crate::broker::exchange::RouteKeys;
use crate::broker::queue::Queue;
use crate::broker::routing::Routed;
use crate::model::{Message, Name};

impl Channel {
    /// Whether the user may publish there: looked up in the virtual host, unless what was found there still holds. Asked
    /// before a content comes, so that who may not publish has none kept, and again when it is whole.
    pub(crate) fn may_publish(&mut self, cx: &Cx<'_>, index: usize) -> Handled {
        let session = &cx.shared.session;
        let generation = session.vhost.generation();
        let epoch = session.permission_epoch();
        let Some(route) = self.publishing.routes.get_mut(index) else {
            return internal();
        };
        if route.immediate {
            return Err(Refusal::new(Code::NotImplemented, "immediate=true"));
        }
        if route
            .way
            .as_ref()
            .is_some_and(|way| way.generation == generation && way.epoch == epoch)
        {
            return Ok(());
        }
        let origin = &route.origin;
        let exchange = session.check_publish(&origin.exchange)?;
        let refused = session.check_keys(&exchange, [&*origin.routing_key]).err();
        route.way = Some(Way {
            generation,
            epoch,
            exchange,
            refused: refused.map(Refusal::from),
            queues: None,
        });
        Ok(())
    }

    /// The queues of a message, if they are remembered or found at once.
    pub(super) fn targets(
        &mut self,
        cx: &Cx<'_>,
        index: usize,
        message: &Message,
        more_keys: &[Name],
    ) -> Option<(Targets, Option<HeldTargets>)> {
        let way = self.publishing.routes.get(index)?.way.as_ref()?;
        if let (Some(queues), true) = (&way.queues, more_keys.is_empty()) {
            return Some((Arc::clone(queues), None));
        }
        let cc: Vec<&str> = more_keys.iter().map(|key| &**key).collect();
        let vhost = &cx.shared.session.vhost;
        let routed = vhost.try_route(&way.exchange, &keys(message, &cc))?;
        Some(self.remember(index, more_keys.is_empty(), routed))
    }

    /// Publishes a message when its queues are found.
    pub(super) fn find_targets(
        &mut self,
        cx: &mut Cx<'_>,
        index: usize,
        ready: Ready,
        more_keys: Vec<Name>,
    ) -> Handled {
        // What was published before it goes before it.
        self.flush_run(cx);
        let route = self.publishing.routes.get(index);
        let Some(way) = route.and_then(|route| route.way.as_ref()) else {
            return internal();
        };
        let exchange = Arc::clone(&way.exchange);
        let vhost = Arc::clone(&cx.shared.session.vhost);
        cx.later(self, async move {
            let cc: Vec<&str> = more_keys.iter().map(|key| &**key).collect();
            let routed = vhost
                .route_in_pieces(&exchange, &keys(&ready.message, &cc))
                .await;
            let only_key = cc.is_empty();
            done(move |channel, cx| {
                let (queues, held) = channel.remember(index, only_key, routed);
                channel.publish_to(cx, ready, queues, held)
            })
        });
        Ok(())
    }

    /// Remembers where messages of a route go if nothing but its key decides.
    fn remember(
        &mut self,
        index: usize,
        only_key: bool,
        routed: Routed<Arc<Queue>>,
    ) -> (Targets, Option<HeldTargets>) {
        let queues: Targets = routed.now.into();
        if only_key
            && routed.by_key
            && let Some(route) = self.publishing.routes.get_mut(index)
            && let Some(way) = &mut route.way
        {
            way.queues = Some(Arc::clone(&queues));
        }
        (queues, routed.delayed)
    }
}

fn keys<'a>(message: &'a Message, cc: &'a [&'a str]) -> RouteKeys<'a> {
    RouteKeys {
        routing_key: &message.origin.routing_key,
        cc,
        properties: &message.properties,
    }
}
