//! A list on its way to the socket: rows become JSON in pieces, as the client takes them, so that a long list with a
//! slow client takes no more memory than its handles.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Serialize;

use super::columns::Columns;
use super::page::PageHead;
use super::row::Row;
use crate::management::error::ApiError;
use crate::management::limits::LIST_PIECE_BYTES;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The body of a list's response.
pub(super) struct ListBody<R> {
    /// What stands before the rows; empty once it is sent.
    head: Vec<u8>,
    rows: std::vec::IntoIter<R>,
    columns: Columns,
    /// What stands after the rows; empty once it is sent.
    tail: &'static [u8],
    is_first: bool,
}

impl<R: Row> ListBody<R> {
    pub(super) fn new(head: Option<PageHead>, rows: Vec<R>, columns: Columns) -> ListBody<R> {
        let (head, tail): (Vec<u8>, &[u8]) = match head {
            None => (b"[".to_vec(), b"]"),
            Some(head) => {
                let mut head = serde_json::to_vec(&head).unwrap_or_default();
                head.pop(); // the closing brace
                head.extend_from_slice(b",\"items\":[");
                (head, b"]}")
            }
        };
        ListBody {
            head,
            rows: rows.into_iter(),
            columns,
            tail,
            is_first: true,
        }
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = Response::new(Body::new(self));
        response.headers_mut().insert(CONTENT_TYPE, JSON);
        response
    }

    fn next_piece(&mut self) -> Vec<u8> {
        let mut piece = std::mem::take(&mut self.head);
        while piece.len() < LIST_PIECE_BYTES {
            let Some(row) = self.rows.next() else {
                piece.extend_from_slice(std::mem::take(&mut self.tail));
                break;
            };
            if !std::mem::take(&mut self.is_first) {
                piece.push(b',');
            }
            write(&mut piece, &row.json(), &self.columns);
        }
        piece
    }
}

impl<R: Row> hyper::body::Body for ListBody<R> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.next_piece();
        match piece.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_empty()
    }
}

/// The response with one object.
pub(super) fn object<T: Serialize>(object: &T, columns: &Columns) -> Result<Response, ApiError> {
    let mut json = Vec::new();
    write(&mut json, object, columns);
    Ok(([(CONTENT_TYPE, JSON)], json).into_response())
}

fn write<T: Serialize>(out: &mut Vec<u8>, object: &T, columns: &Columns) {
    let written = match columns {
        Columns::All => serde_json::to_writer(out, object),
        Columns::Only(_) => serde_json::to_value(object)
            .and_then(|value| serde_json::to_writer(out, &columns.extract(value))),
    };
    if let Err(error) = written {
        tracing::error!(%error, "an object of the management API has no JSON");
    }
}
