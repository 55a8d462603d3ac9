//! Leveret: a durable message broker that speaks AMQP 0-9-1 and CMQ. This file maps its rooms, one per line.
//! Dependence points one way: `wire` <- `model` <- `store` <- `broker` <- front doors <- `server`.

pub mod amqp; // the AMQP 0-9-1 front door: connections and channels
pub mod auth; // logins and permissions that other systems decide
pub mod broker; // virtual hosts, exchanges, queues, users, permissions
pub mod cli; // the command line
pub mod clock; // the broker's time line; the only reader of the clocks
pub mod cluster; // several nodes that hold the whole broker
pub mod cmq; // the CMQ front door: its HTTP API
pub mod config; // options: flag, environment, file, default
pub mod ctl; // the command line that manages a running broker
mod definitions_file; // reads, writes, imports and exports definitions files
pub mod files; // file descriptors and their division
pub mod fsck; // verifies the data directory of a stopped broker
pub mod http; // serves HTTP requests on one connection
pub mod logging; // the log, its last lines and its level
pub mod management; // the management HTTP API and the web page
pub mod manual; // man pages and completions of shells
pub mod memory; // resident memory and the memory alarm
pub mod metrics; // numbers for Prometheus
pub mod migrate; // moves from another broker
pub mod model; // names, ids, messages, queue arguments: plain data
pub mod nearest; // the name that was probably meant
pub mod net; // sockets: accepts connections within limits, plain or TLS
pub mod node; // this node's name
pub mod pool; // threads for blocking work
pub mod rabbitmq_conf; // reads rabbitmq.conf: its keys as values of our options
pub mod seldom; // limits log lines that a peer can cause at will
pub mod server; // builds a broker from its configuration and runs it
pub mod service_manager; // tells systemd how the broker is
pub mod shovel; // moves messages from broker to broker
pub mod shutdown; // the signals that end the process
pub mod store; // durable records: chunks of messages, commit, recovery
pub mod views; // what operators see: plain data
pub mod wire; // AMQP 0-9-1 bytes: frames, methods, content headers, tables
