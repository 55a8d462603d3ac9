//! A family of metrics: name, type, help and how to read its value.

use super::exposition::Kind;

/// The names' first part, and whether samples are per object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    /// `rabbitmq_`, or `leveret_` for Leveret's own.
    Plain,
    /// `rabbitmq_detailed_`, so that both paths can be scraped into one database.
    Detailed,
}

/// Whose names a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    RabbitMq,
    Leveret,
}

/// A family with a value for each object of type `T`.
pub(super) struct Family<T> {
    pub(super) names: Names,
    /// Without its prefix.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) value: fn(&T) -> u64,
}

impl<T> Family<T> {
    pub(super) fn full_name(&self, prefix: Prefix) -> String {
        let owner = match self.names {
            Names::RabbitMq => "rabbitmq",
            Names::Leveret => "leveret",
        };
        match prefix {
            Prefix::Plain => format!("{owner}_{}", self.name),
            Prefix::Detailed => format!("{owner}_detailed_{}", self.name),
        }
    }
}

/// Writes a table of RabbitMQ's families.
macro_rules! families {
    ($name:ident: $of:ty, $names:ident; $($kind:ident $family:literal, $help:literal, $value:expr;)*) => {
        pub(super) static $name: &[$crate::metrics::family::Family<$of>] = &[
            $($crate::metrics::family::Family {
                names: $crate::metrics::family::Names::$names,
                name: $family,
                kind: $crate::metrics::exposition::Kind::$kind,
                help: $help,
                value: $value,
            },)*
        ];
    };
}

pub(super) use families;
