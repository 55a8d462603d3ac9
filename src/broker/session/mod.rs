//! The session of one authenticated connection with exchanges, queues and bindings. It checks the user's
//! permissions and the owner of exclusive queues as RabbitMQ does and in its order; then the virtual host
//! acts. When a method returns, its durable changes are on disk. Knows no channel.

mod bindings;
mod checks; // the session, and the checks of all its methods
mod exchanges;
mod moving; // of messages from queue to queue
mod publish; // of single messages
mod queues;
mod restore; // of messages that come from another broker
mod super_streams;
#[cfg(test)]
mod tests;
mod traces; // of what operators publish and get

pub use checks::Session;
pub use exchanges::DeclareExchange;
pub use moving::Moved;
pub use publish::{PublishError, PublishOne};
pub use queues::{DeclareQueue, QueueDeclared, generated_name};
pub use super_streams::{Partition, SuperStreamError};
