//! Arguments of a stream's consumer: the position at which it begins (`x-stream-offset`) and the messages
//! that it wants (`x-stream-filter`, `x-stream-match-unfiltered`). Pure.
//!
//! Refusals follow RabbitMQ 4.3, including its way of ending the connection with an internal error for a
//! value of another type.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::arguments::{age_ms, integer_value, term, type_name};

/// The consumer argument that sets the position at which a consumer begins.
pub const STREAM_OFFSET: &str = "x-stream-offset";
/// The consumer argument that lists the filter values of wanted messages.
pub const STREAM_FILTER: &str = "x-stream-filter";
/// The consumer argument that also requests messages without a filter value.
pub const STREAM_MATCH_UNFILTERED: &str = "x-stream-match-unfiltered";
/// The message header that holds the filter value.
pub const STREAM_FILTER_VALUE: &str = "x-stream-filter-value";

const SECOND_MS: u64 = 1_000;
/// The position in a stream at which a consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamOffset {
    /// The oldest message in the stream.
    First,
    /// The newest chunk: the newest message and the messages written together with it.
    Last,
    /// The next published message.
    #[default]
    Next,
    /// This offset, or the next existing one.
    Offset(u64),
    /// The first message of this time or later; as `Next` if there is none. Wall-clock milliseconds as the
    /// client sends them; inside the queues a moment of the broker's time line.
    Time(u64),
}

/// Where a consumer begins and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStart {
    pub offset: StreamOffset,
    /// `None` wants every message.
    pub filter: Option<StreamFilter>,
}

/// An invalid argument of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A string that is neither a keyword nor an interval: its text in refusals.
    Invalid(String),
    /// A value that RabbitMQ does not expect and answers with an internal error.
    Senseless {
        argument: &'static str,
        /// In Erlang's notation.
        value: String,
    },
}

impl StreamFault {
    fn senseless(argument: &'static str, value: &AMQPValue) -> StreamFault {
        StreamFault::Senseless {
            argument,
            value: term(value),
        }
    }
}

impl StreamOffset {
    /// Reads `x-stream-offset`. An interval counts back from `now_ms`, which is wall-clock time.
    pub fn parse(arguments: &FieldTable, now_ms: u64) -> Result<StreamOffset, StreamFault> {
        let Some(value) = arguments.inner().get(STREAM_OFFSET) else {
            return Ok(StreamOffset::Next);
        };
        if let Some(offset) = integer_value(value) {
            return Ok(u64::try_from(offset).map_or(StreamOffset::First, StreamOffset::Offset));
        }
        if let AMQPValue::Timestamp(seconds) = value {
            return Ok(StreamOffset::Time(seconds.saturating_mul(SECOND_MS)));
        }
        match (value, string(value)) {
            (_, Some(b"first")) => Ok(StreamOffset::First),
            (_, Some(b"last")) => Ok(StreamOffset::Last),
            (_, Some(b"next")) => Ok(StreamOffset::Next),
            (AMQPValue::LongString(_), Some(text)) => match age_ms(text) {
                Some(age_ms) => Ok(StreamOffset::Time(now_ms.saturating_sub(age_ms))),
                None => {
                    let (kind, text) = (type_name(value), term(value));
                    let fault = format!("{{invalid_stream_offset_arg,{{{kind},{text}}}}}");
                    Err(StreamFault::Invalid(fault))
                }
            },
            _ => Err(StreamFault::senseless(STREAM_OFFSET, value)),
        }
    }
}

/// Selects messages of a stream by their `x-stream-filter-value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFilter {
    values: Vec<Box<[u8]>>,
    unfiltered: bool,
}

