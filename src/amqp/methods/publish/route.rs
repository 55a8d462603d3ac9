//! The right to publish and the queues of a message, cached as the route of its publish method. A search for
//! queues that takes long is cut into pieces and waited for.

use std::pin::Pin;
use std::sync::Arc;

use crate::amqp::channel::Channel;
use crate::amqp::connection_state::{ConnectionState, then};
use crate::amqp::error::{Code, Handled, Refusal};
use crate::amqp::publishing::CheckedMessage;
use crate::amqp::route_cache::{Route, Targets};
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Exchange, RouteKeys};
use crate::broker::queue::Queue;
use crate::broker::routing::{DelayedRoute, Routed};
use crate::broker::session::Session;
use crate::broker::users::{Answer, Permitted, Validity};
use crate::model::{Message, Name, Origin};

/// Queues that get a message after a delay.
pub(super) type DelayedTargets = DelayedRoute<Arc<Queue>>;

/// The queues of one message.
pub(super) struct Destinations {
    pub(super) now: Targets,
    pub(super) delayed: Option<DelayedTargets>,
}

/// Whether the cached route of a publish is current.
pub(super) enum RouteCheck {
    Current,
    /// The backend that authorises the user has to be asked. The result is for [`Channel::put_route`].
    Asked(Pin<Box<dyn Future<Output = Result<Route, BrokerError>> + Send>>),
}

/// A route that the user is about to get, as of now.
struct FoundRoute {
    generation: u64,
    epoch: u64,
    is_traced: bool,
    origin: Arc<Origin>,
}

impl FoundRoute {
    async fn ask(
        self,
        session: Arc<Session>,
        asked: impl Future<Output = Permitted>,
    ) -> Result<Route, BrokerError> {
        let validity = asked.await?;
        let exchange = session.exchange_to_publish(&self.origin.exchange)?;
        let keys = session.ask_keys(&exchange, [&*self.origin.routing_key]);
        let keys = keys.get().await;
        Ok(self.route((exchange, validity), keys))
    }

    fn route(self, (exchange, validity): (Arc<Exchange>, Validity), keys: Permitted) -> Route {
        let (validity, refused) = match keys {
            Ok(other) => (validity.and(other), None),
            Err(refused) => (validity, Some(Refusal::from(BrokerError::from(refused)))),
        };
        Route {
            generation: self.generation,
            epoch: self.epoch,
            validity,
            exchange,
            refused,
            is_traced: self.is_traced,
            targets: None,
        }
    }
}

impl Destinations {
    pub(super) fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        let later = self.delayed.iter().flat_map(|delayed| &delayed.queues);
        self.now.iter().chain(later)
    }

    /// How many queues get the message.
    pub(super) fn copies(&self) -> usize {
        let later = self
            .delayed
            .as_ref()
            .map_or(0, |delayed| delayed.queues.len());
        self.now.len() + later
    }
}

impl Channel {
    /// Handles the method of a publish whose content is still to come.
    pub(crate) fn begin_publish(
        &mut self,
        connection: &mut ConnectionState,
        index: usize,
    ) -> Handled {
        if let RouteCheck::Asked(asked) = self.check_route(connection, index)? {
            connection.wait_for(self, async move {
                let route = asked.await;
                then(move |channel, connection| {
                    // Whether it is current is asked again when the content is complete.
                    channel.put_route(connection, index, route).map(drop)
                })
            });
        }
        Ok(())
    }

    /// Checks that the user may publish to the exchange, and makes sure that the cached route is current.
    /// Called before the content arrives, so that a forbidden content takes no memory, and again when it is
    /// complete.
    pub(super) fn check_route(
        &mut self,
        connection: &ConnectionState,
        index: usize,
    ) -> Result<RouteCheck, Refusal> {
        let session = &connection.shared.session;
        let generation = session.vhost.generation();
        let epoch = session.permission_epoch();
        let publish = self.publishing.routes.get_mut(index);
        let publish = publish.ok_or_else(Refusal::crash)?;
        if publish.immediate {
            return Err(Refusal::new(Code::NotImplemented, "immediate=true"));
        }
        let is_current = |route: &Route| {
            route.generation == generation && route.epoch == epoch && route.validity.holds()
        };
        if publish.route.as_ref().is_some_and(is_current) {
            return Ok(RouteCheck::Current);
        }
        let origin = &publish.origin;
        let found = FoundRoute {
            generation,
            epoch,
            is_traced: session.vhost.is_traced(),
            origin: Arc::clone(origin),
        };
        let (exchange, keys) = match session.ask_publish(&origin.exchange) {
            Answer::Known(permitted) => {
                let validity = permitted.map_err(BrokerError::from)?;
                let exchange = session.exchange_to_publish(&origin.exchange)?;
                let keys = session.ask_keys(&exchange, [&*origin.routing_key]);
                ((exchange, validity), keys)
            }
            Answer::Asked(asked) => {
                let session = Arc::clone(session);
                return Ok(RouteCheck::Asked(Box::pin(found.ask(session, asked))));
            }
        };
        match keys {
            Answer::Known(keys) => {
                publish.route = Some(found.route(exchange, keys));
                Ok(RouteCheck::Current)
            }
            Answer::Asked(keys) => Ok(RouteCheck::Asked(Box::pin(async move {
                Ok(found.route(exchange, keys.await))
            }))),
        }
    }

