//! What each method does, one file per subject. A handler checks what AMQP says about the request, asks the broker, and
//! answers; what has to be waited for goes on in a closure when it is there.

pub(super) mod ack;
mod consume;
mod dispatch; // which handler a method has
mod exchange;
pub(super) mod get;
pub(super) mod publish;
mod qos;
mod queue;
mod rewind;
pub(super) mod tx;
