//! Which of two values of a key holds. The sources have an order: argument, policy, operator policy.

use serde_json::Value;

/// How two sources combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Rule {
    Lower,
    Higher,
    /// The lower one, but a negative limit, which is none, loses to any other.
    LowerLimit,
    /// The value of the earlier source.
    Earlier,
    /// The value of the later source.
    Later,
}

/// The source whose value holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Side {
    Earlier,
    Later,
}

impl Rule {
    /// The source whose value holds; the earlier one of equal values.
    pub(in crate::model) fn side(self, earlier: &Value, later: &Value) -> Side {
        let (Some(one), Some(other)) = (number(earlier), number(later)) else {
            return match self {
                Rule::Earlier => Side::Earlier,
                Rule::Later | Rule::Lower | Rule::Higher | Rule::LowerLimit => Side::Later,
            };
        };
        let is_earlier = match self {
            Rule::Lower => one <= other,
            Rule::Higher => one >= other,
            Rule::LowerLimit if one < 0 || other < 0 => one >= other,
            Rule::LowerLimit => one <= other,
            Rule::Earlier => true,
            Rule::Later => false,
        };
        match is_earlier {
            true => Side::Earlier,
            false => Side::Later,
        }
    }
}

fn number(value: &Value) -> Option<i128> {
    value
        .as_i64()
        .map(i128::from)
        .or_else(|| value.as_u64().map(i128::from))
}
