//! `exchange.*`: declare, delete, bind, unbind.

use std::sync::Arc;

use super::super::channel::{Channel, Cx, Handled, done};
use crate::broker::session::DeclareExchange;
use crate::wire::AMQPClass;
use crate::wire::protocol::exchange::{
    AMQPMethod, Bind, BindOk, Declare, DeclareOk, Delete, DeleteOk, Unbind, UnbindOk,
};

impl Channel {
    /// `exchange.declare`.
    pub(crate) fn exchange_declare(&mut self, cx: &mut Cx<'_>, m: Declare) -> Handled {
        let session = Arc::clone(&cx.shared.session);
        cx.later(self, async move {
            let declare = DeclareExchange {
                name: m.exchange.as_str(),
                kind: m.kind.as_str(),
                passive: m.passive,
                durable: m.durable,
                auto_delete: m.auto_delete,
                internal: m.internal,
                arguments: m.arguments,
            };
            let declared = session.declare_exchange(declare).await;
            done(move |channel, cx| {
                declared?;
                channel.exchange_ok(cx, m.nowait, AMQPMethod::DeclareOk(DeclareOk {}))
            })
        });
        Ok(())
    }

    /// `exchange.delete`.
    pub(crate) fn exchange_delete(&mut self, cx: &mut Cx<'_>, m: Delete) -> Handled {
        let session = Arc::clone(&cx.shared.session);
        cx.later(self, async move {
            let deleted = session
                .delete_exchange(m.exchange.as_str(), m.if_unused)
                .await;
            done(move |channel, cx| {
                deleted?;
                channel.exchange_ok(cx, m.nowait, AMQPMethod::DeleteOk(DeleteOk {}))
            })
        });
        Ok(())
    }

    /// `exchange.bind`, RabbitMQ's extension.
    pub(crate) fn exchange_bind(&mut self, cx: &mut Cx<'_>, m: Bind) -> Handled {
        let session = Arc::clone(&cx.shared.session);
        cx.later(self, async move {
            let (destination, source, key) = (
                m.destination.as_str(),
                m.source.as_str(),
                m.routing_key.as_str(),
            );
            let bound = session
                .bind_exchange(destination, source, key, m.arguments)
                .await;
            done(move |channel, cx| {
                bound?;
                channel.exchange_ok(cx, m.nowait, AMQPMethod::BindOk(BindOk {}))
            })
        });
        Ok(())
    }

    /// `exchange.unbind`, RabbitMQ's extension.
    pub(crate) fn exchange_unbind(&mut self, cx: &mut Cx<'_>, m: Unbind) -> Handled {
        let session = Arc::clone(&cx.shared.session);
        cx.later(self, async move {
            let (destination, source, key) = (
                m.destination.as_str(),
                m.source.as_str(),
                m.routing_key.as_str(),
            );
            let unbound = session
                .unbind_exchange(destination, source, key, m.arguments)
                .await;
            done(move |channel, cx| {
                unbound?;
                channel.exchange_ok(cx, m.nowait, AMQPMethod::UnbindOk(UnbindOk {}))
            })
        });
        Ok(())
    }

    fn exchange_ok(&mut self, cx: &mut Cx<'_>, nowait: bool, ok: AMQPMethod) -> Handled {
        if !nowait {
            cx.send(self.number, AMQPClass::Exchange(ok));
        }
        Ok(())
    }
}
