//! Numbers over time: samples of what operators have looked at lately, and of the whole broker; rates follow from them.
//! Objects that no operator looks at have no samples, and statistics of them cost no memory.

mod samples; // samples of one object, and what follows from them
mod sampling; // takes samples
mod subject; // what can be looked at
mod values; // the numbers of a subject now
mod watched; // the samples of everything that is looked at

pub use samples::{History, Rated, Window};
pub use subject::{Subject, Values};
pub use watched::Depth;
pub(super) use watched::Watched;
