//! Integration tests: real brokers, real sockets. One module per subject.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that fails panics, and its helpers with it"
)]

mod arbitrary_input; // peers that send random frames and bytes
mod auth; // logins and permissions that other systems decide
mod backlog; // more messages than memory
mod blocked_publishers; // alarms, a slow disk and full queues hold publishers back
mod clock_changes; // a wall clock that jumps while the broker runs
mod closing; // which side closes a connection, when, and how
mod cluster; // sets of nodes
mod cmq; // CMQ's HTTP API
mod config; // every option is used
mod confirms; // publishing: confirms, returns, queues that refuse messages
mod connection; // channel errors, heartbeats, alarms, what operators see
mod connection_capacity; // floods of connections
mod consumer_handover; // unacked messages of a channel or connection that ends
mod consuming; // deliveries, acknowledgements, the end of consumers
mod ctl; // leveret ctl against a running broker
mod damaged_files; // a disk that does not return all that was written
mod dead_letters; // dead lettering
mod delayed_messages; // x-delay
mod firehose; // copies of publishes and deliveries
mod fsck; // damage that is found, named and kept aside
mod leases; // visibility timeouts and receipt handles
mod limits; // limits of a connection, at and past them
mod management; // the management HTTP API
mod manual; // man pages and completions
mod metrics; // numbers for Prometheus
mod migrate; // moving messages from another broker
mod net; // sockets: TLS
mod new_vhosts; // users and limits that new virtual hosts get
mod old_data_directories; // data directories that earlier builds wrote
mod permissions; // rights that change, limits of users
mod policies; // policies of live queues and exchanges
mod prefetch; // limits on unacked messages
mod process; // the binary as a process
mod protocol_errors; // frames and methods that break the rules
mod queue_overrides; // settings of a queue made after its declaration
mod reload; // RabbitMQ's configuration, and SIGHUP
mod reply_to; // direct reply-to
mod returned_messages; // rests and consumer timeouts of quorum queues
mod rewind; // acked messages that are read again
mod rewind_scale; // the cost of rewinding a million messages
mod service_manager; // what systemd is told
mod shovel; // messages that move from broker to broker
mod stats; // counters move as messages move
mod streams; // streams
mod support; // a broker for each test, and a peer that speaks raw AMQP
mod transactions; // tx
