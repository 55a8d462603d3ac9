//! `tx.*` and `confirm.select`. A transaction holds publishes and answers back until the commit, and then gives them to
//! their queues within one batch of the store: after a crash all of them are there, or none.

use std::sync::Arc;

use super::super::channel::{Channel, Mode};
use super::super::confirms::Confirms;
use super::super::cx::{Cx, Handled, done};
use super::super::error::{Code, Refusal};
use super::super::limits::{TX_BYTES_MAX, TX_ENTRIES_MAX};
use super::super::replies::Replies;
use super::super::unacked::Unacked;
use super::publish::{Ready, put_return};
use crate::broker::queue::{Queue, Settle};
use crate::model::Message;
use crate::wire::AMQPClass;
use crate::wire::protocol::tx::{AMQPMethod, CommitOk, RollbackOk, SelectOk};
use crate::wire::protocol::{confirm, tx};

/// What a transaction has gathered.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    publishes: Vec<Publish>,
    answers: Vec<(Settle, Vec<(u64, Unacked)>)>,
    bytes: usize,
    answered: usize,
}

#[derive(Debug)]
struct Publish {
    ready: Ready,
    queues: Arc<[Arc<Queue>]>,
}

impl Transaction {
    /// Publishes and answers in it.
    pub(crate) fn len(&self) -> usize {
        self.publishes.len() + self.answered
    }

    /// Adds a message that was routed.
    pub(super) fn publish(&mut self, ready: Ready, queues: Arc<[Arc<Queue>]>) -> Handled {
        self.bytes += ready.message.size();
        self.publishes.push(Publish { ready, queues });
        self.check()
    }

    /// Refuses what is too large.
    pub(super) fn check(&self) -> Handled {
        match self.bytes > TX_BYTES_MAX || self.len() > TX_ENTRIES_MAX {
            true => Err(Refusal::new(
                Code::ResourceError,
                "transaction is too large",
            )),
            false => Ok(()),
        }
    }

    /// Adds answers to deliveries.
    pub(super) fn answer(&mut self, how: Settle, taken: Vec<(u64, Unacked)>) {
        self.answered += taken.len();
        match self.answers.last_mut() {
            Some((last, entries)) if *last == how => entries.extend(taken),
            _ => self.answers.push((how, taken)),
        }
    }

    /// The deliveries that were answered, and are not.
    pub(crate) fn into_answers(self) -> Vec<(u64, Unacked)> {
        self.answers
            .into_iter()
            .flat_map(|(_, taken)| taken)
            .collect()
    }
}

impl Channel {
    /// `confirm.select`.
    pub(crate) fn confirm_select(&mut self, cx: &mut Cx<'_>, m: confirm::Select) -> Handled {
        match &self.mode {
            Mode::Plain => self.mode = Mode::Confirm(Confirms::default()),
            Mode::Confirm(_) => {}
            Mode::Tx(_) => return precondition("cannot switch from tx to confirm mode"),
        }
        if !m.nowait {
            let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
            cx.send(self.number, AMQPClass::Confirm(ok));
        }
        Ok(())
    }

    /// `tx.select`.
    pub(crate) fn tx_select(&mut self, cx: &mut Cx<'_>) -> Handled {
        match &self.mode {
            Mode::Plain => self.mode = Mode::Tx(Box::default()),
            Mode::Tx(_) => {}
            Mode::Confirm(_) => return precondition("cannot switch from confirm to tx mode"),
        }
        cx.send(
            self.number,
            AMQPClass::Tx(AMQPMethod::SelectOk(SelectOk {})),
        );
        Ok(())
    }

    /// `tx.rollback`: publishes are forgotten, deliveries wait for an answer again.
    pub(crate) fn tx_rollback(&mut self, cx: &mut Cx<'_>) -> Handled {
        let transaction = self.take_transaction()?;
        self.ledger.put_back(transaction.into_answers());
        cx.send(
            self.number,
            AMQPClass::Tx(AMQPMethod::RollbackOk(RollbackOk {})),
        );
        Ok(())
    }

