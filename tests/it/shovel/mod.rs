//! Messages that move from broker to broker.

mod dynamic; // shovels by parameter
mod engine; // links and pumps
mod proxy; // a network that breaks
