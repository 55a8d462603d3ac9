//! The types of exchange and their names.

use crate::broker::error::BrokerError;

/// The types of exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// `direct`: the routing key is the binding key.
    Direct,
    /// `fanout`: all bindings.
    Fanout,
    /// `topic`: by patterns over the words of the routing key.
    Topic,
    /// `headers`: by header values.
    Headers,
    /// `x-consistent-hash`: one binding, by hash and weight.
    ConsistentHash,
    /// `x-delayed-message`: as another type, after a delay.
    Delayed,
    /// `x-local-random`: a random binding.
    LocalRandom,
    /// `x-modulus-hash`: one binding, by hash and number of bindings.
    ModulusHash,
    /// `x-random`: a random binding.
    Random,
}

impl ExchangeKind {
    pub const ALL: [ExchangeKind; 9] = [
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
        ExchangeKind::ConsistentHash,
        ExchangeKind::Delayed,
        ExchangeKind::LocalRandom,
        ExchangeKind::ModulusHash,
        ExchangeKind::Random,
    ];

    pub fn parse(name: &str) -> Result<ExchangeKind, BrokerError> {
        match name {
            "direct" => Ok(ExchangeKind::Direct),
            "fanout" => Ok(ExchangeKind::Fanout),
            "topic" => Ok(ExchangeKind::Topic),
            "headers" => Ok(ExchangeKind::Headers),
            "x-consistent-hash" => Ok(ExchangeKind::ConsistentHash),
            "x-delayed-message" => Ok(ExchangeKind::Delayed),
            "x-local-random" => Ok(ExchangeKind::LocalRandom),
            "x-modulus-hash" => Ok(ExchangeKind::ModulusHash),
            "x-random" => Ok(ExchangeKind::Random),
            "" => Err(BrokerError::InvalidExchangeType(String::new())),
            other => Err(BrokerError::UnknownExchangeType(other.to_owned())),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Fanout => "fanout",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Headers => "headers",
            ExchangeKind::ConsistentHash => "x-consistent-hash",
            ExchangeKind::Delayed => "x-delayed-message",
            ExchangeKind::LocalRandom => "x-local-random",
            ExchangeKind::ModulusHash => "x-modulus-hash",
            ExchangeKind::Random => "x-random",
        }
    }

    /// The name in RabbitMQ's texts about differences, where Erlang quotes names with a hyphen.
    pub fn as_atom(self) -> String {
        match self.as_str() {
            name if name.contains('-') => format!("'{name}'"),
            name => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_name() {
        for kind in [
            "direct",
            "fanout",
            "topic",
            "headers",
            "x-consistent-hash",
            "x-delayed-message",
            "x-local-random",
            "x-modulus-hash",
            "x-random",
        ] {
            assert_eq!(ExchangeKind::parse(kind).unwrap().as_str(), kind);
        }
        let refused = |kind| ExchangeKind::parse(kind).unwrap_err().to_string();
        assert_eq!(refused("zz"), "unknown exchange type 'zz'");
        assert_eq!(refused(""), "invalid exchange type ''");
    }
}
