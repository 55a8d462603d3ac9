//! The bodies of the messages that a request sends or publishes.

use crate::cmq::call::Call;
use crate::cmq::error::CmqError;

/// `msgBody`, which may have at most `bytes_max` bytes.
pub(super) fn single_body<'a>(call: &'a Call<'_>, bytes_max: u64) -> Result<&'a [u8], CmqError> {
    let body = call.parameters.bytes("msgBody");
    let body = body.ok_or_else(|| CmqError::Missing("msgBody".to_owned()))?;
    check(bytes_max, body, None)?;
    Ok(body)
}

/// The items of `msgBody.n`, each of at most `bytes_max` bytes.
pub(super) fn batch_bodies<'a>(
    call: &'a Call<'_>,
    bytes_max: u64,
) -> Result<Vec<&'a [u8]>, CmqError> {
    let config = &call.api.config;
    let entries = call.parameters.items("msgBody", config.batch_max)?;
    if entries.is_empty() {
        return Err(CmqError::Missing("msgBody.n".to_owned()));
    }
    for (index, body) in &entries {
        check(bytes_max, body, Some(*index))?;
    }
    let bodies: Vec<&[u8]> = entries.into_iter().map(|(_, body)| body).collect();
    let bytes: usize = bodies.iter().map(|body| body.len()).sum();
    if u64::try_from(bytes).is_ok_and(|bytes| bytes > config.batch_bytes_max) {
        return Err(CmqError::BatchTooLarge);
    }
    Ok(bodies)
}

/// Refuses an empty or too large body. The error names the item, if the body is one of a batch.
fn check(bytes_max: u64, body: &[u8], index: Option<u32>) -> Result<(), CmqError> {
    let entry = index.map(|index| format!("msgBody.{index}"));
    let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
    match (size, entry) {
        (0, None) => Err(CmqError::EmptyBody),
        (0, Some(entry)) => Err(CmqError::EmptyEntry(entry)),
        (size, None) if size > bytes_max => Err(CmqError::MessageTooLarge),
        (size, Some(entry)) if size > bytes_max => Err(CmqError::EntryTooLarge(entry)),
        _ => Ok(()),
    }
}
