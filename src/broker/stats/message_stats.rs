//! The counters of messages, under RabbitMQ's names. Plain data: each object fills in those that it counts.

use super::counter::family;

family! {
    /// Numbers of messages.
    MessageStats {
        /// Published by clients; for a queue: enqueued.
        publish,
        /// Confirmed to their publishers.
        confirm,
        /// Delivered to consumers that acknowledge.
        deliver,
        /// Delivered to consumers that do not acknowledge.
        deliver_no_ack,
        /// Fetched or received, to be acknowledged or deleted.
        get,
        /// Fetched without acknowledgement.
        get_no_ack,
        /// Attempts to fetch from an empty queue.
        get_empty,
        /// Deliveries and fetches of messages that had been handed out before.
        redeliver,
        /// Acknowledged, or deleted by receipt handle.
        ack,
        /// Mandatory messages that no queue got, returned to their publishers.
        return_unroutable,
        /// Other messages that no queue got.
        drop_unroutable,
        /// Messages that an exchange got from publishers.
        publish_in,
        /// Copies of messages that an exchange passed to queues.
        publish_out,
        /// Messages read from disk.
        disk_reads,
        /// Messages written to disk.
        disk_writes,
    }
}

family! {
    /// What publishers of one protocol do.
    Published, raised as PublishedCounters {
        /// Messages received.
        received,
        /// Messages received on channels that confirm.
        received_confirm,
        confirmed,
        /// Copies passed to queues.
        routed,
        unroutable_dropped,
        unroutable_returned,
    }
}

family! {
    /// What queues hand out. See [`MessageStats`] for the fields.
    HandedOut, raised as HandedOutCounters {
        deliver,
        deliver_no_ack,
        get,
        get_no_ack,
        get_empty,
        redeliver,
        ack,
    }
}

family! {
    /// Messages that left a queue without an ack, by reason.
    Deaths, raised as DeathCounters {
        maxlen,
        expired,
        rejected,
        delivery_limit,
    }
}

impl MessageStats {
    /// Everything handed out.
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }

    pub fn add_published(&mut self, published: &Published) {
        self.publish += published.received;
        self.confirm += published.confirmed;
        self.return_unroutable += published.unroutable_returned;
        self.drop_unroutable += published.unroutable_dropped;
    }

    pub fn add_handed_out(&mut self, handed_out: &HandedOut) {
        self.deliver += handed_out.deliver;
        self.deliver_no_ack += handed_out.deliver_no_ack;
        self.get += handed_out.get;
        self.get_no_ack += handed_out.get_no_ack;
        self.get_empty += handed_out.get_empty;
        self.redeliver += handed_out.redeliver;
        self.ack += handed_out.ack;
    }
}

impl Published {
    /// Whether there is nothing to count.
    pub fn is_empty(&self) -> bool {
        *self == Published::default()
    }
}
