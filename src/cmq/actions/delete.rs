//! Deletes messages by the receipt handles of their receives, one or a batch. The response leaves when the deletion is
//! on disk.

use crate::broker::permissions::Permission;
use crate::broker::queue::ReceiptHandle;
use crate::cmq::action::Action;
use crate::cmq::call::{Call, Outcome};
use crate::cmq::error::CmqError;
use crate::cmq::response::Response;

/// `DeleteMessage`.
pub(in crate::cmq) async fn one(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    call.within_rate_limit(Action::DeleteMessage, queue.id().0)?;
    let handle = parse(call.parameters.required("receiptHandle")?)?;
    let (valid, ticket) = queue.delete_received(&[handle]);
    if valid != [true] {
        return Err(CmqError::InvalidHandle);
    }
    call.durable(ticket).await?;
    Ok(call.success().into())
}

/// `BatchDeleteMessage`: deletes the messages that it can, and lists the receipt handles of the others.
pub(in crate::cmq) async fn batch(call: &Call<'_>) -> Outcome {
    let queue = call.queue(Permission::Read)?;
    call.within_rate_limit(Action::BatchDeleteMessage, queue.id().0)?;
    let entries = call
        .parameters
        .list("receiptHandle", call.api.config.batch_max)?;
    if entries.is_empty() {
        return Err(CmqError::Missing("receiptHandle.n".to_owned()));
    }
    let parsed: Vec<_> = entries.iter().map(|(_, text)| parse(text)).collect();
    let handles: Vec<ReceiptHandle> = parsed.iter().flatten().copied().collect();
    let (valid, ticket) = queue.delete_received(&handles);
    call.durable(ticket).await?;
    let mut valid = valid.into_iter();
    let outcomes = parsed.into_iter().map(|parsed| match parsed {
        Ok(_) if valid.next() == Some(true) => Ok(()),
        Ok(_) => Err(CmqError::InvalidHandle),
        Err(error) => Err(error),
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
    let response = Response::failure(call.request, &error).with(|object| {
        object.objects("errorList", failed, |item, (error, handle)| {
            item.number("code", u64::from(error.code()))
                .text("message", &error.message())
                .text("receiptHandle", handle);
        });
    });
    Ok(response.into())
}

fn parse(text: &str) -> Result<ReceiptHandle, CmqError> {
    text.parse().map_err(|_| CmqError::ReceiptHandleFormat)
}
