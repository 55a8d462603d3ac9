//! What one authenticated connection may do with exchanges, queues and bindings: the permissions of its user and the
//! owner of exclusive queues are checked as RabbitMQ checks them and in its order, then the virtual host acts.
//! What is durable is on disk when a method returns. Knows no channel.

mod bindings;
mod checks; // the session, and what all its methods check
mod exchanges;
mod queues;
#[cfg(test)]
mod tests;

pub use checks::Session;
pub use exchanges::DeclareExchange;
pub use queues::{DeclareQueue, QueueDeclared, generated_name};
