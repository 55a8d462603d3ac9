//! Reads the body of a request into memory that the budget of request bodies has granted.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout};

use super::api::Api;
use super::body_budget::BodyMemory;
use super::error::CmqError;
use super::limits::{BODY_TIMEOUT, DISCARDED_BYTES_MAX};

/// Reads a whole body. Its memory is counted until the returned [`BodyMemory`] is dropped.
pub(super) async fn read(
    api: &Api,
    mut body: Incoming,
) -> Result<(Bytes, BodyMemory<'_>), CmqError> {
    let max = api.config.request_bytes_max();
    let mut memory = api.request_bodies.open();
    // A chunked body does not announce its size.
    if body.size_hint().upper().is_none_or(|size| size <= max)
        && let Some(bytes) = read_up_to(&mut body, max, &mut memory).await?
    {
        memory.set_complete();
        return Ok((bytes, memory));
    }
    drop(memory);
    // A client that is still writing would see a reset connection instead of the response.
    timeout(BODY_TIMEOUT, discard(&mut body))
        .await
        .map_err(|_| unreadable())?;
    Err(unreadable())
}

fn unreadable() -> CmqError {
    CmqError::Unreadable("request")
}

/// Reads the whole body; returns `None` if it is larger than `max`. Does not copy a body that came in one piece.
async fn read_up_to(
    body: &mut Incoming,
    max: u64,
    memory: &mut BodyMemory<'_>,
) -> Result<Option<Bytes>, CmqError> {
    let mut patience = BODY_TIMEOUT;
    let mut single = Bytes::new();
    let mut joined = BytesMut::new();
    loop {
        let begun = Instant::now();
        let frame = tokio::select! {
            biased;
            frame = timeout(patience, body.frame()) => frame.map_err(|_| unreadable())?,
            _ = memory.revoked() => return Err(unreadable()),
        };
        patience = patience.saturating_sub(begun.elapsed());
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(|_| unreadable())?.into_data() else {
            continue; // Trailers mean nothing here.
        };
        let bytes = single.len() + joined.len() + piece.len();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if bytes > max {
            return Ok(None);
        }
        memory.grow_to(bytes).await.map_err(|_| unreadable())?;
        if single.is_empty() && joined.is_empty() {
            single = piece;
            continue;
        }
        joined.extend_from_slice(&std::mem::take(&mut single));
        joined.extend_from_slice(&piece);
    }
    Ok(Some(match joined.is_empty() {
        true => single,
        false => joined.freeze(),
    }))
}

/// Reads the rest of a body, up to [`DISCARDED_BYTES_MAX`], and drops it.
async fn discard(body: &mut Incoming) {
    let mut left = DISCARDED_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        left = left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
        if left == 0 {
            return;
        }
    }
}
