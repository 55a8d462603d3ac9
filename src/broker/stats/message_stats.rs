//! The counters of messages, under RabbitMQ's names. Plain data: each object fills in those that it counts.

/// Declares [`MessageStats`] with functions that treat all counters alike.
macro_rules! message_stats {
    ($($(#[$doc:meta])* $counter:ident,)*) => {
        /// Numbers of messages, or with `f64` messages per second.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct MessageStats<T = u64> {
            $($(#[$doc])* pub $counter: T,)*
        }

        impl<T: Copy> MessageStats<T> {
            /// Combines each counter with the same one of `other`.
            pub fn zip<U: Copy, R>(
                &self,
                other: &MessageStats<U>,
                combine: impl Fn(T, U) -> R,
            ) -> MessageStats<R> {
                MessageStats { $($counter: combine(self.$counter, other.$counter),)* }
            }

            /// All counters with their names.
            pub fn named(&self) -> [(&'static str, T); [$(stringify!($counter)),*].len()] {
                [$((stringify!($counter), self.$counter),)*]
            }
        }
    };
}

message_stats! {
    /// Published by clients; for a queue: enqueued.
    publish,
    /// Confirmed to their publishers.
    confirm,
    /// Delivered to consumers that acknowledge.
    deliver,
    /// Delivered to consumers that do not acknowledge.
    deliver_no_ack,
    /// Fetched one by one or received, to be acknowledged or deleted.
    get,
    /// Fetched one by one without acknowledgement.
    get_no_ack,
    /// Attempts to fetch from an empty queue.
    get_empty,
    /// Deliveries and fetches of messages that had been handed out before.
    redeliver,
    /// Acknowledged, or deleted by receipt handle.
    ack,
    /// Mandatory messages that no queue got, returned to their publishers.
    return_unroutable,
    /// Messages that no queue got and that were dropped.
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

impl MessageStats {
    /// Everything handed out.
    pub fn deliver_get(&self) -> u64 {
        self.deliver + self.deliver_no_ack + self.get + self.get_no_ack
    }
}

impl std::ops::AddAssign for MessageStats {
    fn add_assign(&mut self, other: MessageStats) {
        *self = self.zip(&other, |own, others| own + others);
    }
}
