//! Deleting messages by the handles of their receives, one and in batches. An answer leaves when it is on disk that
//! they are gone.

use super::super::dispatch::{Call, Outcome};
use super::super::error::CmqError;
use super::super::rate_limits::Kind;
use super::super::response::Response;
use crate::broker::permissions::Permission;
use crate::broker::queue::Handle;

/// `DeleteMessage`.
pub(in super::super) async fn one(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    call.within_quota(Kind::Delete, queue.id().0)?;
    let handle = parse(call.parameters.required("receiptHandle")?)?;
    let (valid, ticket) = queue.delete_received(&[handle]);
    if valid != [true] {
        return Err(CmqError::InvalidHandle);
    }
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// `BatchDeleteMessage`: those that can be are deleted, the others are named.
pub(in super::super) async fn batch(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    call.within_quota(Kind::BatchDelete, queue.id().0)?;
    let entries = call
        .parameters
        .list("receiptHandle", call.front.config.batch_max)?;
    if entries.is_empty() {
        return Err(CmqError::Missing("receiptHandle.n".to_owned()));
    }
    let parsed: Vec<_> = entries.iter().map(|(_, text)| parse(text)).collect();
    let handles: Vec<Handle> = parsed.iter().flatten().copied().collect();
    let (valid, ticket) = queue.delete_received(&handles);
    call.durable(ticket).await?;
    let mut valid = valid.into_iter();
    let outcomes = parsed.into_iter().map(|parsed| {
        let known = parsed.map(|_| valid.next() == Some(true));
        known.and_then(|valid| {
            if valid {
                Ok(())
            } else {
                Err(CmqError::InvalidHandle)
            }
        })
    });
    let failed: Vec<_> = outcomes
        .zip(&entries)
        .filter_map(|(outcome, (_, text))| Some((outcome.err()?, *text)))
        .collect();
    let error = match failed.len() {
        0 => return Ok(call.success().into()),
        all if all == entries.len() => CmqError::DeleteFailed,
        _ => CmqError::DeletePartlyFailed,
    };
    let answer = Response::failure(call.request, &error).with(|object| {
        object.objects("errorList", failed, |item, (error, handle)| {
            item.number("code", u64::from(error.code()))
                .text("message", &error.message())
                .text("receiptHandle", handle);
        });
    });
    Ok(answer.into())
}

fn parse(text: &str) -> Result<Handle, CmqError> {
    text.parse().map_err(|_| CmqError::ReceiptHandleFormat)
}
