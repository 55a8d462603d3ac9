//! The parameters of lists. All are text, so that wrong ones are refused in RabbitMQ's words.

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::management::error::ApiError;

/// How to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::management) struct ListQuery {
    /// Answer with this page, counted from 1. Without it, with the whole list.
    pub(in crate::management) page: Option<String>,
    /// Rows of a page, 500 at most; 100 by default.
    pub(in crate::management) page_size: Option<String>,
    /// Show only rows whose name contains this text. Counts in pages only.
    pub(in crate::management) name: Option<String>,
    /// `true` makes `name` a regular expression.
    pub(in crate::management) use_regex: Option<String>,
    /// Sort by this field first; dots lead into objects.
    pub(in crate::management) sort: Option<String>,
    /// `true` sorts downwards.
    pub(in crate::management) sort_reverse: Option<String>,
    /// Show these fields only, separated by commas; dots lead into objects.
    pub(in crate::management) columns: Option<String>,
    /// `true` leaves out statistics.
    pub(in crate::management) disable_stats: Option<String>,
    /// `true` shows the numbers of messages even without statistics.
    pub(in crate::management) enable_queue_totals: Option<String>,
}

impl ListQuery {
    pub(in crate::management) fn shows_stats(&self) -> bool {
        self.disable_stats.as_deref() != Some("true")
    }

    pub(in crate::management) fn shows_queue_totals(&self) -> bool {
        self.shows_stats() || self.enable_queue_totals.as_deref() == Some("true")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<ListQuery, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(query),
            Err(rejection) => Err(ApiError::BadRequest(rejection.body_text())),
        }
    }
}
