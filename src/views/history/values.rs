//! The numbers of a subject now.

use super::subject::{Subject, Values};
use crate::broker::stats::Totals;
use crate::views::node::QueueTotals;
use crate::views::sources::Views;
use crate::{files, memory};

impl Views {
    /// `None` if the subject does not exist.
    pub(super) fn values(&self, subject: &Subject) -> Option<Values> {
        match subject {
            Subject::Node => Some(self.node_values()),
            Subject::Vhost(name) => {
                let vhost = self.vhost_of(name)?;
                let totals = QueueTotals::of(&vhost.unordered_queues());
                Some(shared_values(&vhost.stats().totals(), totals))
            }
            Subject::Queue { vhost, name } => {
                let queue = self.vhost_of(vhost)?.queue(name)?;
                let counts = queue.counts();
                Some(Values {
                    messages: queue.stats().messages(),
                    ready: counts.ready,
                    unacked: counts.unacked,
                    ..Values::default()
                })
            }
            Subject::Exchange { vhost, name } => {
                let exchange = self.vhost_of(vhost)?.exchange(name)?;
                Some(Values {
                    messages: exchange.stats.messages(),
                    ..Values::default()
                })
            }
            Subject::Connection(id) => {
                let status = self.broker.connections().status(*id)?;
                Some(Values {
                    received_bytes: status.received_bytes,
                    sent_bytes: status.sent_bytes,
                    ..Values::default()
                })
            }
            Subject::Channel(id, number) => {
                let channels = self.broker.connections().status(*id)?.channels;
                let channel = channels.iter().find(|channel| channel.number == *number)?;
                Some(Values {
                    messages: channel.message_stats,
                    ..Values::default()
                })
            }
        }
    }

    fn node_values(&self) -> Values {
        let mut queues = QueueTotals::default();
        for vhost in self.broker.vhost_list() {
            queues.add(QueueTotals::of(&vhost.unordered_queues()));
        }
        let stats = self.broker.stats();
        Values {
            churn: stats.churn(),
            mem_used: memory::resident_bytes(),
            fd_used: files::used().unwrap_or(0),
            disk_free: self.broker.committer().store().free_bytes().unwrap_or(0),
            connections: self.broker.connections().len() as u64,
            ..shared_values(&stats.totals(), queues)
        }
    }
}

fn shared_values(totals: &Totals, queues: QueueTotals) -> Values {
    Values {
        messages: totals.messages(),
        ready: queues.ready,
        unacked: queues.unacked,
        received_bytes: totals.received_bytes,
        sent_bytes: totals.sent_bytes,
        ..Values::default()
    }
}
