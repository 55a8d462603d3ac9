//! Declaring and deleting exchanges by one connection.

use super::checks::{
    RESERVED_PREFIX, Session, check_not_default, check_not_reserved, clean, property_difference,
};
use crate::broker::error::BrokerError;
use crate::broker::exchange::{ALTERNATE_EXCHANGE, Exchange, ExchangeKind};
use crate::broker::permissions::{Permission, ResourceKind};
use crate::broker::vhost::Created;
use crate::model::arguments::{Inequivalence, inequivalence};
use crate::wire::FieldTable;

/// `exchange.declare`.
#[derive(Debug)]
pub struct DeclareExchange<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    /// Checks only that it exists.
    pub passive: bool,
    pub durable: bool,
    /// Deleted with its last binding as a source.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    pub arguments: FieldTable,
}

impl Session {
    /// Declares an exchange, or checks that an equal one exists.
    pub async fn declare_exchange(&self, declare: DeclareExchange<'_>) -> Result<(), BrokerError> {
        let name = clean(declare.name);
        if declare.passive {
            check_not_default(&name)?;
            self.check_any(ResourceKind::Exchange, &name).await?;
            let found = self.vhost.exchange_concluded(&name).await;
            return match found {
                Some(_) => Ok(()),
                None => {
                    let resource = self.vhost.resource(ResourceKind::Exchange, &name);
                    Err(BrokerError::NotFound(resource))
                }
            };
        }
        let kind = ExchangeKind::parse(declare.kind)?;
        check_not_default(&name)?;
        self.check(Permission::Configure, ResourceKind::Exchange, &name)
            .await?;
        let exchange = Exchange {
            name: name.as_ref().into(),
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments,
            stats: std::sync::Arc::default(),
        };
        if let Some(existing) = self.vhost.exchange_concluded(&name).await {
            return self.check_same_exchange(&existing, &exchange);
        }
        check_not_reserved(ResourceKind::Exchange, &name)?;
        let resource = || self.vhost.resource(ResourceKind::Exchange, &name);
        self.check_target(ALTERNATE_EXCHANGE, &exchange.arguments, resource)
            .await?;
        match self.vhost.create_exchange(exchange.clone()).await? {
            Created::New(_) => Ok(()),
            Created::Existing(existing) => self.check_same_exchange(&existing, &exchange),
        }
    }

    /// Deletes an exchange. No error without one.
    pub async fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<(), BrokerError> {
        let name = clean(name);
        check_not_default(&name)?;
        if name.starts_with(RESERVED_PREFIX) {
            let resource = self.vhost.resource(ResourceKind::Exchange, &name);
            return Err(BrokerError::SystemExchange(resource));
        }
        self.check(Permission::Configure, ResourceKind::Exchange, &name)
            .await?;
        self.vhost.delete_exchange(&name, if_unused).await
    }

    fn check_same_exchange(
        &self,
        existing: &Exchange,
        declared: &Exchange,
    ) -> Result<(), BrokerError> {
        let kinds = (existing.kind, declared.kind);
        let difference = (kinds.0 != kinds.1)
            .then(|| Inequivalence::of_property("type", kinds.0.as_atom(), kinds.1.as_atom()))
            .or_else(|| property_difference("durable", existing.durable, declared.durable))
            .or_else(|| {
                property_difference("auto_delete", existing.auto_delete, declared.auto_delete)
            })
            .or_else(|| property_difference("internal", existing.internal, declared.internal))
            .or_else(|| {
                inequivalence(
                    ALTERNATE_EXCHANGE,
                    existing.arguments.inner().get(ALTERNATE_EXCHANGE),
                    declared.arguments.inner().get(ALTERNATE_EXCHANGE),
                )
            });
        match difference {
            None => Ok(()),
            Some(difference) => Err(BrokerError::Inequivalent {
                resource: self.vhost.resource(ResourceKind::Exchange, &existing.name),
                difference,
            }),
        }
    }
}
