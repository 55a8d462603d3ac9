//! What frames that cannot be read, or come out of turn, lead to. Pure.

use super::error::{Code, Failure, Refusal};
use crate::wire::{Fault, MethodError};

/// What a method that cannot be decoded leads to. RabbitMQ's reader dies over a bad table or an unknown method, and
/// its connection with it.
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
            .about(class_id, method_id)
            .into(),
    }
}

/// The same on channel 0.
pub(crate) fn undecodable_on_zero(error: MethodError) -> Failure {
    match error {
        MethodError::Unknown { .. } | MethodError::NoIds => Failure::Drop,
        MethodError::Malformed {
            fault: Fault::NotUtf8,
            class_id,
            method_id,
            text,
        } => Refusal::new(Code::FrameError, text)
            .about(class_id, method_id)
            .into(),
        MethodError::Malformed { .. } | MethodError::Table { .. } => {
            Refusal::new(Code::InternalError, "").about_nothing().into()
        }
    }
}

/// What a frame out of turn leads to. RabbitMQ names the publish that waits for it, if there is one.
pub(crate) fn unexpected(unexpected: super::assembly::Unexpected) -> Failure {
    use super::assembly::Unexpected;
    let refusal = |code| Refusal::new(code, unexpected.text());
    match unexpected {
        Unexpected::NotMethod => refusal(Code::UnexpectedFrame).about_nothing(),
        Unexpected::NotHeader | Unexpected::WrongClass(_) | Unexpected::NotBody => {
            refusal(Code::UnexpectedFrame).about(60, 40)
        }
    }
    .into()
}
