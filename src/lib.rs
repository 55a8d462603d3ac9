//! Leveret: a durable message broker that speaks AMQP 0-9-1 and CMQ. This file maps its rooms, one per line.
//! Dependence points one way: `wire` <- `model` <- `store` <- `broker` <- front doors <- `server`.

pub mod accept; // the loop that accepts connections, for any front door
pub mod amqp; // the AMQP 0-9-1 front door: connections and channels
pub mod broker; // virtual hosts, users, permissions: what the broker does
pub mod cli; // the command line
pub mod clock; // the one reader of the clocks
pub mod cmq; // the front door for clients of CMQ: its HTTP API
pub mod config; // what the broker can be told
pub mod ctl; // the command line that manages a running broker
pub mod files; // file descriptors, and who gets how many
pub mod memory; // the watch over resident memory
pub mod model; // names, ids, messages: plain data
pub mod node; // this node's name
pub mod pool; // threads for work that blocks
pub mod seldom; // log lines that a peer can bring about at will
pub mod server; // builds a broker from its configuration and runs it
pub mod shutdown; // the signals that end the process
pub mod store; // durable records: chunks of messages, commit, recovery
pub mod wire; // AMQP 0-9-1 bytes: frames, methods, content headers, tables
