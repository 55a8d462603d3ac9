//! The messages that producers send: their frames, stamps and due times.

mod due;
mod ring;

pub(crate) use due::{DueSpan, DueTimes, DueWindow, PAST, wall_clock_ms, wall_clock_ns};
pub(crate) use ring::{MessageRing, MessageShape};
