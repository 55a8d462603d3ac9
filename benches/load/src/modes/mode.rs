//! What all modes have in common.

use std::fmt::Display;

use serde::Serialize;

use crate::error::BenchError;
use crate::load::Progress;
use crate::report::Summary;

/// A measurement. The type holds its options.
pub(crate) trait Mode {
    /// The results that only this mode has.
    type Details: Serialize + Display + 'static;

    fn run(&self, progress: Progress) -> Result<Summary<Self::Details>, BenchError>;
}
