//! The answers of backends about what a user may do.

use std::pin::Pin;
use std::time::Instant;

use super::backend::External;
use crate::model::Name;

/// Whether a user may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Denied,
    /// The backend could not be asked, which is a refusal with a reason.
    Failed {
        backend: External,
        why: Name,
    },
}

/// A verdict, and how long it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// `None`: as long as the login.
    pub until: Option<Instant>,
}

/// A decision that is known, or that a backend has to make.
pub enum Answer {
    Known(Decision),
    Asked(Pin<Box<dyn Future<Output = Decision> + Send>>),
}
