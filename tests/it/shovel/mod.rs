//! Messages that move from broker to broker.

mod dynamic; // shovels by parameter
mod engine; // links and pumps
mod far_end; // the other broker: its certificate, its alarms
mod proxy; // a network that breaks
