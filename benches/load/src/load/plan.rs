//! The plan of a load: what producers and consumers do, and for how long.

use std::time::Duration;

use super::consumer::ConsumerPlan;
use crate::message::DueSpan;
use crate::options::LengthOptions;
use crate::setup::Setup;

/// The plan of all producers together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishPlan {
    /// Messages that each producer may have unconfirmed; `None`: no confirms.
    pub(crate) confirm_window: Option<u32>,
    /// Messages per second; `None`: as many as possible.
    pub(crate) rate: Option<u64>,
}

/// How long a load is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Time(Duration),
    /// Until this number of messages, all producers and queues together, are received; confirmed, if there
    /// are no consumers.
    Messages(u64),
}

pub(crate) struct Load<'a> {
    pub(super) setup: &'a Setup,
    pub(crate) name: &'static str,
    pub(super) produce: Option<PublishPlan>,
    /// Number of messages after which the producers end.
    pub(super) quota: Option<u64>,
    pub(super) consume: Option<ConsumerPlan>,
    /// Set if messages are due at random times: producers choose the times, consumers record the lateness.
    pub(super) due: Option<DueSpan>,
    /// Messages per second that a broker without delay would deliver; `None`: as many as possible.
    pub(crate) offered: Option<u64>,
    pub(super) warm_up: Duration,
    pub(super) length: Length,
    /// Messages that earlier loads have put into the queues, by stream.
    pub(super) sent_before: Vec<u64>,
}

impl<'a> Load<'a> {
    /// Publishes, and consumes if there is a plan for it.
    pub(crate) fn new(
        setup: &'a Setup,
        name: &'static str,
        produce: PublishPlan,
        consume: Option<ConsumerPlan>,
        length: &LengthOptions,
    ) -> Load<'a> {
        let copies = consume.map_or(1, |_| setup.layout.copies() as u64);
        let (warm_up, length_of_load) = match length.count {
            Some(count) => (Duration::ZERO, Length::Messages(count * copies)),
            None => (length.time.warm_up, Length::Time(length.time.seconds)),
        };
        Load {
            setup,
            name,
            produce: Some(produce),
            quota: length.count,
            consume,
            due: None,
            offered: produce.rate,
            warm_up,
            length: length_of_load,
            sent_before: Vec::new(),
        }
    }

    /// Puts `count` messages into the queues.
    pub(crate) fn fill(setup: &'a Setup, produce: PublishPlan, count: u64) -> Load<'a> {
        Load {
            setup,
            name: "fill",
            produce: Some(produce),
            quota: Some(count),
            consume: None,
            due: None,
            offered: produce.rate,
            warm_up: Duration::ZERO,
            length: Length::Messages(count),
            sent_before: Vec::new(),
        }
    }

    /// Consumes the messages that an earlier load has `sent`, by stream.
    pub(crate) fn drain(
        setup: &'a Setup,
        name: &'static str,
        consume: ConsumerPlan,
        sent: Vec<u64>,
    ) -> Load<'a> {
        let messages = sent.iter().sum::<u64>() * setup.layout.copies() as u64;
        Load {
            setup,
            name,
            produce: None,
            quota: None,
            consume: Some(consume),
            due: None,
            offered: None,
            warm_up: Duration::ZERO,
            length: Length::Messages(messages),
            sent_before: sent,
        }
    }

    /// Fills the queues with messages that are due at random times.
    pub(crate) fn fill_due(
        setup: &'a Setup,
        produce: PublishPlan,
        count: u64,
        due: DueSpan,
    ) -> Load<'a> {
        Load {
            due: Some(due),
            ..Load::fill(setup, produce, count)
        }
    }

    /// Consumes the messages of `fill_due` as they become due. The measured time begins when the first may be
    /// due.
    pub(crate) fn drain_due(
        setup: &'a Setup,
        consume: ConsumerPlan,
        sent: Vec<u64>,
        due: DueSpan,
        now_ms: u64,
    ) -> Load<'a> {
        let drain = Load::drain(setup, "due", consume, sent);
        let offered = match drain.length {
            Length::Messages(count) => Some(due.per_second(count)),
            Length::Time(_) => None,
        };
        Load {
            due: Some(due),
            offered,
            warm_up: due.begins_in(now_ms),
            ..drain
        }
    }
}
