//! Refusals as clients see them: reply code, reply text, and whether the channel or the whole connection
//! ends. The one place where the broker's errors become AMQP's codes.

use super::method_id::MethodId;
use crate::broker::error::BrokerError;
use crate::broker::limits::LimitReached;
use crate::wire::ShortString;

/// Reply codes in use (AMQP 0-9-1, 1.2, and RabbitMQ's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    ConnectionForced,
    AccessRefused,
    NotFound,
    ResourceLocked,
    PreconditionFailed,
    FrameError,
    CommandInvalid,
    ChannelError,
    UnexpectedFrame,
    ResourceError,
    NotAllowed,
    NotImplemented,
    InternalError,
}

/// Whether an error closes the channel or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Channel,
    Connection,
}

impl Code {
    pub(crate) fn number(self) -> u16 {
        match self {
            Code::ConnectionForced => 320,
            Code::AccessRefused => 403,
            Code::NotFound => 404,
            Code::ResourceLocked => 405,
            Code::PreconditionFailed => 406,
            Code::FrameError => 501,
            Code::CommandInvalid => 503,
            Code::ChannelError => 504,
            Code::UnexpectedFrame => 505,
            Code::ResourceError => 506,
            Code::NotAllowed => 530,
            Code::NotImplemented => 540,
            Code::InternalError => 541,
        }
    }

    /// The name, which opens the reply text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Code::ConnectionForced => "CONNECTION_FORCED",
            Code::AccessRefused => "ACCESS_REFUSED",
            Code::NotFound => "NOT_FOUND",
            Code::ResourceLocked => "RESOURCE_LOCKED",
            Code::PreconditionFailed => "PRECONDITION_FAILED",
            Code::FrameError => "FRAME_ERROR",
            Code::CommandInvalid => "COMMAND_INVALID",
            Code::ChannelError => "CHANNEL_ERROR",
            Code::UnexpectedFrame => "UNEXPECTED_FRAME",
            Code::ResourceError => "RESOURCE_ERROR",
            Code::NotAllowed => "NOT_ALLOWED",
            Code::NotImplemented => "NOT_IMPLEMENTED",
            Code::InternalError => "INTERNAL_ERROR",
        }
    }

    /// The 4xx in use here are soft errors and close the channel; all others close the connection.
    pub(crate) fn scope(self) -> Scope {
        match self {
            Code::AccessRefused
            | Code::NotFound
            | Code::ResourceLocked
            | Code::PreconditionFailed => Scope::Channel,
            Code::ConnectionForced
            | Code::FrameError
            | Code::CommandInvalid
            | Code::ChannelError
            | Code::UnexpectedFrame
            | Code::ResourceError
            | Code::NotAllowed
            | Code::NotImplemented
            | Code::InternalError => Scope::Connection,
        }
    }
}

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// Follows the code's name in the reply text; may be empty.
    pub(crate) text: String,
    /// The method that caused it; `None` is the method being handled.
    pub(crate) about: Option<MethodId>,
}

impl Refusal {
    /// A refusal of the method being handled.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Refusal {
        Refusal {
            code,
            text: text.into(),
            about: None,
        }
    }

    /// Names the method that caused the refusal.
    pub(crate) fn about(mut self, method: MethodId) -> Refusal {
        self.about = Some(method);
        self
    }

    /// Names the method that caused the refusal, unless the refusal names one already.
    pub(crate) fn or_about(mut self, method: MethodId) -> Refusal {
        self.about.get_or_insert(method);
        self
    }

    /// Names no method as the cause.
    pub(crate) fn about_nothing(self) -> Refusal {
        self.about(MethodId::NONE)
    }

    /// RabbitMQ's channel crashes here; the client sees only that.
    pub(crate) fn crash() -> Refusal {
        Refusal::new(Code::InternalError, "").about_nothing()
    }

    /// The reply text as RabbitMQ spells it.
    pub(crate) fn reply_text(&self) -> ShortString {
        match self.text.is_empty() {
            true => crate::wire::reply_text(self.code.name()),
            false => crate::wire::reply_text(&format!("{} - {}", self.code.name(), self.text)),
        }
    }
}

/// Result of handling a method.
pub(crate) type Handled = Result<(), Refusal>;

/// Why a frame was not handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Closes the channel or the connection with a reply.
    Refused(Refusal),
    /// Closes the socket without a reply, as RabbitMQ does with methods it cannot decode.
    Drop,
}

impl Failure {
    /// Names the method that caused it, unless it names one already.
    pub(crate) fn or_about(self, method: MethodId) -> Failure {
        match self {
            Failure::Refused(refusal) => Failure::Refused(refusal.or_about(method)),
            Failure::Drop => Failure::Drop,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        let text = error.to_string();
        let refusal = Refusal::new(code_of(&error), text);
        match error {
            // The connection checks the limit on channels, so no method of a channel is to blame.
            BrokerError::LimitReached(LimitReached::UserChannels { .. }) => refusal.about_nothing(),
            _ => refusal,
        }
    }
}

fn code_of(error: &BrokerError) -> Code {
    match error {
        BrokerError::NotFound(_) => Code::NotFound,
        BrokerError::AccessRefused(_)
        | BrokerError::DefaultExchange
        | BrokerError::ReservedName { .. }
        | BrokerError::SystemExchange(_)
        | BrokerError::InternalExchange(_) => Code::AccessRefused,
        BrokerError::ResourceLocked(_) => Code::ResourceLocked,
        BrokerError::Inequivalent { .. }
        | BrokerError::InvalidArgument { .. }
        | BrokerError::InvalidArgumentType { .. }
        | BrokerError::InvalidProperty { .. }
        | BrokerError::ServerNamed(_)
        | BrokerError::UnknownExchangeType(_)
        | BrokerError::InvalidExchangeType(_)
        | BrokerError::Refused(_)
        | BrokerError::InUse(_)
        | BrokerError::NotEmpty(_)
        | BrokerError::NameTooLong(_)
        | BrokerError::LimitReached(LimitReached::VhostQueues { .. }) => Code::PreconditionFailed,
        BrokerError::LimitReached(
            LimitReached::VhostConnections { .. }
            | LimitReached::UserConnections { .. }
            | LimitReached::UserChannels { .. },
        )
        | BrokerError::VhostNotFound(_) => Code::NotAllowed,
        BrokerError::NotImplemented(_) => Code::NotImplemented,
        BrokerError::StoreFailed => Code::InternalError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |refusal: Refusal| refusal.reply_text().to_string();
        assert_eq!(
            text(Refusal::new(Code::InternalError, "")),
            "INTERNAL_ERROR"
        );
        assert_eq!(
            text(Refusal::new(Code::NotImplemented, "active=false")),
            "NOT_IMPLEMENTED - active=false"
        );
        let long = text(Refusal::new(Code::NotFound, "q".repeat(300)));
        assert_eq!((long.len(), long.ends_with("qqq...")), (255, true));
    }

    #[test]
    fn only_four_codes_are_soft() {
        assert_eq!(Code::PreconditionFailed.scope(), Scope::Channel);
        assert_eq!(Code::NotAllowed.scope(), Scope::Connection);
    }
}
