//! The handlers of methods, a file per subject. A handler checks the request, asks the broker and replies. If
//! it has to wait, the rest of it is a closure that runs later.

mod ack;
mod consume;
mod consume_arguments;
mod dispatch;
mod exchange;
mod get;
mod publish;
mod qos;
mod queue;
mod rewind;
mod tx;
