//! Creations of exchanges and queues that are under way together, so that they share syncs of the disk.

use tokio::task::JoinSet;

use super::error::{ImportError, refused};
use crate::broker::error::BrokerError;
use crate::model::Name;

/// Maximum number of changes under way.
const UNDER_WAY_MAX: usize = 512;

/// An entry that exists otherwise: virtual host and name.
pub(super) type Other = (Name, Name);

/// Changes under way, a bounded number. Dropped, those that are on their way to the disk are still applied.
#[derive(Default)]
pub(super) struct UnderWay(JoinSet<Result<Option<Other>, BrokerError>>);

impl UnderWay {
    pub(super) fn start(
        &mut self,
        change: impl Future<Output = Result<Option<Other>, BrokerError>> + Send + 'static,
    ) {
        self.0.spawn(change);
    }

    /// Waits until another change may start; returns what exists otherwise.
    pub(super) async fn make_room(&mut self) -> Result<Vec<Other>, ImportError> {
        let mut others = Vec::new();
        while self.0.len() >= UNDER_WAY_MAX {
            others.extend(self.next().await?);
        }
        Ok(others)
    }

    pub(super) async fn finish(mut self) -> Result<Vec<Other>, ImportError> {
        let mut others = Vec::new();
        while !self.0.is_empty() {
            others.extend(self.next().await?);
        }
        Ok(others)
    }

    async fn next(&mut self) -> Result<Option<Other>, ImportError> {
        match self.0.join_next().await {
            None => Ok(None),
            Some(Ok(outcome)) => outcome.map_err(refused),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
