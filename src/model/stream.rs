//! What a consumer of a stream asks for in its arguments: where to begin (`x-stream-offset`) and which messages it
//! wants (`x-stream-filter`, `x-stream-match-unfiltered`). Pure.
//!
//! What is refused, and how, is what RabbitMQ 4.3 does; that a value of another type ends the connection with an
//! internal error is its way of answering.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::arguments::{age_ms, integer_value, term, type_name};

/// The consumer argument that says where to begin.
pub const STREAM_OFFSET: &str = "x-stream-offset";
/// The consumer argument that names the values a message may have to be wanted.
pub const STREAM_FILTER: &str = "x-stream-filter";
/// The consumer argument that asks for messages without a value as well.
pub const STREAM_MATCH_UNFILTERED: &str = "x-stream-match-unfiltered";
/// The header of a message that filters look at.
pub const STREAM_FILTER_VALUE: &str = "x-stream-filter-value";

const SECOND_MS: u64 = 1_000;
/// Where in a stream a consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamOffset {
    /// With the oldest message that is kept.
    First,
    /// With the last chunk that was written: the newest message and those written together with it.
    Last,
    /// With what is published from now on.
    #[default]
    Next,
    /// With this offset, or the next one that there is.
    Offset(u64),
    /// With the first message that came at this time or later; as `Next` if there is none. In wall-clock milliseconds
    /// as a client says it, and a moment of the broker's time line within the room of queues.
    Time(u64),
}

/// Where a consumer begins and what it wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamStart {
    /// Where it begins.
    pub offset: StreamOffset,
    /// What it wants, if not everything.
    pub filter: Option<StreamFilter>,
}

/// What is wrong with a consumer's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A string that is neither a word nor an interval: its text in refusals.
    Invalid(String),
    /// What RabbitMQ stumbles over, and answers with an internal error.
    Senseless {
        /// The argument.
        argument: &'static str,
        /// Its value, as Erlang writes it.
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
    /// Reads `x-stream-offset`. An interval counts back from `now_ms`, wall-clock time.
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

/// Which messages of a stream a consumer wants, by their `x-stream-filter-value`.
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

    /// Whether a message with this value, or with none, is wanted.
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
