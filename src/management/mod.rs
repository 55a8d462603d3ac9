//! The front door for operators: RabbitMQ's management HTTP API, its OpenAPI document and the web page. Knows HTTP,
//! JSON, tags and rights; what happens to a queue is the broker's.
//!
//! A request walks from `front` through `router` to the handler of its path, in a file per subject. The handler's
//! arguments check the request: `Caller` the login, `Path` the names, `Json` the body, `ListQuery` how to list.

mod api; // what all requests share
mod bindings; // bindings
mod caller; // who calls, and with which rights
mod certificates; // the health check of certificates
mod channels; // channels
mod config; // options
mod connections; // connections
mod consumers; // consumers
mod date_time; // times of day in JSON
mod definitions; // definitions, exported and imported
mod entering; // where a caller may act
mod error; // refusals, as JSON
mod exchange_types; // the types of exchanges
mod exchanges; // exchanges
mod features; // feature flags, deprecated features
mod front; // listeners
mod global_parameters; // parameters of the whole broker
mod health; // health checks
mod json; // bodies of requests and responses
mod leveret; // what RabbitMQ has not
mod limits; // fixed bounds
mod listing; // filters, sorts and pages lists
mod logins; // logins by a form, and their number
mod maintenance; // hashing a password, configuration, statistics
mod multipart; // forms with a file
mod nodes; // the node and its memory
mod openapi; // the document that describes the API
mod overview; // the broker as a whole
mod parameters; // parameters of virtual hosts
mod path; // names in paths
mod permissions; // permissions in virtual hosts
mod policies; // policies and operator policies
mod policies_json; // the policies of an object
mod properties_json; // properties of messages
mod queues; // queues
mod ranges; // how much of the past to show
mod router; // all paths
mod shovels;
mod static_files; // the web page
mod stats_json; // counters
mod topic_permissions; // routing keys that users may use
mod turned_away; // clients of a node that cannot serve them
mod user_error; // refusals of changes of users
mod user_limits; // limits of users
mod users; // users
mod vhost_limits; // limits of virtual hosts
mod vhosts; // virtual hosts
mod words; // tags in bodies

pub use config::ManagementConfig;
pub use front::Front;
pub use turned_away::turn_away;
