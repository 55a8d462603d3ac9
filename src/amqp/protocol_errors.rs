//! Replies to frames that cannot be decoded or that come out of turn. Pure.

use super::assembly::Unexpected;
use super::error::{Code, Failure, Refusal};
use super::method_id::MethodId;
use crate::wire::{Fault, MethodError};

/// The failure for a method that cannot be decoded. RabbitMQ's reader crashes on a bad table or an unknown
/// method, and its connection with it.
pub(crate) fn undecodable(error: MethodError) -> Failure {
    match error {
        MethodError::Unknown { .. } | MethodError::NoIds | MethodError::Table { .. } => {
            Failure::Drop
        }
        MethodError::Malformed {
            fault: Fault::NotUtf8,
            text,
            ..
        } => Refusal::new(Code::FrameError, text).about_nothing().into(),
        MethodError::Malformed {
            class_id,
            method_id,
            text,
            ..
        } => Refusal::new(Code::FrameError, text)
            .about(MethodId::new(class_id, method_id))
            .into(),
    }
}

/// The failure for a method on channel 0 that cannot be decoded.
pub(crate) fn undecodable_on_zero(error: MethodError) -> Failure {
    match error {
        MethodError::Unknown { .. } | MethodError::NoIds => Failure::Drop,
        MethodError::Malformed {
            fault: Fault::NotUtf8,
            class_id,
            method_id,
            text,
        } => Refusal::new(Code::FrameError, text)
            .about(MethodId::new(class_id, method_id))
            .into(),
        MethodError::Malformed { .. } | MethodError::Table { .. } => {
            Refusal::new(Code::InternalError, "").about_nothing().into()
        }
    }
}

/// The failure for a frame out of turn. RabbitMQ names the publish that waits for its content, if there is
/// one.
pub(crate) fn unexpected(unexpected: Unexpected) -> Failure {
    let about = match unexpected {
        Unexpected::NotMethod => MethodId::NONE,
        Unexpected::NotHeader | Unexpected::WrongClass(_) | Unexpected::NotBody => {
            MethodId::BASIC_PUBLISH
        }
    };
    let refusal = Refusal::new(Code::UnexpectedFrame, unexpected.text());
    refusal.about(about).into()
}

/// The failure for content frames on a channel that is not open.
pub(crate) fn channel_not_open() -> Failure {
    unexpected(Unexpected::NotMethod)
}
