//! Which handler a method has. Those of the message path are `Channel::method`'s, which looks at them first.

use super::super::channel::Channel;
use super::super::cx::{Cx, Handled};
use super::super::error::{Code, Refusal};
use crate::wire::AMQPClass;
use crate::wire::protocol::{access, basic, channel, confirm, exchange, queue, tx};

impl Channel {
    /// Handles all methods but those of the message path. Work that was put off is done first: what follows may
    /// depend on it.
    pub(crate) fn other_method(
        &mut self,
        cx: &mut Cx<'_>,
        payload: &[u8],
        method: AMQPClass,
    ) -> Handled {
        self.flush(cx);
        match method {
            AMQPClass::Access(method) => match method {
                access::AMQPMethod::Request(_) => {
                    cx.send(
                        self.number,
                        AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
                    );
                    Ok(())
                }
                access::AMQPMethod::RequestOk(_) => unimplemented(),
            },
            AMQPClass::Channel(method) => self.channel_method(cx, method),
            AMQPClass::Exchange(method) => self.exchange_method(cx, method),
            AMQPClass::Queue(method) => self.queue_method(cx, method),
            AMQPClass::Basic(method) => self.basic_method(cx, payload, method),
            AMQPClass::Confirm(method) => match method {
                confirm::AMQPMethod::Select(m) => self.confirm_select(cx, m),
                confirm::AMQPMethod::SelectOk(_) => unimplemented(),
            },
            AMQPClass::Tx(method) => match method {
                tx::AMQPMethod::Select(_) => self.tx_select(cx),
                tx::AMQPMethod::Commit(_) => self.tx_commit(cx),
                tx::AMQPMethod::Rollback(_) => self.tx_rollback(cx),
                tx::AMQPMethod::SelectOk(_)
                | tx::AMQPMethod::CommitOk(_)
                | tx::AMQPMethod::RollbackOk(_) => unimplemented(),
            },
            AMQPClass::Connection(_) => unimplemented(),
        }
    }

    fn channel_method(&mut self, cx: &mut Cx<'_>, method: channel::AMQPMethod) -> Handled {
        match method {
            channel::AMQPMethod::Open(_) => Err(Refusal::new(
                Code::ChannelError,
                "second 'channel.open' seen",
            )),
            channel::AMQPMethod::Flow(m) if m.active => {
                let ok = channel::FlowOk { active: true };
                cx.send(
                    self.number,
                    AMQPClass::Channel(channel::AMQPMethod::FlowOk(ok)),
                );
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(Refusal::new(Code::NotImplemented, "active=false")),
            channel::AMQPMethod::Close(_)
            | channel::AMQPMethod::CloseOk(_)
            | channel::AMQPMethod::OpenOk(_)
            | channel::AMQPMethod::FlowOk(_) => unimplemented(),
        }
    }

    fn exchange_method(&mut self, cx: &mut Cx<'_>, method: exchange::AMQPMethod) -> Handled {
        match method {
            exchange::AMQPMethod::Declare(m) => self.exchange_declare(cx, m),
            exchange::AMQPMethod::Delete(m) => self.exchange_delete(cx, m),
            exchange::AMQPMethod::Bind(m) => self.exchange_bind(cx, m),
            exchange::AMQPMethod::Unbind(m) => self.exchange_unbind(cx, m),
            exchange::AMQPMethod::DeclareOk(_)
            | exchange::AMQPMethod::DeleteOk(_)
            | exchange::AMQPMethod::BindOk(_)
            | exchange::AMQPMethod::UnbindOk(_) => unimplemented(),
        }
    }

    fn queue_method(&mut self, cx: &mut Cx<'_>, method: queue::AMQPMethod) -> Handled {
        match method {
            queue::AMQPMethod::Declare(m) => self.queue_declare(cx, m),
            queue::AMQPMethod::Bind(m) => self.queue_bind(cx, m),
            queue::AMQPMethod::Unbind(m) => self.queue_unbind(cx, m),
            queue::AMQPMethod::Purge(m) => self.queue_purge(cx, m),
            queue::AMQPMethod::Delete(m) => self.queue_delete(cx, m),
            queue::AMQPMethod::DeclareOk(_)
            | queue::AMQPMethod::BindOk(_)
            | queue::AMQPMethod::UnbindOk(_)
            | queue::AMQPMethod::PurgeOk(_)
            | queue::AMQPMethod::DeleteOk(_) => unimplemented(),
        }
    }

    fn basic_method(
        &mut self,
        cx: &mut Cx<'_>,
        payload: &[u8],
        method: basic::AMQPMethod,
    ) -> Handled {
        match method {
            basic::AMQPMethod::Qos(m) => self.basic_qos(cx, payload, m),
            basic::AMQPMethod::Consume(m) => self.basic_consume(cx, m),
            basic::AMQPMethod::Cancel(m) => self.basic_cancel(cx, m),
            basic::AMQPMethod::Get(m) => self.basic_get(cx, m),
            basic::AMQPMethod::Recover(m) => self.basic_recover(cx, m.requeue, true),
            basic::AMQPMethod::RecoverAsync(m) => self.basic_recover(cx, m.requeue, false),
            basic::AMQPMethod::CancelOk(_)
            | basic::AMQPMethod::Publish(_)
            | basic::AMQPMethod::Ack(_)
            | basic::AMQPMethod::Nack(_)
            | basic::AMQPMethod::Reject(_)
            | basic::AMQPMethod::QosOk(_)
            | basic::AMQPMethod::ConsumeOk(_)
            | basic::AMQPMethod::Return(_)
            | basic::AMQPMethod::Deliver(_)
            | basic::AMQPMethod::GetOk(_)
            | basic::AMQPMethod::GetEmpty(_)
            | basic::AMQPMethod::RecoverOk(_) => unimplemented(),
        }
    }
}

/// A method that only a server sends, or one that belongs to another channel.
pub(crate) fn unimplemented() -> Handled {
    Err(Refusal::new(Code::CommandInvalid, "unimplemented method"))
}
