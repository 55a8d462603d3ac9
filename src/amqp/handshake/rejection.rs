//! Handshakes that fail: the error, the reply to the peer, and what happens to the socket.

use std::time::Duration;

use thiserror::Error;

use super::super::error::Code;
use super::super::method_id::MethodId;
use super::super::sasl::SaslError;
use crate::wire::protocol::connection::{AMQPMethod, Close};
use crate::wire::{AMQPClass, Fault, FrameError, MethodError, reply_text};

/// Delay before the socket of a rejected peer closes, so that guessing passwords takes time.
pub(in crate::amqp) const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);

/// Time for the client to answer `connection.close`, or to close its socket after `close-ok`, unless its
/// heartbeat is shorter.
const CLOSE_OK_DELAY: Duration = Duration::from_secs(30);

/// Why a virtual host is not opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::amqp) enum VhostRefusal {
    NotFound,
    /// The user may not enter the virtual host; the text says so.
    NoAccess(String),
    /// A limit on connections is reached; the text names it.
    Limit(String),
    /// Nothing is served now; the text says why. The others have reply code 530, this one 320.
    NotServed(String),
}

/// The end of a handshake that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::amqp) struct Rejection {
    pub(in crate::amqp) hangup: Hangup,
    pub(in crate::amqp) error: HandshakeError,
}

/// How the socket closes, once the output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::amqp) enum Hangup {
    Now,
    /// Ignore further input; close after this delay.
    After(Duration),
    /// Wait for `connection.close-ok`, at most this long, then close. Answer `connection.close` and ignore
    /// other input.
    AwaitCloseOk(Duration),
}

/// Why a handshake has failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(in crate::amqp) enum HandshakeError {
    /// The first octets are not a header of AMQP 0-9-1.
    #[error("bad protocol header {}", .0.escape_ascii())]
    ProtocolHeader([u8; 8]),
    /// Bytes that are not a frame, or a frame too large for now.
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A frame out of turn, in RabbitMQ's notation.
    #[error("unexpected frame: {0}")]
    UnexpectedFrame(String),
    /// A method out of turn.
    #[error("unexpected method {class_id}.{method_id} in connection state {state}")]
    UnexpectedMethod {
        class_id: u16,
        method_id: u16,
        /// RabbitMQ's name of the state.
        state: &'static str,
    },
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// The broker refused the login.
    #[error("login of user '{user}' by {mechanism} was refused")]
    Login {
        user: String,
        mechanism: &'static str,
    },
    /// A value of `tune-ok` exceeds the offer.
    #[error("negotiated {field} = {value} is {than} allowed value ({allowed})")]
    Tuning {
        field: &'static str,
        value: u32,
        /// "higher than the maximum" or "lower than the minimum".
        than: &'static str,
        allowed: u32,
    },
    #[error("{0}")]
    Vhost(String),
}

/// The reply to a protocol error. Before `tune-ok` a close becomes silence.
pub(super) enum Reply {
    Close(AMQPClass),
    /// Close the socket after a delay.
    Silence,
    /// Close the socket immediately.
    HangUp,
}

pub(super) fn reply_to(error: &HandshakeError) -> Reply {
    match error {
        // On a channel any frame is out of turn, even a malformed one.
        HandshakeError::Frame(FrameError::Unknown {
            octet,
            channel: 1..,
            snippet,
        }) => Reply::Close(close(
            Code::UnexpectedFrame,
            &format!("type {octet}, {snippet}"),
            MethodId::NONE,
        )),
        HandshakeError::Frame(error) => {
            Reply::Close(close(Code::FrameError, &error.to_string(), MethodId::NONE))
        }
        HandshakeError::Method(MethodError::Malformed {
            class_id,
            method_id,
            fault: Fault::NotUtf8,
            text,
        }) => Reply::Close(close(
            Code::FrameError,
            text,
            MethodId::new(*class_id, *method_id),
        )),
        HandshakeError::UnexpectedFrame(text) => {
            Reply::Close(close(Code::UnexpectedFrame, text, MethodId::NONE))
        }
        HandshakeError::UnexpectedMethod {
            class_id,
            method_id,
            state,
        } => {
            let text = format!("unexpected method in connection state {state}");
            let method = MethodId::new(*class_id, *method_id);
            Reply::Close(close(Code::ChannelError, &text, method))
        }
        HandshakeError::Method(MethodError::Unknown { .. } | MethodError::NoIds)
        | HandshakeError::ProtocolHeader(_) => Reply::HangUp,
        HandshakeError::Method(MethodError::Malformed { .. } | MethodError::Table { .. })
        | HandshakeError::Sasl(_)
        | HandshakeError::Login { .. }
        | HandshakeError::Tuning { .. }
        | HandshakeError::Vhost(_) => Reply::Silence,
    }
}

pub(in crate::amqp) fn close(code: Code, text: &str, about: MethodId) -> AMQPClass {
    AMQPClass::Connection(AMQPMethod::Close(Close {
        reply_code: code.number(),
        reply_text: reply_text(&format!("{} - {text}", code.name())),
        class_id: about.class,
        method_id: about.method,
    }))
}

/// Time for the client's part of closing: at most one heartbeat, as in RabbitMQ.
pub(in crate::amqp) fn close_ok_delay(heartbeat: u16) -> Duration {
    match heartbeat {
        0 => CLOSE_OK_DELAY,
        seconds => CLOSE_OK_DELAY.min(Duration::from_secs(seconds.into())),
    }
}