impl StreamFilter {
    /// Reads `x-stream-filter` and `x-stream-match-unfiltered`; `None` is no filter.
    pub fn parse(arguments: &FieldTable) -> Result<Option<StreamFilter>, StreamFault> {
        let Some(filter) = arguments.inner().get(STREAM_FILTER) else {
            return Ok(None);
        };
        let values: Vec<Box<[u8]>> = match filter {
            AMQPValue::LongString(value) => vec![value.as_bytes().into()],
            AMQPValue::FieldArray(values) => {
                let strings = values.as_slice().iter().filter_map(|value| match value {
                    AMQPValue::LongString(value) => Some(value.as_bytes().into()),
                    _ => None,
                });
                strings.collect()
            }
            _ => return Ok(None),
        };
        if values.is_empty() {
            return Err(StreamFault::senseless(STREAM_FILTER, filter));
        }
        let unfiltered = matches!(
            arguments.inner().get(STREAM_MATCH_UNFILTERED),
            Some(AMQPValue::Boolean(true))
        );
        Ok(Some(StreamFilter { values, unfiltered }))
    }

    /// Whether the consumer wants a message with this filter value, or with none.
    pub fn wants(&self, value: Option<&[u8]>) -> bool {
        match value {
            Some(value) => self.values.iter().any(|wanted| **wanted == *value),
            None => self.unfiltered,
        }
    }
}

fn string(value: &AMQPValue) -> Option<&[u8]> {
    match value {
        AMQPValue::LongString(value) => Some(value.as_bytes()),
        AMQPValue::ByteArray(value) => Some(value.as_slice()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn text(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn offsets() {
        let invalid = |text: &str| {
            StreamFault::Invalid(format!(
                "{{invalid_stream_offset_arg,{{longstr,<<\"{text}\">>}}}}"
            ))
        };
        let senseless = |value: &str| StreamFault::Senseless {
            argument: STREAM_OFFSET,
            value: value.to_owned(),
        };
        let cases = [
            (text("first"), Ok(StreamOffset::First)),
            (text("last"), Ok(StreamOffset::Last)),
            (text("next"), Ok(StreamOffset::Next)),
            (AMQPValue::LongLongInt(7), Ok(StreamOffset::Offset(7))),
            (AMQPValue::ShortShortInt(7), Ok(StreamOffset::Offset(7))),
            (AMQPValue::LongInt(-1), Ok(StreamOffset::First)),
            (AMQPValue::Timestamp(5), Ok(StreamOffset::Time(5_000))),
            (text("1h"), Ok(StreamOffset::Time(NOW_MS - 3_600_000))),
            (text("5"), Err(invalid("5"))),
            (text("0h"), Err(invalid("0h"))),
            (text("middle"), Err(invalid("middle"))),
            (text("-1h"), Err(invalid("-1h"))),
            (AMQPValue::Boolean(true), Err(senseless("true"))),
            (AMQPValue::Double(1.5), Err(senseless("1.5"))),
            (AMQPValue::Void, Err(senseless("undefined"))),
        ];
        for (value, expected) in cases {
            let arguments = table(&[(STREAM_OFFSET, value.clone())]);
            assert_eq!(
                StreamOffset::parse(&arguments, NOW_MS),
                expected,
                "{value:?}"
            );
        }
        assert_eq!(
            StreamOffset::parse(&table(&[]), NOW_MS),
            Ok(StreamOffset::Next)
        );
    }

    #[test]
    fn filters() {
        let list = |values: Vec<AMQPValue>| AMQPValue::FieldArray(values.into());
        let parse = |fields: &[(&str, AMQPValue)]| StreamFilter::parse(&table(fields));
        let yes = (STREAM_MATCH_UNFILTERED, AMQPValue::Boolean(true));

        assert_eq!(parse(std::slice::from_ref(&yes)), Ok(None));
        assert_eq!(parse(&[(STREAM_FILTER, AMQPValue::LongInt(5))]), Ok(None));
        let nothing = parse(&[(STREAM_FILTER, list(vec![]))]);
        assert!(matches!(
            nothing,
            Err(StreamFault::Senseless {
                argument: STREAM_FILTER,
                ..
            })
        ));

        let one = parse(&[(STREAM_FILTER, text("a"))]).unwrap().unwrap();
        assert!(one.wants(Some(b"a")) && !one.wants(Some(b"b")) && !one.wants(None));
        let several = list(vec![text("a"), AMQPValue::LongInt(5), text("b")]);
        let several = parse(&[(STREAM_FILTER, several), yes]).unwrap().unwrap();
        assert!(several.wants(Some(b"b")) && several.wants(None) && !several.wants(Some(b"5")));
    }
}
