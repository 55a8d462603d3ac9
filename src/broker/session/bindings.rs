//! Binding and unbinding by one connection.

use super::checks::{Session, check_not_default, clean};
use crate::broker::error::BrokerError;
use crate::broker::exchange::{Binding, Destination};
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::vhost::is_unlisted;
use crate::wire::FieldTable;

impl Session {
    /// Binds a queue or exchange to an exchange. No error if the binding exists.
    pub async fn bind(
        &self,
        destination: Destination,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let binding = self
            .binding(destination, source, routing_key, arguments)
            .await?;
        self.vhost
            .bind(binding, |queue| self.check_owner(queue))
            .await
    }

    /// Removes a binding. No error without one.
    pub async fn unbind(
        &self,
        destination: Destination,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<(), BrokerError> {
        let binding = self
            .binding(destination, source, routing_key, arguments)
            .await?;
        self.vhost
            .unbind(&binding, |queue| self.check_owner(queue))
            .await
    }

    /// The binding that a client names, if it may make or remove it.
    async fn binding(
        &self,
        destination: Destination,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<Binding, BrokerError> {
        let destination = match destination {
            Destination::Queue(name) => Destination::Queue(clean(&name).as_ref().into()),
            Destination::Exchange(name) => Destination::Exchange(clean(&name).as_ref().into()),
        };
        let source = clean(source);
        self.check_binding(&destination, &source, routing_key)
            .await?;
        Ok(Binding::new(
            source.as_ref().into(),
            destination,
            routing_key.into(),
            arguments,
        ))
    }

    /// Making or removing a binding takes write permission on its destination and read permission on its source.
    async fn check_binding(
        &self,
        destination: &Destination,
        source: &str,
        routing_key: &str,
    ) -> Result<(), BrokerError> {
        let kind = match destination {
            Destination::Queue(_) => ResourceKind::Queue,
            Destination::Exchange(_) => ResourceKind::Exchange,
        };
        self.check(Permission::Write, kind, destination.name())
            .await?;
        if !destination.is_queue() {
            check_not_default(destination.name())?;
        }
        check_not_default(source)?;
        self.check(Permission::Read, ResourceKind::Exchange, source)
            .await?;
        let exchange = (!destination.is_queue()).then(|| &**destination.name());
        let mut exchanges = std::iter::once(source).chain(exchange);
        if let Some(name) = exchanges.find(|name| is_unlisted(name)) {
            let resource = self.vhost.resource(ResourceKind::Exchange, name);
            return Err(BrokerError::Refused(format!("{resource} cannot be bound")));
        }
        match self.vhost.exchange(source) {
            Some(source) => {
                let answer = self.ask_topics(&source, Permission::Read, [routing_key]);
                answer.get().await?;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