    /// `tx.commit`. The answer comes when all of it is on disk.
    pub(crate) fn tx_commit(&mut self, cx: &mut Cx<'_>) -> Handled {
        let transaction = self.take_transaction()?;
        let committer = Arc::clone(&cx.shared.committer);
        let mut rejected = false;
        let mut ticket = None;
        {
            let _one_batch = committer.batch_guard();
            for run in transaction
                .publishes
                .chunk_by(|a, b| Arc::ptr_eq(&a.queues, &b.queues))
            {
                let messages: Vec<Arc<Message>> = run
                    .iter()
                    .map(|publish| Arc::clone(&publish.ready.message))
                    .collect();
                for queue in run.iter().take(1).flat_map(|publish| publish.queues.iter()) {
                    let published = queue.publish(&messages);
                    rejected |= !published.rejected.is_empty() || queue.is_deleted();
                    ticket = ticket.max(published.ticket);
                }
            }
            for (how, taken) in &transaction.answers {
                ticket = ticket.max(self.settle_now(*how, taken));
            }
        }
        cx.unsynced.add(transaction.bytes, &committer);
        let mut answers = Vec::new();
        for Publish { ready, queues } in transaction.publishes {
            if !ready.requesters.is_empty() {
                answers.push(ready);
            } else if ready.mandatory && queues.is_empty() {
                put_return(cx, self.number, &ready.message);
            }
        }
        self.flush_credit(cx);
        let replies = Arc::clone(&cx.shared.front.replies);
        cx.later(self, async move {
            let durable = match ticket {
                Some(ticket) => committer.wait(ticket).await,
                None => Ok(()),
            };
            if durable.is_ok() {
                answer_all(&replies, answers).await;
            }
            done(move |channel, cx| {
                durable.map_err(|error| Refusal::new(Code::InternalError, error.to_string()))?;
                if rejected {
                    return precondition("partial tx completion");
                }
                cx.send(
                    channel.number,
                    AMQPClass::Tx(tx::AMQPMethod::CommitOk(CommitOk {})),
                );
                Ok(())
            })
        });
        Ok(())
    }

    /// Takes what the open transaction has gathered; the channel stays in transaction mode.
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

/// Sends the answers to requesters of direct reply-to that a transaction has held back.
async fn answer_all(replies: &Replies, answers: Vec<Ready>) {
    for ready in answers {
        for requester in &ready.requesters {
            if let Err(waiting) = replies.answer(requester, &ready.message) {
                waiting.deliver().await;
            }
        }
    }
}

fn precondition(text: &str) -> Handled {
    Err(Refusal::new(Code::PreconditionFailed, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Lease, Origin};

    fn message(bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties: bytes::Bytes::new(),
            body: Body::Whole(vec![0; bytes].into()),
            persistent: true,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
        })
    }

    fn ready(message: &Arc<Message>) -> Ready {
        Ready {
            message: Arc::clone(message),
            mandatory: false,
            requesters: Vec::new(),
        }
    }

    fn too_large() -> Handled {
        Err(Refusal::new(
            Code::ResourceError,
            "transaction is too large",
        ))
    }

    #[test]
    fn a_transaction_holds_so_many_bytes() {
        let mut transaction = Transaction::default();
        let mut publish =
            |message: &Arc<Message>| transaction.publish(ready(message), Arc::default());
        let part = message(TX_BYTES_MAX / 16);
        assert!((0..16).all(|_| publish(&part).is_ok()));
        assert_eq!(publish(&message(0)), Ok(()));
        assert_eq!(publish(&message(1)), too_large());
    }

    #[test]
    fn a_transaction_holds_so_many_publishes_and_answers() {
        let mut transaction = Transaction::default();
        let entry = Unacked {
            queue: 0,
            consumer: None,
            lease: Lease {
                offset: 0,
                turn: 0,
                lane: 0,
            },
            at_ms: 0,
        };
        transaction.answer(Settle::Ack, vec![(1, entry); TX_ENTRIES_MAX - 1]);
        let empty = message(0);
        let mut publish = || transaction.publish(ready(&empty), Arc::default());
        assert_eq!(publish(), Ok(()));
        assert_eq!(publish(), too_large());
        let mut transaction = Transaction::default();
        transaction.answer(Settle::Ack, vec![(1, entry); TX_ENTRIES_MAX]);
        assert_eq!(transaction.check(), Ok(()));
        transaction.answer(Settle::Requeue, vec![(1, entry)]);
        assert_eq!(transaction.check(), too_large());
    }
}
