//! Runtime parameters: global ones with any JSON value, and those of virtual hosts, which belong to a component. The
//! broker's components keep their values as definitions of their own, so this room only leads to them.

mod error;
mod global; // parameters of the whole broker
pub mod runtime; // parameters of virtual hosts, by component
mod shovels; // definitions of shovels

pub use error::ParameterError;
pub use global::{CLUSTER_NAME, GlobalParameters, IMPORTED_HASH, INTERNAL_CLUSTER_ID};
pub use shovels::{SHOVELS_MAX, ShovelKey, ShovelParameters};
