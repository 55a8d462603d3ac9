//! Lists as RabbitMQ answers them: filtered by name, sorted by any field, in pages, with the columns asked for. A list
//! is a snapshot of cheap handles; its rows become JSON as the client takes them.

mod body; // rows on their way to the socket
mod columns; // parts of JSON
mod order; // how values compare
mod page; // which rows a page has
mod query; // the parameters of a request
mod row;

pub(super) use query::ListQuery;
pub(super) use row::Row;

use axum::response::Response;
use utoipa::ToSchema;

use self::body::ListBody;
use self::columns::Columns;
use self::order::sort;
use self::page::{PageHead, PageRequest, select};
use super::error::ApiError;

/// The two forms of a list, for the document only: rows leave one by one.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes answers")]
pub(super) enum Listing<T: ToSchema> {
    /// Without `page`.
    All(Vec<T>),
    /// With `page`.
    Page {
        #[serde(flatten)]
        head: PageHead,
        items: Vec<T>,
    },
}

/// Answers with a list: all rows in an array, or a page of them with its numbers.
pub(super) async fn list<R: Row>(
    query: &ListQuery,
    mut rows: Vec<R>,
) -> Result<Response, ApiError> {
    let page = PageRequest::parse(query)?;
    let total = rows.len();
    if let Some(page) = &page {
        page.filter(&mut rows).await;
    }
    let mut rows = sort(query, rows).await;
    let head = match &page {
        Some(page) => Some(select(page, total, &mut rows)?),
        None => None,
    };
    let columns = Columns::parse(query.columns.as_deref());
    Ok(ListBody::new(head, rows, columns).into_response())
}

/// Answers with one object, or with the columns of it that are asked for.
pub(super) fn object<T: serde::Serialize>(
    query: &ListQuery,
    object: &T,
) -> Result<Response, ApiError> {
    let columns = Columns::parse(query.columns.as_deref());
    body::object(object, &columns)
}
