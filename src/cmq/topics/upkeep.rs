//! Forgets topics and subscriptions that were deleted over AMQP, and completes bindings that a crash cut short.

use std::collections::HashSet;
use std::sync::Arc;

use super::registry::Topics;
use super::table::Change;
use crate::broker::broker::Broker;
use crate::broker::error::BrokerError;
use crate::broker::exchange::Binding;
use crate::broker::vhost::Vhost;
use crate::cmq::filter::is_of_subscription;
use crate::store::StoreFailed;

impl Topics {
    /// Forgets topics whose exchange was deleted over AMQP, and subscriptions whose queue was.
    pub(crate) async fn tidy(&self, broker: &Broker) -> Result<(), StoreFailed> {
        let orphans = self.table.read().orphans.clone();
        let mut changes: Vec<_> = orphans
            .into_iter()
            .map(|(topic, subscription)| Change::RemoveSubscription(topic, subscription))
            .collect();
        for (id, topic) in self.all() {
            let vhost = broker.vhost(&topic.vhost);
            let exchange = vhost.as_ref().and_then(|vhost| vhost.exchange(&topic.name));
            let own = match (&vhost, &exchange) {
                (Some(vhost), Some(exchange)) => self.of_exchange(vhost, exchange),
                _ => None,
            };
            let is_there = own.is_some_and(|(own, _)| own == id);
            for subscription in self.subscriptions(id) {
                let vhost = vhost.as_ref();
                let queue = vhost.and_then(|vhost| subscription.queue(vhost, &topic));
                if is_there && queue.is_some() {
                    continue;
                }
                if let Some(vhost) = vhost {
                    subscription.drop_waiting(vhost, &topic).await?;
                }
                changes.push(Change::RemoveSubscription(id, subscription));
            }
            if !is_there {
                changes.push(Change::RemoveTopic(id));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.table.propose(changes).commit(broker.committer()).await
    }

    /// Makes the bindings of all subscriptions, and removes bindings of subscriptions that are gone.
    pub(crate) async fn bind_all(&self, broker: &Broker) -> Result<(), BrokerError> {
        for vhost in broker.vhost_list() {
            let wanted = self.bindings_in(&vhost);
            let bound = vhost.bindings();
            let mut left_over = bound.iter().filter(|binding| {
                is_of_subscription(binding) && !wanted.contains::<Binding>(binding)
            });
            let unbind: Vec<Binding> = left_over.by_ref().map(|b| Binding::clone(b)).collect();
            vhost.rebind(wanted.into_iter().collect(), unbind).await?;
        }
        Ok(())
    }

    fn bindings_in(&self, vhost: &Arc<Vhost>) -> HashSet<Binding> {
        let mut bindings = HashSet::new();
        for subscribed in self.all_subscriptions() {
            let (topic, subscription) = (&subscribed.topic, &subscribed.subscription);
            if topic.vhost == *vhost.name()
                && let Some(queue) = subscription.queue(vhost, topic)
            {
                bindings.extend(subscription.bindings(topic, &queue));
            }
        }
        bindings
    }
}
