//! Queues: logs of messages that are handed out to consumers. ARCHITECTURE.md draws how the parts work together.

mod budget; // memory that all queues share
mod carry_out; // carries out the effects of a command
mod channel_limiter; // the prefetch limit of a whole channel
mod chunk_state; // whether a chunk is gathered or written
mod commands; // commands of connections and operators
mod consumer; // a consumer, its deliveries and credit
mod count; // counts what the queue does
mod counts; // a queue's numbers
mod dead_letter; // builds and publishes dead letters
mod death; // why messages leave without an ack
mod delayed; // messages that wait for their time
mod durability; // which messages a restart finds
mod durable_watch; // tells a stream which batches are durable
mod effects; // effects of commands
mod held_leases; // leases that return unless they are taken
mod kind; // which state machine a queue is
mod lane; // one log with its state in memory
mod machine; // the interface of the state machines
mod offsets; // settled and gone offsets, and their records on disk
mod outlets; // sinks and channel limits of consumers
mod reading; // reads on threads that may block
mod receive; // receiving without a consumer
mod reconfigure; // changes of a live queue's arguments
mod rewind; // makes acked messages ready again
mod settings; // what a queue was given, and the effective arguments
mod shell; // the lock around the state machine
#[cfg(test)]
mod simulation; // several queues, clients, batches and crashes against an oracle
mod spec; // a queue's fixed properties
mod stream; // the state machine of a stream
mod timers; // deadlines of all queues
mod work_queue; // the state machine of a work queue

pub use budget::MemoryBudget;
pub use channel_limiter::ChannelLimiter;
pub use commands::Published;
pub use consumer::{
    ConsumeError, ConsumerInfo, Credit, Delivery, DeliverySink, NewConsumer, ReturnCounts,
};
pub use counts::{Counts, StreamExtent};
pub use dead_letter::letter::DeadLetter;
pub use dead_letter::line::Letters;
pub use death::DeathReason;
pub use effects::{Acknowledgement, Got};
pub use held_leases::HeldLeases;
pub use outlets::Outlet;
pub use reading::threads::QueueThreads;
pub use receive::receipt_handle::{InvalidReceiptHandle, ReceiptHandle};
pub use receive::received::{RECEIVE_VISIBILITY_MS_DEFAULT, Received};
pub use receive::received_batch::ReceivedBatch;
pub use receive::waiting::{RECEIVE_BYTES_MAX, RECEIVE_MESSAGES_MAX};
pub use rewind::command::Rewound;
pub use rewind::plan::RewindError;
pub use rewind::rewind_to::{InvalidRewindTo, RewindTo};
pub use shell::{LetterRoutes, Queue, QueueGone, QueueOwner, QueueServices};
pub use spec::QueueSpec;
pub use timers::Timers;
