//! Reasons for refusing a queue declaration, in RabbitMQ's words.

use std::fmt;

use super::kind::QueueKind;

/// A refused argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentError {
    pub argument: &'static str,
    pub fault: ArgumentFault,
}

impl ArgumentError {
    pub(super) fn new(argument: &'static str, fault: ArgumentFault) -> ArgumentError {
        ArgumentError { argument, fault }
    }
}

/// What is wrong with an argument. In the reply, its text follows the names of the argument and the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentFault {
    /// Not an integer: the type of the value.
    NotInteger(&'static str),
    /// Not of the expected type: the type of the value.
    UnacceptableType(&'static str),
    /// A negative number.
    Negative(i64),
    /// Zero, in an argument that must be positive.
    Zero(i64),
    /// A duration of more than ten years.
    TooLarge(i64),
    /// A priority above 255.
    MaxValueExceeded(i64),
    /// Not one of the known words: the kind of value, and the value.
    Unsupported(&'static str, String),
    /// Not one of the known words: RabbitMQ's name for the fault, which does not quote the value.
    Invalid(&'static str),
    /// A dead letter exchange whose name is not a string: the type of the value.
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

/// A property of a declaration that the queue's type does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyRefused {
    AutoDelete,
    Exclusive,
    NonDurable,
}

impl PropertyRefused {
    /// The property's name in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            PropertyRefused::AutoDelete => "auto-delete",
            PropertyRefused::Exclusive => "exclusive-owner",
            PropertyRefused::NonDurable => "non-durable",
        }
    }
}
