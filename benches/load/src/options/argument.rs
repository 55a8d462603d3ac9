//! An argument of a queue or consumer: `name=value`.

use std::str::FromStr;

use leveret::wire::{AMQPValue, FieldTable, ShortString};

/// A value of digits is a number, `true` and `false` are booleans, everything else is a string.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    name: ShortString,
    value: AMQPValue,
}

impl FromStr for Argument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Argument, Self::Err> {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && name.len() < 256)
            .ok_or("expected NAME=VALUE")?;
        let value = match (value.parse::<i64>(), value) {
            (Ok(number), _) => AMQPValue::LongLongInt(number),
            (_, "true") => AMQPValue::Boolean(true),
            (_, "false") => AMQPValue::Boolean(false),
            (_, text) => AMQPValue::LongString(text.into()),
        };
        Ok(Argument {
            name: name.into(),
            value,
        })
    }
}

impl Argument {
    pub(crate) fn table(arguments: &[Argument]) -> FieldTable {
        let mut table = FieldTable::default();
        for argument in arguments {
            table.insert(argument.name.clone(), argument.value.clone());
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_type_they_look_like() {
        let given = ["x-queue-type=quorum", "x-max-length=100", "flag=true"];
        let table = Argument::table(&given.map(|argument| argument.parse().unwrap()));
        for (name, value) in [
            ("x-queue-type", AMQPValue::LongString("quorum".into())),
            ("x-max-length", AMQPValue::LongLongInt(100)),
            ("flag", AMQPValue::Boolean(true)),
        ] {
            assert_eq!(table.inner().get(name), Some(&value));
        }
        assert!("x".parse::<Argument>().is_err());
    }
}
