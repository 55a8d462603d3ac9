//! LDAP: users log in by a bind to a directory server, and queries of the directory decide about tags and permissions,
//! as in RabbitMQ.

mod backend;
mod directory; // a connection to a server
mod evaluate; // answers queries
mod pattern; // texts with variables
mod pool; // connections
mod query; // the questions
mod settings;
mod term; // how queries are written
mod user;

pub use backend::Ldap;
pub use pool::LdapError;
pub use query::{InvalidQuery, Query, TagQueries, is_attribute, parse_tag_queries};
pub use settings::{Bind, DnLookup, Encryption, LdapSettings};
pub use user::LdapUser;
