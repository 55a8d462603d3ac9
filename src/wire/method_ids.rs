//! The numbers of classes and methods (spec 1.6 and 1.7), with RabbitMQ's additions.

pub(super) mod connection {
    pub(in crate::wire) const CLASS: u16 = 10;
    pub(in crate::wire) const START: u16 = 10;
    pub(in crate::wire) const START_OK: u16 = 11;
    pub(in crate::wire) const SECURE: u16 = 20;
    pub(in crate::wire) const SECURE_OK: u16 = 21;
    pub(in crate::wire) const TUNE: u16 = 30;
    pub(in crate::wire) const TUNE_OK: u16 = 31;
    pub(in crate::wire) const OPEN: u16 = 40;
    pub(in crate::wire) const OPEN_OK: u16 = 41;
    pub(in crate::wire) const CLOSE: u16 = 50;
    pub(in crate::wire) const CLOSE_OK: u16 = 51;
    pub(in crate::wire) const BLOCKED: u16 = 60;
    pub(in crate::wire) const UNBLOCKED: u16 = 61;
    pub(in crate::wire) const UPDATE_SECRET: u16 = 70;
    pub(in crate::wire) const UPDATE_SECRET_OK: u16 = 71;
}

pub(super) mod channel {
    pub(in crate::wire) const CLASS: u16 = 20;
    pub(in crate::wire) const OPEN: u16 = 10;
    pub(in crate::wire) const OPEN_OK: u16 = 11;
    pub(in crate::wire) const FLOW: u16 = 20;
    pub(in crate::wire) const FLOW_OK: u16 = 21;
    pub(in crate::wire) const CLOSE: u16 = 40;
    pub(in crate::wire) const CLOSE_OK: u16 = 41;
}

pub(super) mod access {
    pub(in crate::wire) const CLASS: u16 = 30;
    pub(in crate::wire) const REQUEST: u16 = 10;
    pub(in crate::wire) const REQUEST_OK: u16 = 11;
}

pub(super) mod exchange {
    pub(in crate::wire) const CLASS: u16 = 40;
    pub(in crate::wire) const DECLARE: u16 = 10;
    pub(in crate::wire) const DECLARE_OK: u16 = 11;
    pub(in crate::wire) const DELETE: u16 = 20;
    pub(in crate::wire) const DELETE_OK: u16 = 21;
    pub(in crate::wire) const BIND: u16 = 30;
    pub(in crate::wire) const BIND_OK: u16 = 31;
    pub(in crate::wire) const UNBIND: u16 = 40;
    pub(in crate::wire) const UNBIND_OK: u16 = 51;
}

pub(super) mod queue {
    pub(in crate::wire) const CLASS: u16 = 50;
    pub(in crate::wire) const DECLARE: u16 = 10;
    pub(in crate::wire) const DECLARE_OK: u16 = 11;
    pub(in crate::wire) const BIND: u16 = 20;
    pub(in crate::wire) const BIND_OK: u16 = 21;
    pub(in crate::wire) const PURGE: u16 = 30;
    pub(in crate::wire) const PURGE_OK: u16 = 31;
    pub(in crate::wire) const DELETE: u16 = 40;
    pub(in crate::wire) const DELETE_OK: u16 = 41;
    pub(in crate::wire) const UNBIND: u16 = 50;
    pub(in crate::wire) const UNBIND_OK: u16 = 51;
}

pub(super) mod basic {
    pub(in crate::wire) const CLASS: u16 = 60;
    pub(in crate::wire) const QOS: u16 = 10;
    pub(in crate::wire) const QOS_OK: u16 = 11;
    pub(in crate::wire) const CONSUME: u16 = 20;
    pub(in crate::wire) const CONSUME_OK: u16 = 21;
    pub(in crate::wire) const CANCEL: u16 = 30;
    pub(in crate::wire) const CANCEL_OK: u16 = 31;
    pub(in crate::wire) const PUBLISH: u16 = 40;
    pub(in crate::wire) const RETURN: u16 = 50;
    pub(in crate::wire) const DELIVER: u16 = 60;
    pub(in crate::wire) const GET: u16 = 70;
    pub(in crate::wire) const GET_OK: u16 = 71;
    pub(in crate::wire) const GET_EMPTY: u16 = 72;
    pub(in crate::wire) const ACK: u16 = 80;
    pub(in crate::wire) const REJECT: u16 = 90;
    pub(in crate::wire) const RECOVER_ASYNC: u16 = 100;
    pub(in crate::wire) const RECOVER: u16 = 110;
    pub(in crate::wire) const RECOVER_OK: u16 = 111;
    pub(in crate::wire) const NACK: u16 = 120;
}

pub(super) mod confirm {
    pub(in crate::wire) const CLASS: u16 = 85;
    pub(in crate::wire) const SELECT: u16 = 10;
    pub(in crate::wire) const SELECT_OK: u16 = 11;
}

pub(super) mod tx {
    pub(in crate::wire) const CLASS: u16 = 90;
    pub(in crate::wire) const SELECT: u16 = 10;
    pub(in crate::wire) const SELECT_OK: u16 = 11;
    pub(in crate::wire) const COMMIT: u16 = 20;
    pub(in crate::wire) const COMMIT_OK: u16 = 21;
    pub(in crate::wire) const ROLLBACK: u16 = 30;
    pub(in crate::wire) const ROLLBACK_OK: u16 = 31;
}
