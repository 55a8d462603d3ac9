//! `exchange.*`: declare, delete, bind, unbind.

use std::sync::Arc;

use super::super::channel::Channel;
use super::super::connection_state::{ConnectionState, then};
use super::super::error::Handled;
use crate::broker::error::BrokerError;
use crate::broker::exchange::Destination;
use crate::broker::session::DeclareExchange;
use crate::wire::AMQPClass;
use crate::wire::protocol::exchange::{
    AMQPMethod, Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Unbind, UnbindOk,
};

impl Channel {
    /// `exchange.declare`.
    pub(crate) fn exchange_declare(
        &mut self,
        connection: &mut ConnectionState,
        m: Declare,
    ) -> Handled {
        let session = Arc::clone(&connection.shared.session);
        let change = async move {
            let declare = DeclareExchange {
                name: m.exchange.as_str(),
                kind: m.kind.as_str(),
                passive: m.passive,
                durable: m.durable,
                auto_delete: m.auto_delete,
                internal: m.internal,
                arguments: m.arguments,
            };
            session.declare_exchange(declare).await
        };
        let ok = AMQPMethod::DeclareOk(DeclareOk {});
        self.exchange_change(connection, change, m.nowait, ok)
    }

    /// `exchange.delete`.
    pub(crate) fn exchange_delete(
        &mut self,
        connection: &mut ConnectionState,
        m: Delete,
    ) -> Handled {
        let session = Arc::clone(&connection.shared.session);
        let change = async move {
            session
                .delete_exchange(m.exchange.as_str(), m.if_unused)
                .await
        };
        let ok = AMQPMethod::DeleteOk(DeleteOk {});
        self.exchange_change(connection, change, m.nowait, ok)
    }

    /// `exchange.bind`, RabbitMQ's extension.
    pub(crate) fn exchange_bind(&mut self, connection: &mut ConnectionState, m: Bind) -> Handled {
        let session = Arc::clone(&connection.shared.session);
        let change = async move {
            let destination = Destination::Exchange(m.destination.as_str().into());
            let (source, key) = (m.source.as_str(), m.routing_key.as_str());
            session.bind(destination, source, key, m.arguments).await
        };
        let ok = AMQPMethod::BindOk(BindOk {});
        self.exchange_change(connection, change, m.nowait, ok)
    }

    /// `exchange.unbind`, RabbitMQ's extension.
    pub(crate) fn exchange_unbind(
        &mut self,
        connection: &mut ConnectionState,
        m: Unbind,
    ) -> Handled {
        let session = Arc::clone(&connection.shared.session);
        let change = async move {
            let destination = Destination::Exchange(m.destination.as_str().into());
            let (source, key) = (m.source.as_str(), m.routing_key.as_str());
            session.unbind(destination, source, key, m.arguments).await
        };
        let ok = AMQPMethod::UnbindOk(UnbindOk {});
        self.exchange_change(connection, change, m.nowait, ok)
    }

    /// Replies with `ok` when the change is done.
    fn exchange_change(
        &self,
        connection: &mut ConnectionState,
        change: impl Future<Output = Result<(), BrokerError>> + Send + 'static,
        nowait: bool,
        ok: AMQPMethod,
    ) -> Handled {
        connection.wait_for(self, async move {
            let changed = change.await;
            then(move |channel, connection| {
                changed?;
                if !nowait {
                    connection.send(channel.number, AMQPClass::Exchange(ok));
                }
                Ok(())
            })
        });
        Ok(())
    }
}
