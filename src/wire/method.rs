//! Method payloads (spec 2.3.5.1) to values. A payload is first walked along the method's list of fields
//! ([`super::method_fields`]). The walk tells apart and rejects unknown methods, short or over-long
//! arguments, bad UTF-8 and deep tables before amq-protocol builds the value. Methods that come once per
//! message are read without allocation.

use std::str;

use thiserror::Error;

use super::cursor::Cursor;
use super::method_fields::{Field, fields};
use super::method_ids::basic;
use super::table::{TableError, masked, walk_fields};
use super::{AMQPClass, notation};

/// A payload that is not a valid method.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    /// AMQP 0-9-1 has no such method. RabbitMQ drops the connection without an answer.
    #[error("unknown method {class_id}.{method_id}")]
    Unknown { class_id: u16, method_id: u16 },
    /// The arguments cannot be decoded. On a channel the answer is 501 `FRAME_ERROR` with this `Display`
    /// text, and the close names class and method (except for [`Fault::NotUtf8`]). On channel 0 RabbitMQ
    /// answers 541 with the bare text `INTERNAL_ERROR`; for [`Fault::NotUtf8`] it answers 501 there too, with
    /// class and method.
    #[error("{text}")]
    Malformed {
        class_id: u16,
        method_id: u16,
        fault: Fault,
        text: String,
    },
    /// A field table has the right length but is malformed inside. RabbitMQ drops the connection without an
    /// answer; on channel 0 it answers 541 with the bare text `INTERNAL_ERROR`.
    #[error("field table in method {class_id}.{method_id}: {fault}")]
    Table {
        class_id: u16,
        method_id: u16,
        fault: TableError,
    },
    /// Too short for the two ids. `frame` already rejects such frames.
    #[error("method without class and method id")]
    NoIds,
}

/// What is wrong with a method's arguments.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("cut short")]
    Truncated,
    #[error("{0} bytes left over")]
    Trailing(usize),
    #[error("short string is not UTF-8")]
    NotUtf8,
    /// amq-protocol's parser rejects arguments that the walk accepts.
    #[error("refused by the parser")]
    Parser,
}

/// `basic.publish`, borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishView<'a> {
    /// The exchange to publish to; empty is the default exchange.
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// Whether the broker returns an unroutable message.
    pub mandatory: bool,
    /// RabbitMQ has not supported it since 3.0 and answers 540.
    pub immediate: bool,
}

/// A method. Those that come once per message are read without allocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Hot<'a> {
    Publish(PublishView<'a>),
    Ack {
        /// 0 with `multiple` means all deliveries so far.
        delivery_tag: u64,
        /// Whether the ack covers earlier deliveries too.
        multiple: bool,
    },
    Nack {
        /// 0 with `multiple` means all deliveries so far.
        delivery_tag: u64,
        /// Whether the nack covers earlier deliveries too.
        multiple: bool,
        /// Whether the messages return to their queues.
        requeue: bool,
    },
    Reject {
        delivery_tag: u64,
        /// Whether the message returns to its queue.
        requeue: bool,
    },
    /// Any other method.
    Other(AMQPClass),
}

/// `basic.deliver`, borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliverView<'a> {
    pub consumer_tag: &'a str,
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub exchange: &'a str,
    pub routing_key: &'a str,
}

/// A method that a broker sends. Those that come once per message are read without allocation.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBroker<'a> {
    Deliver(DeliverView<'a>),
    /// The broker is responsible for published messages from now on.
    Ack {
        delivery_tag: u64,
        multiple: bool,
    },
    /// The broker has not accepted published messages.
    Nack {
        delivery_tag: u64,
        multiple: bool,
    },
    /// Any other method.
    Other(AMQPClass),
}

/// Reads a method frame's payload, which must end with the method's last field.
pub fn decode_method(payload: &[u8]) -> Result<AMQPClass, MethodError> {
    let (class_id, method_id, arguments) = ids(payload)?;
    let fields = fields(class_id, method_id).ok_or(MethodError::Unknown {
        class_id,
        method_id,
    })?;
    let broken = |fault| malformed(class_id, method_id, fault, arguments);
    let mut odd_names = Vec::new();
    if let Some(table) = walk(fields, arguments).map_err(broken)? {
        walk_fields(table, &mut odd_names, 1).map_err(|fault| MethodError::Table {
            class_id,
            method_id,
            fault,
        })?;
    }
    // The parser is a streaming one: it asks for more bytes in places where the walk has seen enough.
    match amq_protocol::protocol::parse_class(&*masked(payload, &odd_names)) {
        Ok(([], method)) => Ok(method),
        Ok(_) | Err(_) => Err(broken(Fault::Parser)),
    }
}

