//! The handler of each method. `Channel::method` handles those of the message path first.

use super::super::channel::Channel;
use super::super::connection_state::ConnectionState;
use super::super::error::{Code, Handled, Refusal};
use crate::wire::AMQPClass;
use crate::wire::protocol::{access, basic, channel, confirm, exchange, queue, tx};

impl Channel {
    /// Handles all methods but those of the message path. Flushes the channel first, since the method may
    /// depend on earlier publishes and acks.
    pub(crate) fn other_method(
        &mut self,
        connection: &mut ConnectionState,
        payload: &[u8],
        method: AMQPClass,
    ) -> Handled {
        self.flush(connection);
        match method {
            AMQPClass::Access(method) => match method {
                access::AMQPMethod::Request(_) => {
                    connection.send(
                        self.number,
                        AMQPClass::Access(access::AMQPMethod::RequestOk(access::RequestOk {})),
                    );
                    Ok(())
                }
                access::AMQPMethod::RequestOk(_) => unimplemented(),
            },
            AMQPClass::Channel(method) => self.channel_method(connection, method),
            AMQPClass::Exchange(method) => self.exchange_method(connection, method),
            AMQPClass::Queue(method) => self.queue_method(connection, method),
            AMQPClass::Basic(method) => self.basic_method(connection, payload, method),
            AMQPClass::Confirm(method) => match method {
                confirm::AMQPMethod::Select(m) => self.confirm_select(connection, m),
                confirm::AMQPMethod::SelectOk(_) => unimplemented(),
            },
            AMQPClass::Tx(method) => match method {
                tx::AMQPMethod::Select(_) => self.tx_select(connection),
                tx::AMQPMethod::Commit(_) => self.tx_commit(connection),
                tx::AMQPMethod::Rollback(_) => self.tx_rollback(connection),
                tx::AMQPMethod::SelectOk(_)
                | tx::AMQPMethod::CommitOk(_)
                | tx::AMQPMethod::RollbackOk(_) => unimplemented(),
            },
            AMQPClass::Connection(_) => unimplemented(),
        }
    }

    fn channel_method(
        &mut self,
        connection: &mut ConnectionState,
        method: channel::AMQPMethod,
    ) -> Handled {
        match method {
            channel::AMQPMethod::Open(_) => Err(Refusal::new(
                Code::ChannelError,
                "second 'channel.open' seen",
            )),
            channel::AMQPMethod::Flow(m) if m.active => {
                let ok = channel::FlowOk { active: true };
                connection.send(
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

    fn exchange_method(
        &mut self,
        connection: &mut ConnectionState,
        method: exchange::AMQPMethod,
    ) -> Handled {
        match method {
            exchange::AMQPMethod::Declare(m) => self.exchange_declare(connection, m),
            exchange::AMQPMethod::Delete(m) => self.exchange_delete(connection, m),
            exchange::AMQPMethod::Bind(m) => self.exchange_bind(connection, m),
            exchange::AMQPMethod::Unbind(m) => self.exchange_unbind(connection, m),
            exchange::AMQPMethod::DeclareOk(_)
            | exchange::AMQPMethod::DeleteOk(_)
            | exchange::AMQPMethod::BindOk(_)
            | exchange::AMQPMethod::UnbindOk(_) => unimplemented(),
        }
    }

    fn queue_method(
        &mut self,
        connection: &mut ConnectionState,
        method: queue::AMQPMethod,
    ) -> Handled {
        match method {
            queue::AMQPMethod::Declare(m) => self.queue_declare(connection, m),
            queue::AMQPMethod::Bind(m) => self.queue_bind(connection, m),
            queue::AMQPMethod::Unbind(m) => self.queue_unbind(connection, m),
            queue::AMQPMethod::Purge(m) => self.queue_purge(connection, m),
            queue::AMQPMethod::Delete(m) => self.queue_delete(connection, m),
            queue::AMQPMethod::DeclareOk(_)
            | queue::AMQPMethod::BindOk(_)
            | queue::AMQPMethod::UnbindOk(_)
            | queue::AMQPMethod::PurgeOk(_)
            | queue::AMQPMethod::DeleteOk(_) => unimplemented(),
        }
    }

    fn basic_method(
        &mut self,
        connection: &mut ConnectionState,
        payload: &[u8],
        method: basic::AMQPMethod,
    ) -> Handled {
        match method {
            basic::AMQPMethod::Qos(m) => self.basic_qos(connection, payload, m),
            basic::AMQPMethod::Consume(m) => self.basic_consume(connection, m),
            basic::AMQPMethod::Cancel(m) => self.basic_cancel(connection, m),
            basic::AMQPMethod::Get(m) => self.basic_get(connection, m),
            basic::AMQPMethod::Recover(m) => self.basic_recover(connection, m.requeue, true),
            basic::AMQPMethod::RecoverAsync(m) => self.basic_recover(connection, m.requeue, false),
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

/// Refuses methods that only a server sends, and those of channel 0.
fn unimplemented() -> Handled {
    Err(Refusal::new(Code::CommandInvalid, "unimplemented method"))
}
