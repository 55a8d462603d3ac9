//! Verifies all that is on disk: the files of the database, the entries of the log that a start may need, the records,
//! and the chunks. Changes nothing.
//!
//! Chunks are read in the order of their places, so that reading is sequential; the database has them in the order of
//! logs. Their addresses are therefore gathered in parts of bounded size, one search through the database for each.

mod access; // looks into the database, a short time each
mod chunks; // chunks, in the order of their places
mod contents; // what a data directory holds, and its digest
mod keep; // copies of damaged bytes
mod records; // records, and messages that no chunk holds
mod running; // an open store
mod shadow; // a copy of a database that may be changed
mod stopped; // a data directory that no broker uses
mod verifier; // progress and findings

pub use contents::Contents;
pub use stopped::StoppedStore;
