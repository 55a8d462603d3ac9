//! Why a queue is not declared as it was asked for, in RabbitMQ's words.

use std::fmt;

use super::kind::QueueKind;

/// An argument that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    /// Its name.
    pub argument: &'static str,
    /// What is wrong with it.
    pub fault: ArgumentFault,
}

impl ArgumentError {
    pub(super) fn new(argument: &'static str, fault: ArgumentFault) -> ArgumentError {
        ArgumentError { argument, fault }
    }
}

/// What is wrong with an argument. Its text stands behind the name of the argument and of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentFault {
    /// An integer was expected; the type that came.
    NotInteger(&'static str),
    /// Another type was expected; the type that came.
    UnacceptableType(&'static str),
    /// Below zero.
    Negative(i64),
    /// Zero, where that means nothing.
    Zero(i64),
    /// A duration beyond ten years.
    TooLarge(i64),
    /// A priority beyond 255.
    MaxValueExceeded(i64),
    /// None of the known words; what came.
    Unsupported(&'static str, String),
    /// None of the known words, where RabbitMQ does not quote what came.
    Invalid(&'static str),
    /// A dead letter exchange whose name is no string; the type that came.
    ExchangeNameType(&'static str),
    /// An argument of another type of queue.
    NotForKind(QueueKind),
}

impl fmt::Display for ArgumentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgumentFault::NotInteger(got) => write!(f, "\"expected integer, got {got}\""),
            ArgumentFault::UnacceptableType(got) => write!(f, "{{unacceptable_type,{got}}}"),
            ArgumentFault::Negative(value) => write!(f, "{{value_negative,{value}}}"),
            ArgumentFault::Zero(value) => write!(f, "{{value_zero,{value}}}"),
            ArgumentFault::TooLarge(value) => write!(f, "{{value_too_large,{value}}}"),
            ArgumentFault::MaxValueExceeded(value) => write!(f, "{{max_value_exceeded,{value}}}"),
            ArgumentFault::Unsupported(what, got) => write!(f, "\"unsupported {what} '{got}'\""),
            ArgumentFault::Invalid(word) => f.write_str(word),
            ArgumentFault::ExchangeNameType(got) => write!(f, "invalid type '{got}'"),
            ArgumentFault::NotForKind(kind) => write!(f, "of queue type {}", kind.long_name()),
        }
    }
}

/// A property of a declaration that the queue's type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyRefused {
    /// It deletes itself.
    AutoDelete,
    /// It belongs to a connection.
    Exclusive,
    /// It is gone after a restart.
    NonDurable,
}

impl PropertyRefused {
    /// The word in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            PropertyRefused::AutoDelete => "auto-delete",
            PropertyRefused::Exclusive => "exclusive-owner",
            PropertyRefused::NonDurable => "non-durable",
        }
    }
}
