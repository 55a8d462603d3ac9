//! The summary of a run.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use serde_json::Value;

use super::load::LoadReport;
use super::settings::Settings;

/// `D` holds the results that only one mode has.
#[derive(Debug, Serialize)]
pub(crate) struct Summary<D> {
    pub(crate) mode: &'static str,
    /// The broker's product and version.
    pub(crate) broker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settings: Option<Settings>,
    /// The loads in their order.
    pub(crate) loads: Vec<LoadReport>,
    #[serde(flatten)]
    pub(crate) details: D,
    /// No message was lost, repeated, out of order, early or refused.
    pub(crate) ok: bool,
}

/// A summary of any mode.
pub(crate) trait Report: Display {
    fn json(&self) -> Value;
    fn is_ok(&self) -> bool;
}

impl<D: Serialize + Display> Report for Summary<D> {
    fn json(&self) -> Value {
        serde_json::to_value(self).expect("keys are strings")
    }

    fn is_ok(&self) -> bool {
        self.ok
    }
}

/// For modes that have only loads.
#[derive(Debug, Serialize)]
pub(crate) struct NoDetails {}

impl Display for NoDetails {
    fn fmt(&self, _: &mut Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl<D: Display> Display for Summary<D> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {}", self.mode, self.broker)?;
        self.settings
            .iter()
            .try_for_each(|settings| settings.fmt(f))?;
        self.loads.iter().try_for_each(|load| load.fmt(f))?;
        self.details.fmt(f)?;
        writeln!(f, "{}", if self.ok { "ok" } else { "NOT OK" })
    }
}
