//! Why a link cannot be opened, or has ended.

use std::io;

use crate::wire::{FrameError, HeaderError, MethodError};

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the broker did not answer in time: {0}")]
    Timeout(&'static str),
    #[error("connection lost: {0}")]
    Lost(io::Error),
    #[error("the broker closed its socket")]
    Gone,
    #[error("the broker has been silent for two heartbeats")]
    Silent,
    /// `connection.close` or `channel.close`.
    #[error("{text}")]
    Closed { code: u16, text: String },
    #[error("the broker cancelled the consumer")]
    Cancelled,
    #[error("the broker offers none of the mechanisms of the URI: {0}")]
    NoMechanism(String),
    #[error("this is no AMQP 0-9-1: {0}")]
    Protocol(String),
    /// The broker that runs the link has no such user or virtual host.
    #[error("{0}")]
    Refused(String),
}

impl LinkError {
    /// The reply code of a close, 0 for other errors.
    pub fn reply_code(&self) -> u16 {
        match self {
            LinkError::Closed { code, .. } => *code,
            LinkError::Connect(_)
            | LinkError::Tls(_)
            | LinkError::Timeout(_)
            | LinkError::Lost(_)
            | LinkError::Gone
            | LinkError::Silent
            | LinkError::Cancelled
            | LinkError::NoMechanism(_)
            | LinkError::Protocol(_)
            | LinkError::Refused(_) => 0,
        }
    }
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> LinkError {
        LinkError::Protocol(error.to_string())
    }
}

impl From<MethodError> for LinkError {
    fn from(error: MethodError) -> LinkError {
        LinkError::Protocol(error.to_string())
    }
}

impl From<HeaderError> for LinkError {
    fn from(error: HeaderError) -> LinkError {
        LinkError::Protocol(error.to_string())
    }
}
