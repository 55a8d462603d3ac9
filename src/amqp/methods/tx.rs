//! `tx.*` and `confirm.select`. `tx.commit` gives the publishes and acknowledgements of a transaction to
//! their queues within one batch of the store: a crash keeps all of them or none.

use std::sync::Arc;

use super::super::channel::{Channel, Mode};
use super::super::confirms::Confirms;
use super::super::connection_state::{ConnectionState, then};
use super::super::direct_reply_to::Requesters;
use super::super::error::{Code, Handled, Refusal};
use super::super::publishing::CheckedMessage;
use super::super::transaction::{Publish, Transaction};
use crate::broker::queue::Queue;
use crate::model::{Message, Ticket};
use crate::store::commit::Committer;
use crate::wire::AMQPClass;
use crate::wire::protocol::confirm;
use crate::wire::protocol::tx::{AMQPMethod, CommitOk, RollbackOk, SelectOk};

/// Outcome of a commit, before it is durable.
struct Committed {
    /// Durable when the whole transaction is; `None` waits for nothing.
    ticket: Option<Ticket>,
    /// A queue has rejected a message or is gone.
    is_partial: bool,
    /// A queue that holds the publisher back.
    full: Option<Arc<Queue>>,
}

impl Channel {
    /// `confirm.select`.
    pub(crate) fn confirm_select(
        &mut self,
        connection: &mut ConnectionState,
        m: confirm::Select,
    ) -> Handled {
        match &self.mode {
            Mode::Plain => self.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
            Mode::Tx(_) => return precondition("cannot switch from tx to confirm mode"),
        }
        if !m.nowait {
            let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
            connection.send(self.number, AMQPClass::Confirm(ok));
        }
        Ok(())
    }

    /// `tx.select`.
    pub(crate) fn tx_select(&mut self, connection: &mut ConnectionState) -> Handled {
        match &self.mode {
            Mode::Plain => self.mode = Mode::Tx(Box::default()),
            Mode::Tx(_) => {}
            Mode::Confirm(_) => return precondition("cannot switch from confirm to tx mode"),
        }
        let ok = AMQPMethod::SelectOk(SelectOk {});
        connection.send(self.number, AMQPClass::Tx(ok));
        Ok(())
    }

    /// `tx.rollback`: drops the publishes; acknowledged deliveries are unacked again.
    pub(crate) fn tx_rollback(&mut self, connection: &mut ConnectionState) -> Handled {
        let transaction = self.take_transaction()?;
        self.unacked.put_back(transaction.into_acknowledged());
        let ok = AMQPMethod::RollbackOk(RollbackOk {});
        connection.send(self.number, AMQPClass::Tx(ok));
        Ok(())
    }

    /// `tx.commit`. The reply leaves when the whole transaction is durable.
    pub(crate) fn tx_commit(&mut self, connection: &mut ConnectionState) -> Handled {
        let transaction = self.take_transaction()?;
        let committer = Arc::clone(&connection.shared.committer);
        let Committed {
            ticket,
            is_partial,
            full,
        } = self.commit(&transaction, &committer);
        connection.hold_back(full.as_ref());
        connection.unsynced.add(transaction.bytes, &committer);
        let mut replies = Vec::new();
        for Publish { checked, targets } in transaction.publishes {
            if !checked.reply_addresses.is_empty() {
                replies.push(checked);
            } else if targets.is_empty() {
                if checked.mandatory {
                    self.send_return(connection, &checked.message);
                }
                self.count_unroutable(connection, checked.mandatory);
            }
        }
        self.flush_credit(connection);
        let requesters = Arc::clone(&connection.shared.front.requesters);
        connection.wait_for(self, async move {
            let durable = match ticket {
                Some(ticket) => committer.wait(ticket).await,
                None => Ok(()),
            };
            if durable.is_ok() {
                send_replies(&requesters, replies).await;
            }
            then(move |channel, connection| {
                durable.map_err(|error| Refusal::new(Code::InternalError, error.to_string()))?;
                if is_partial {
                    return precondition("partial tx completion");
                }
                let ok = AMQPMethod::CommitOk(CommitOk {});
                connection.send(channel.number, AMQPClass::Tx(ok));
                Ok(())
            })
        });
        Ok(())
    }

    /// Gives publishes and acknowledgements to their queues, within one batch of the store.
    fn commit(&mut self, transaction: &Transaction, committer: &Committer) -> Committed {
        let _one_batch = committer.batch_guard();
        let mut committed = Committed {
            ticket: None,
            is_partial: false,
            full: None,
        };
        let is_same_run = |a: &Publish, b: &Publish| Arc::ptr_eq(&a.targets, &b.targets);
        for run in transaction.publishes.chunk_by(is_same_run) {
            let messages: Vec<Arc<Message>> = run
                .iter()
                .map(|publish| Arc::clone(&publish.checked.message))
                .collect();
            for queue in run.first().into_iter().flat_map(|first| &*first.targets) {
                let published = queue.publish(&messages);
                committed.is_partial |= !published.rejected.is_empty() || queue.is_deleted();
                committed.ticket = committed.ticket.max(published.ticket);
                if published.is_full {
                    committed.full = Some(Arc::clone(queue));
                }
            }
        }
        for (how, deliveries) in &transaction.acknowledged {
            let ticket = self.acknowledge_now(*how, deliveries);
            committed.ticket = committed.ticket.max(ticket);
        }
        committed
    }

    /// Takes the content of the open transaction; the channel stays in transaction mode.
    fn take_transaction(&mut self) -> Result<Transaction, Refusal> {
        match &mut self.mode {
            Mode::Tx(transaction) => Ok(std::mem::take(&mut **transaction)),
            Mode::Plain | Mode::Confirm(_) => Err(Refusal::new(
                Code::PreconditionFailed,
                "channel is not transactional",
            )),
        }
    }
}

/// Sends the replies of direct reply-to in a committed transaction.
async fn send_replies(requesters: &Requesters, replies: Vec<CheckedMessage>) {
    for reply in replies {
        for address in &reply.reply_addresses {
            if let Err(pending) = requesters.reply(address, &reply.message) {
                pending.deliver().await;
            }
        }
    }
}

fn precondition(text: &str) -> Handled {
    Err(Refusal::new(Code::PreconditionFailed, text))
}
