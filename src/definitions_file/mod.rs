//! Definitions files: everything that clients and operators declared, as one JSON document in RabbitMQ's format. Reads
//! those of RabbitMQ 3.8 to 4.3, and writes documents that RabbitMQ can import. Reading a document is pure; importing it
//! makes every change through the doors of the broker.

mod document; // what a document holds
mod entries; // users, virtual hosts, permissions, parameters
mod export; // from the broker to a document
mod import; // from a document to the broker
mod own; // what RabbitMQ does not know and ignores
mod plan; // a document with every value checked
mod report; // what an import came to
mod topology; // exchanges, queues, bindings, policies

pub(crate) use document::{DOCUMENT_BYTES_MAX, NotADocument};
pub(crate) use export::{export, export_vhost};
pub(crate) use import::{ImportError, Imported, Repetition, import};
pub(crate) use plan::Scope;
pub(crate) use report::Progress;
