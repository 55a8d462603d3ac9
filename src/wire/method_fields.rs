//! The fields of every method of AMQP 0-9-1 and of RabbitMQ's additions, both from clients and from brokers.

use super::method_ids::{access, basic, channel, confirm, connection, exchange, queue, tx};

/// The type of a method's field, as far as it determines the length on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Up to eight bits, packed.
    Bits,
    Octet,
    Short,
    Long,
    LongLong,
    ShortStr,
    LongStr,
    Table,
}

/// The fields of a method; `None` for an unknown method. At most one of them is a table.
pub(super) fn fields(class_id: u16, method_id: u16) -> Option<&'static [Field]> {
    match class_id {
        connection::CLASS => connection_fields(method_id),
        channel::CLASS => channel_fields(method_id),
        access::CLASS => access_fields(method_id),
        exchange::CLASS => exchange_fields(method_id),
        queue::CLASS => queue_fields(method_id),
        basic::CLASS => basic_fields(method_id),
        confirm::CLASS => confirm_fields(method_id),
        tx::CLASS => tx_fields(method_id),
        _ => None,
    }
}

fn connection_fields(method_id: u16) -> Option<&'static [Field]> {
    use Field::*;
    use connection::*;
    Some(match method_id {
        START => &[Octet, Octet, Table, LongStr, LongStr],
        START_OK => &[Table, ShortStr, LongStr, ShortStr],
        SECURE | SECURE_OK => &[LongStr],
        TUNE | TUNE_OK => &[Short, Long, Short],
        OPEN => &[ShortStr, ShortStr, Bits],
        OPEN_OK | BLOCKED => &[ShortStr],
        CLOSE => &[Short, ShortStr, Short, Short],
        CLOSE_OK | UNBLOCKED | UPDATE_SECRET_OK => &[],
        UPDATE_SECRET => &[LongStr, ShortStr],
        _ => return None,
    })
}

fn channel_fields(method_id: u16) -> Option<&'static [Field]> {
    use Field::*;
    use channel::*;
    Some(match method_id {
        OPEN => &[ShortStr],
        OPEN_OK => &[LongStr],
        FLOW | FLOW_OK => &[Bits],
        CLOSE => &[Short, ShortStr, Short, Short],
        CLOSE_OK => &[],
        _ => return None,
    })
}

fn access_fields(method_id: u16) -> Option<&'static [Field]> {
    use Field::*;
    Some(match method_id {
        access::REQUEST => &[ShortStr, Bits],
        access::REQUEST_OK => &[Short],
        _ => return None,
    })
}

fn exchange_fields(method_id: u16) -> Option<&'static [Field]> {
    use Field::*;
    use exchange::*;
    Some(match method_id {
        DECLARE => &[Short, ShortStr, ShortStr, Bits, Table],
        DELETE => &[Short, ShortStr, Bits],
        BIND | UNBIND => &[Short, ShortStr, ShortStr, ShortStr, Bits, Table],
        DECLARE_OK | DELETE_OK | BIND_OK | UNBIND_OK => &[],
        _ => return None,
    })
}

fn queue_fields(method_id: u16) -> Option<&'static [Field]> {
    use Field::*;
    use queue::*;
    Some(match method_id {
        DECLARE => &[Short, ShortStr, Bits, Table],
        DECLARE_OK => &[ShortStr, Long, Long],
        BIND => &[Short, ShortStr, ShortStr, ShortStr, Bits, Table],
        PURGE | DELETE => &[Short, ShortStr, Bits],
        PURGE_OK | DELETE_OK => &[Long],
        UNBIND => &[Short, ShortStr, ShortStr, ShortStr, Table],
        BIND_OK | UNBIND_OK => &[],
        _ => return None,
    })
}

fn basic_fields(method_id: u16) -> Option<&'static [Field]> {
    use Field::*;
    use basic::*;
    Some(match method_id {
        QOS => &[Long, Short, Bits],
        CONSUME => &[Short, ShortStr, ShortStr, Bits, Table],
        CONSUME_OK | CANCEL_OK | GET_EMPTY => &[ShortStr],
        CANCEL => &[ShortStr, Bits],
        PUBLISH => &[Short, ShortStr, ShortStr, Bits],
        RETURN => &[Short, ShortStr, ShortStr, ShortStr],
        DELIVER => &[ShortStr, LongLong, Bits, ShortStr, ShortStr],
        GET => &[Short, ShortStr, Bits],
        GET_OK => &[LongLong, Bits, ShortStr, ShortStr, Long],
        ACK | REJECT | NACK => &[LongLong, Bits],
        RECOVER_ASYNC | RECOVER => &[Bits],
        QOS_OK | RECOVER_OK => &[],
        _ => return None,
    })
}

fn confirm_fields(method_id: u16) -> Option<&'static [Field]> {
    match method_id {
        confirm::SELECT => Some(&[Field::Bits]),
        confirm::SELECT_OK => Some(&[]),
        _ => None,
    }
}

fn tx_fields(method_id: u16) -> Option<&'static [Field]> {
    use tx::*;
    match method_id {
        SELECT | SELECT_OK | COMMIT | COMMIT_OK | ROLLBACK | ROLLBACK_OK => Some(&[]),
        _ => None,
    }
}