    /// Caches a route that had to be asked for, if the user has it. False if it is stale by now.
    pub(super) fn put_route(
        &mut self,
        connection: &ConnectionState,
        index: usize,
        route: Result<Route, BrokerError>,
    ) -> Result<bool, Refusal> {
        let route = route?;
        let session = &connection.shared.session;
        // However short the answer holds, it is one for this message.
        let is_current = (route.generation, route.epoch)
            == (session.vhost.generation(), session.permission_epoch());
        let publish = self.publishing.routes.get_mut(index);
        publish.ok_or_else(Refusal::crash)?.route = Some(route);
        Ok(is_current)
    }

    /// The queues of a message, from the cached route or by a short search. `None` if the search takes
    /// longer.
    pub(super) fn try_route(
        &mut self,
        connection: &ConnectionState,
        index: usize,
        message: &Message,
        further_keys: &[Name],
    ) -> Option<Destinations> {
        let publish = self.publishing.routes.get(index)?;
        let route = publish.route.as_ref()?;
        if let (Some(targets), []) = (&route.targets, further_keys) {
            return Some(Destinations {
                now: Arc::clone(targets),
                delayed: None,
            });
        }
        let cc: Vec<&str> = further_keys.iter().map(|key| &**key).collect();
        let vhost = &connection.shared.session.vhost;
        let routed = vhost.try_route(&route.exchange, &keys(&publish.origin, message, &cc))?;
        Some(self.cache_route(index, further_keys, routed))
    }

    /// Publishes a message when a long search for its queues ends.
    pub(super) fn route_in_pieces(
        &mut self,
        connection: &mut ConnectionState,
        index: usize,
        checked: CheckedMessage,
        further_keys: Vec<Name>,
    ) -> Handled {
        // Earlier publishes go first.
        self.flush_run(connection);
        let publish = self.publishing.routes.get(index);
        let publish = publish.ok_or_else(Refusal::crash)?;
        let route = publish.route.as_ref().ok_or_else(Refusal::crash)?;
        let exchange = Arc::clone(&route.exchange);
        let origin = Arc::clone(&publish.origin);
        let vhost = Arc::clone(&connection.shared.session.vhost);
        connection.wait_for(self, async move {
            let cc: Vec<&str> = further_keys.iter().map(|key| &**key).collect();
            let routed = vhost
                .route_in_pieces(&exchange, &keys(&origin, &checked.message, &cc))
                .await;
            then(move |channel, connection| {
                let destinations = channel.cache_route(index, &further_keys, routed);
                channel.publish_routed(connection, index, checked, &further_keys, destinations)
            })
        });
        Ok(())
    }

    /// Caches the queues if they depend on the routing key only.
    fn cache_route(
        &mut self,
        index: usize,
        further_keys: &[Name],
        routed: Routed<Arc<Queue>>,
    ) -> Destinations {
        let now: Targets = routed.now.into();
        if further_keys.is_empty()
            && routed.by_key
            && let Some(publish) = self.publishing.routes.get_mut(index)
            && let Some(route) = &mut publish.route
        {
            route.targets = Some(Arc::clone(&now));
        }
        Destinations {
            now,
            delayed: routed.delayed,
        }
    }
}

/// The keys of a message that was published by `publish`.
fn keys<'a>(publish: &'a Origin, message: &'a Message, cc: &'a [&'a str]) -> RouteKeys<'a> {
    RouteKeys {
        routing_key: &publish.routing_key,
        cc,
        properties: &message.properties,
    }
}
