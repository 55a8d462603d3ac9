//! Messages that move from broker to broker.

mod engine; // links and pumps
mod proxy; // a network that breaks
