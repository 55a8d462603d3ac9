//! Numbers over time: samples of what operators have looked at lately, and of the whole broker; rates follow from them.
//! Nothing else has samples, so that statistics cost no memory for objects that nobody looks at.

mod samples; // samples of one object, and what follows from them
mod sampling; // takes samples
mod subject; // what can be looked at
mod values; // the numbers of a subject now
mod watched; // the samples of everything that is looked at

pub use samples::{History, Rated, Window};
pub use subject::{Subject, Values};
pub use watched::Depth;
pub(super) use watched::Watched;
