//! The summary of a run, as text and as JSON. Turns measurements into rates and shares.

mod load;
mod settings;
mod summary;

pub(crate) use load::LoadReport;
pub(crate) use settings::Settings;
pub(crate) use summary::{NoDetails, Report, Summary};