/// Reads a method frame's payload. Methods of the message path skip the general parser.
pub fn decode_hot(payload: &[u8]) -> Result<Hot<'_>, MethodError> {
    let (class_id, method_id, arguments) = ids(payload)?;
    let hot = match (class_id, method_id) {
        (basic::CLASS, basic::PUBLISH) => publish(arguments).map(Hot::Publish),
        (basic::CLASS, basic::ACK) => settlement(arguments).map(|(delivery_tag, bits)| Hot::Ack {
            delivery_tag,
            multiple: bit(bits, 0),
        }),
        (basic::CLASS, basic::REJECT) => {
            settlement(arguments).map(|(delivery_tag, bits)| Hot::Reject {
                delivery_tag,
                requeue: bit(bits, 0),
            })
        }
        (basic::CLASS, basic::NACK) => {
            settlement(arguments).map(|(delivery_tag, bits)| Hot::Nack {
                delivery_tag,
                multiple: bit(bits, 0),
                requeue: bit(bits, 1),
            })
        }
        _ => return decode_method(payload).map(Hot::Other),
    };
    hot.map_err(|fault| malformed(class_id, method_id, fault, arguments))
}

/// Reads the payload of a method frame that a broker sent.
pub fn decode_from_broker(payload: &[u8]) -> Result<FromBroker<'_>, MethodError> {
    let (class_id, method_id, arguments) = ids(payload)?;
    let method = match (class_id, method_id) {
        (basic::CLASS, basic::DELIVER) => deliver(arguments).map(FromBroker::Deliver),
        (basic::CLASS, basic::ACK) => {
            settlement(arguments).map(|(delivery_tag, bits)| FromBroker::Ack {
                delivery_tag,
                multiple: bit(bits, 0),
            })
        }
        (basic::CLASS, basic::NACK) => {
            settlement(arguments).map(|(delivery_tag, bits)| FromBroker::Nack {
                delivery_tag,
                multiple: bit(bits, 0),
            })
        }
        _ => return decode_method(payload).map(FromBroker::Other),
    };
    method.map_err(|fault| malformed(class_id, method_id, fault, arguments))
}

fn ids(payload: &[u8]) -> Result<(u16, u16, &[u8]), MethodError> {
    let mut cursor = Cursor::new(payload);
    match (cursor.u16(), cursor.u16()) {
        (Some(class_id), Some(method_id)) => Ok((class_id, method_id, cursor.rest())),
        _ => Err(MethodError::NoIds),
    }
}

fn publish(arguments: &[u8]) -> Result<PublishView<'_>, Fault> {
    let mut cursor = Cursor::new(arguments);
    cursor.u16().ok_or(Fault::Truncated)?; // ticket, not used since 0-9
    let exchange = short_str(&mut cursor)?;
    let routing_key = short_str(&mut cursor)?;
    let bits = cursor.u8().ok_or(Fault::Truncated)?;
    at_end(&cursor)?;
    Ok(PublishView {
        exchange,
        routing_key,
        mandatory: bit(bits, 0),
        immediate: bit(bits, 1),
    })
}

fn deliver(arguments: &[u8]) -> Result<DeliverView<'_>, Fault> {
    let mut cursor = Cursor::new(arguments);
    let consumer_tag = short_str(&mut cursor)?;
    let delivery_tag = cursor.u64().ok_or(Fault::Truncated)?;
    let bits = cursor.u8().ok_or(Fault::Truncated)?;
    let exchange = short_str(&mut cursor)?;
    let routing_key = short_str(&mut cursor)?;
    at_end(&cursor)?;
    Ok(DeliverView {
        consumer_tag,
        delivery_tag,
        redelivered: bit(bits, 0),
        exchange,
        routing_key,
    })
}

/// The arguments that ack, reject and nack share: a delivery tag and some bits.
fn settlement(arguments: &[u8]) -> Result<(u64, u8), Fault> {
    let mut cursor = Cursor::new(arguments);
    let delivery_tag = cursor.u64().ok_or(Fault::Truncated)?;
    let bits = cursor.u8().ok_or(Fault::Truncated)?;
    at_end(&cursor)?;
    Ok((delivery_tag, bits))
}

fn bit(bits: u8, index: u8) -> bool {
    (bits >> index) & 1 == 1
}

fn short_str<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Fault> {
    let bytes = cursor.short().ok_or(Fault::Truncated)?;
    str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)
}

fn at_end(cursor: &Cursor<'_>) -> Result<(), Fault> {
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(Fault::Trailing(cursor.rest().len()))
    }
}

/// RabbitMQ's text names a bad short string; for all other faults it quotes the arguments.
fn malformed(class_id: u16, method_id: u16, fault: Fault, arguments: &[u8]) -> MethodError {
    let text = match fault {
        Fault::NotUtf8 => "Malformed UTF-8 in shortstr".to_owned(),
        Fault::Truncated | Fault::Trailing(_) | Fault::Parser => {
            format!("cannot decode {}", notation::numbers(arguments))
        }
    };
    MethodError::Malformed {
        class_id,
        method_id,
        fault,
        text,
    }
}

/// Walks `arguments` along `fields` and returns the fields of the table among them. No method has two tables.
fn walk<'a>(fields: &[Field], arguments: &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
    let mut cursor = Cursor::new(arguments);
    let mut table = None;
    for field in fields {
        match field {
            Field::Bits | Field::Octet => cursor.take(1),
            Field::Short => cursor.take(2),
            Field::Long => cursor.take(4),
            Field::LongLong => cursor.take(8),
            Field::LongStr => cursor.long(),
            Field::ShortStr => Some(short_str(&mut cursor)?.as_bytes()),
            Field::Table => {
                table = cursor.long();
                table
            }
        }
        .ok_or(Fault::Truncated)?;
    }
    at_end(&cursor)?;
    Ok(table)
}
