//! The firehose: while tracing is on in a virtual host, copies of its publishes and deliveries go to the exchange
//! `amq.rabbitmq.trace`. The front doors ask [`Vhost::is_traced`](super::vhost::Vhost::is_traced) and call this room
//! only then. Source: RabbitMQ's "Firehose Tracer" page, checked against RabbitMQ 4.0.5 and 4.3.6.

mod copies; // from a publish or delivery to the queues of the exchange
mod headers; // what the copy says about it

pub use copies::{Copied, trace_delivery, trace_publish};
pub use headers::{Client, TracedDelivery, TracedPublish};
