//! The broker, independent of protocols: virtual hosts, exchanges, queues, users and their permissions.
//! Knows no channel numbers, reply codes or sockets.

pub mod alarms; // memory and disk: they block publishers
#[expect(
    clippy::module_inception,
    reason = "the room is named after what it holds"
)]
pub mod broker; // virtual hosts, users, and shared services
pub mod connections; // open connections, for operators
pub mod definitions; // changes of everything that clients and operators declare
pub mod error; // refusals
pub mod exchange; // exchanges and their bindings, per type
pub mod firehose; // copies of publishes and deliveries, for operators
pub mod first_start; // what a first start writes
mod hashing; // fair access to password hashing
pub mod limits; // limits per user and virtual host
mod logins; // verified logins, remembered for a minute
mod new_vhosts; // what new virtual hosts get
pub mod parameters; // global ones, and those of virtual hosts
pub mod password; // password hashes
pub mod permissions; // patterns per user and virtual host
pub mod policies; // the policies of a virtual host
pub mod properties; // checks of messages' properties
pub mod queue; // queues: the state machine and its shell
mod recent; // counts that halve with time
pub mod routing; // from an exchange to queues
pub mod secrets; // keys that sign requests over HTTP
pub mod session; // permission checks of one connection
pub mod stats; // counters and rates
mod timekeeper; // the broker's time line over a restart
pub mod users; // users and their permissions
pub mod vhost; // exchanges, queues and bindings of a virtual host
pub mod vhosts; // the list of virtual hosts
