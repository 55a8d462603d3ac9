//! How a handshake ends that leads nowhere: why, what the peer is told, and what becomes of its socket.

use std::time::Duration;

use thiserror::Error;

use super::super::sasl::SaslError;
use crate::wire::protocol::connection::{AMQPMethod, Close};
use crate::wire::{AMQPClass, Fault, FrameError, MethodError, reply_text};

/// How long a refused peer is kept waiting, so that guessing passwords takes time.
pub const SILENT_CLOSE_DELAY: Duration = Duration::from_secs(3);

/// How long a client may take to answer `connection.close`, or to close its socket after `close-ok`, unless its
/// heartbeat is shorter.
pub const CLOSE_OK_DELAY: Duration = Duration::from_secs(30);

/// Why a vhost is not opened. Reply code 530 for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VhostRefusal {
    /// There is no such vhost.
    NotFound,
    /// The user has no permissions in it.
    NoAccess,
    /// A limit on connections is reached; the text says which.
    Limit(String),
}

/// How a handshake ends that did not lead to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What to do with the socket.
    pub how: Hangup,
    /// For the log.
    pub why: Refusal,
}

/// How to get rid of a peer, once what was written has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Close the socket.
    Now,
    /// Ignore what comes; close the socket after this long.
    After(Duration),
    /// Wait for `connection.close-ok`, at most this long, then close the socket. A `connection.close` is answered, and
    /// anything else that comes is ignored.
    AwaitCloseOk(Duration),
}

/// Why a peer is not let in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The first octets are not a header of AMQP 0-9-1.
    #[error("bad protocol header {}", .0.escape_ascii())]
    ProtocolHeader([u8; 8]),
    /// Bytes that are not a frame, or a frame too large for now.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A method that cannot be decoded.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A frame that may not come now. With RabbitMQ's text for it.
    #[error("unexpected frame: {0}")]
    UnexpectedFrame(String),
    /// A method that may not come now.
    #[error("unexpected method {class_id}.{method_id} in connection state {state}")]
    UnexpectedMethod {
        /// Class id.
        class_id: u16,
        /// Method id.
        method_id: u16,
        /// RabbitMQ's name of the state.
        state: &'static str,
    },
    /// The login cannot be understood.
    #[error(transparent)]
    Sasl(#[from] SaslError),
    /// The caller refused the login.
    #[error("login of user '{user}' by {mechanism} was refused")]
    Login {
        /// Who it said it was.
        user: String,
        /// How it tried.
        mechanism: &'static str,
    },
    /// `tune-ok` asks for what was not on offer.
    #[error("negotiated {field} = {asked} is {than} allowed value ({allowed})")]
    Tuning {
        /// Which value.
        field: &'static str,
        /// What the client asked for.
        asked: u32,
        /// "higher than the maximum" or "lower than the minimum".
        than: &'static str,
        /// The bound.
        allowed: u32,
    },
    /// The vhost is not opened.
    #[error("{0}")]
    Vhost(String),
}

/// What a client that broke the rules would be told, were it past `tune-ok`.
pub(super) enum Answer {
    Close(AMQPClass),
    /// Nothing, after a delay.
    Silence,
    /// Nothing, at once.
    HangUp,
}

pub(super) fn close_for(why: &Refusal) -> Answer {
    match why {
        // On a channel, any frame is one too many, whatever is wrong with it.
        Refusal::Frame(FrameError::Unknown {
            octet,
            channel: 1..,
            snippet,
        }) => Answer::Close(close(
            505,
            &format!("UNEXPECTED_FRAME - type {octet}, {snippet}"),
            0,
            0,
        )),
        Refusal::Frame(error) => Answer::Close(close(501, &format!("FRAME_ERROR - {error}"), 0, 0)),
        Refusal::Method(MethodError::Malformed {
            class_id,
            method_id,
            fault: Fault::NotUtf8,
            text,
        }) => Answer::Close(close(
            501,
            &format!("FRAME_ERROR - {text}"),
            *class_id,
            *method_id,
        )),
        Refusal::UnexpectedFrame(text) => {
            Answer::Close(close(505, &format!("UNEXPECTED_FRAME - {text}"), 0, 0))
        }
        Refusal::UnexpectedMethod {
            class_id,
            method_id,
            state,
        } => {
            let text = format!("CHANNEL_ERROR - unexpected method in connection state {state}");
            Answer::Close(close(504, &text, *class_id, *method_id))
        }
        Refusal::Method(MethodError::Unknown { .. } | MethodError::NoIds)
        | Refusal::ProtocolHeader(_) => Answer::HangUp,
        Refusal::Method(MethodError::Malformed { .. } | MethodError::Table { .. })
        | Refusal::Sasl(_)
        | Refusal::Login { .. }
        | Refusal::Tuning { .. }
        | Refusal::Vhost(_) => Answer::Silence,
    }
}

pub(super) fn close(reply_code: u16, text: &str, class_id: u16, method_id: u16) -> AMQPClass {
    AMQPClass::Connection(AMQPMethod::Close(Close {
        reply_code,
        reply_text: reply_text(text),
        class_id,
        method_id,
    }))
}

/// RabbitMQ waits for the client's part of closing no longer than the heartbeat.
pub(in crate::amqp) fn close_ok_delay(heartbeat: u16) -> Duration {
    match heartbeat {
        0 => CLOSE_OK_DELAY,
        seconds => CLOSE_OK_DELAY.min(Duration::from_secs(seconds.into())),
    }
}
