//! What a consumer of a stream asks for in its arguments: where to begin (`x-stream-offset`) and which messages it
//! wants (`x-stream-filter`, `x-stream-match-unfiltered`). Also the ages that streams are told (`x-max-age`). Pure.
//!
//! What is refused, and how, is what RabbitMQ 4.0 does; that a word without a number in front ends the connection
//! with an internal error is its way of answering.

use amq_protocol::types::{AMQPValue, FieldTable};

use super::arguments::{integer_value, term, type_name};

/// The consumer argument that says where to begin.
pub const STREAM_OFFSET: &str = "x-stream-offset";
/// The consumer argument that names the values a message may have to be wanted.
pub const STREAM_FILTER: &str = "x-stream-filter";
/// The consumer argument that asks for messages without a value as well.
pub const STREAM_MATCH_UNFILTERED: &str = "x-stream-match-unfiltered";
/// The header of a message that filters look at.
pub const STREAM_FILTER_VALUE: &str = "x-stream-filter-value";

const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;

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
    /// An interval without sense: its text in refusals.
    Invalid(String),
    /// What RabbitMQ stumbles over, and answers with an internal error.
    Senseless,
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
                Ok(age_ms) => Ok(StreamOffset::Time(now_ms.saturating_sub(age_ms))),
                Err(AgeFault::NoNumber) => Err(StreamFault::Senseless),
                Err(AgeFault::Invalid) => {
                    let (kind, text) = (type_name(value), term(value));
                    let fault = format!("{{invalid_stream_offset_arg,{{{kind},{text}}}}}");
                    Err(StreamFault::Invalid(fault))
                }
            },
            _ => Err(StreamFault::Senseless),
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
        let values: Vec<Box<[u8]>> = match arguments.inner().get(STREAM_FILTER) {
            Some(AMQPValue::LongString(value)) => vec![value.as_bytes().into()],
            Some(AMQPValue::FieldArray(values)) => {
                let strings = values.as_slice().iter().filter_map(|value| match value {
                    AMQPValue::LongString(value) => Some(value.as_bytes().into()),
                    _ => None,
                });
                strings.collect()
            }
            _ => return Ok(None),
        };
        if values.is_empty() {
            return Err(StreamFault::Senseless);
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

/// What is wrong with an age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgeFault {
    /// Zero, or no known unit behind the number.
    Invalid,
    /// No number.
    NoNumber,
}

/// An age in milliseconds: a number above zero and one of the units Y, M, D, h, m, s. A month has 30 days, a year 365.
pub fn age_ms(text: &[u8]) -> Result<u64, AgeFault> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(AgeFault::Invalid)?;
    if number.is_empty() {
        return Err(AgeFault::NoNumber);
    }
    // More digits than fit are more than any clock will see.
    let number = number.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    let unit_ms = match unit {
        b"Y" => 365 * DAY_MS,
        b"M" => 30 * DAY_MS,
        b"D" => DAY_MS,
        b"h" => 60 * 60 * SECOND_MS,
        b"m" => 60 * SECOND_MS,
        b"s" => SECOND_MS,
        _ => return Err(AgeFault::Invalid),
    };
    match number {
        0 => Err(AgeFault::Invalid),
        number => Ok(number.saturating_mul(unit_ms)),
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
    fn ages() {
        let cases: [(&str, Result<u64, AgeFault>); 13] = [
            ("1s", Ok(1_000)),
            ("90m", Ok(5_400_000)),
            ("1h", Ok(3_600_000)),
            ("7D", Ok(604_800_000)),
            ("2M", Ok(5_184_000_000)),
            ("1Y", Ok(31_536_000_000)),
            ("99999999999999999999h", Ok(u64::MAX)),
            ("0s", Err(AgeFault::Invalid)),
            ("10", Err(AgeFault::Invalid)),
            ("1H", Err(AgeFault::Invalid)),
            ("1 h", Err(AgeFault::Invalid)),
            ("h", Err(AgeFault::NoNumber)),
            ("", Err(AgeFault::NoNumber)),
        ];
        for (age, expected) in cases {
            assert_eq!(age_ms(age.as_bytes()), expected, "{age:?}");
        }
    }

    #[test]
    fn offsets() {
        let invalid = |text: &str| {
            StreamFault::Invalid(format!(
                "{{invalid_stream_offset_arg,{{longstr,<<\"{text}\">>}}}}"
            ))
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
            (text("middle"), Err(StreamFault::Senseless)),
            (AMQPValue::Boolean(true), Err(StreamFault::Senseless)),
            (AMQPValue::Double(1.5), Err(StreamFault::Senseless)),
            (AMQPValue::Void, Err(StreamFault::Senseless)),
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
        assert_eq!(
            parse(&[(STREAM_FILTER, list(vec![]))]),
            Err(StreamFault::Senseless)
        );

        let one = parse(&[(STREAM_FILTER, text("a"))]).unwrap().unwrap();
        assert!(one.wants(Some(b"a")) && !one.wants(Some(b"b")) && !one.wants(None));
        let several = list(vec![text("a"), AMQPValue::LongInt(5), text("b")]);
        let several = parse(&[(STREAM_FILTER, several), yes]).unwrap().unwrap();
        assert!(several.wants(Some(b"b")) && several.wants(None) && !several.wants(Some(b"5")));
    }
}
