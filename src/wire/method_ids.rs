//! The numbers of classes and methods (spec 1.6 and 1.7), with RabbitMQ's additions.

pub mod connection {
    pub const CLASS: u16 = 10;
    pub const START: u16 = 10;
    pub const START_OK: u16 = 11;
    pub const SECURE: u16 = 20;
    pub const SECURE_OK: u16 = 21;
    pub const TUNE: u16 = 30;
    pub const TUNE_OK: u16 = 31;
    pub const OPEN: u16 = 40;
    pub const OPEN_OK: u16 = 41;
    pub const CLOSE: u16 = 50;
    pub const CLOSE_OK: u16 = 51;
    pub const BLOCKED: u16 = 60;
    pub const UNBLOCKED: u16 = 61;
    pub const UPDATE_SECRET: u16 = 70;
    pub const UPDATE_SECRET_OK: u16 = 71;
}

pub mod channel {
    pub const CLASS: u16 = 20;
    pub const OPEN: u16 = 10;
    pub const OPEN_OK: u16 = 11;
    pub const FLOW: u16 = 20;
    pub const FLOW_OK: u16 = 21;
    pub const CLOSE: u16 = 40;
    pub const CLOSE_OK: u16 = 41;
}

pub mod access {
    pub const CLASS: u16 = 30;
    pub const REQUEST: u16 = 10;
    pub const REQUEST_OK: u16 = 11;
}

pub mod exchange {
    pub const CLASS: u16 = 40;
    pub const DECLARE: u16 = 10;
    pub const DECLARE_OK: u16 = 11;
    pub const DELETE: u16 = 20;
    pub const DELETE_OK: u16 = 21;
    pub const BIND: u16 = 30;
    pub const BIND_OK: u16 = 31;
    pub const UNBIND: u16 = 40;
    pub const UNBIND_OK: u16 = 51;
}

pub mod queue {
    pub const CLASS: u16 = 50;
    pub const DECLARE: u16 = 10;
    pub const DECLARE_OK: u16 = 11;
    pub const BIND: u16 = 20;
    pub const BIND_OK: u16 = 21;
    pub const PURGE: u16 = 30;
    pub const PURGE_OK: u16 = 31;
    pub const DELETE: u16 = 40;
    pub const DELETE_OK: u16 = 41;
    pub const UNBIND: u16 = 50;
    pub const UNBIND_OK: u16 = 51;
}

pub mod basic {
    pub const CLASS: u16 = 60;
    pub const QOS: u16 = 10;
    pub const QOS_OK: u16 = 11;
    pub const CONSUME: u16 = 20;
    pub const CONSUME_OK: u16 = 21;
    pub const CANCEL: u16 = 30;
    pub const CANCEL_OK: u16 = 31;
    pub const PUBLISH: u16 = 40;
    pub const RETURN: u16 = 50;
    pub const DELIVER: u16 = 60;
    pub const GET: u16 = 70;
    pub const GET_OK: u16 = 71;
    pub const GET_EMPTY: u16 = 72;
    pub const ACK: u16 = 80;
    pub const REJECT: u16 = 90;
    pub const RECOVER_ASYNC: u16 = 100;
    pub const RECOVER: u16 = 110;
    pub const RECOVER_OK: u16 = 111;
    pub const NACK: u16 = 120;
}

pub mod confirm {
    pub const CLASS: u16 = 85;
    pub const SELECT: u16 = 10;
    pub const SELECT_OK: u16 = 11;
}

pub mod tx {
    pub const CLASS: u16 = 90;
    pub const SELECT: u16 = 10;
    pub const SELECT_OK: u16 = 11;
    pub const COMMIT: u16 = 20;
    pub const COMMIT_OK: u16 = 21;
    pub const ROLLBACK: u16 = 30;
    pub const ROLLBACK_OK: u16 = 31;
}
