//! What only Leveret has: the commits, leases, rewinds, and CMQ's requests.

use crate::metrics::exposition::{Exposition, Kind};
use crate::store::commit::Histogram;
use crate::views::Views;

pub(super) fn write(views: &Views, leases: u64, out: &mut Exposition) {
    let broker = views.broker();
    let committer = broker.committer();
    let figures = committer.figures();
    bytes(
        out,
        "leveret_commit_batch_bytes",
        "Bytes of each committed batch",
        &figures.batch_bytes,
    );
    seconds(
        out,
        "leveret_commit_seconds",
        "Duration of each commit to the store",
        &figures.commit_micros,
    );
    seconds(
        out,
        "leveret_sync_seconds",
        "Duration of each sync of the disk",
        &figures.sync_micros,
    );
    let totals = broker.stats().totals();
    let mut gauge = |name, help, value: u64| out.single(name, Kind::Gauge, help, value);
    gauge(
        "leveret_pending_bytes",
        "Bytes handed to queues and not yet durable",
        committer.pending_bytes() as u64,
    );
    gauge(
        "leveret_message_memory_bytes",
        "Messages of all queues in memory",
        broker.budget().used(),
    );
    gauge(
        "leveret_leases",
        "Messages that are leased to clients",
        leases,
    );
    let mut counter = |name, help, value: u64| out.single(name, Kind::Counter, help, value);
    counter("leveret_rewinds_total", "Rewinds of queues", totals.rewinds);
    counter(
        "leveret_rewound_messages_total",
        "Messages that rewinds made ready again",
        totals.rewound,
    );
    requests(views, out);
}

fn requests(views: &Views, out: &mut Exposition) {
    let name = "leveret_cmq_requests_total";
    let help = "Requests to CMQ's API by action and result code; 0 is success";
    out.family(name, Kind::Counter, help);
    for ((action, code), count) in views.broker().stats().cmq_requests.list() {
        out.sample(
            name,
            &[("action", action), ("code", &code.to_string())],
            count,
        );
    }
}

fn bytes(out: &mut Exposition, name: &str, help: &str, histogram: &Histogram) {
    out.family(name, Kind::Histogram, help);
    let bounds = histogram.bounds().iter().map(u64::to_string);
    write_buckets(
        out,
        name,
        bounds.collect(),
        histogram,
        histogram.sum().to_string(),
    );
}

/// A histogram of microseconds, in seconds.
fn seconds(out: &mut Exposition, name: &str, help: &str, histogram: &Histogram) {
    out.family(name, Kind::Histogram, help);
    let bounds = histogram.bounds().iter().map(|micros| in_seconds(*micros));
    let sum = in_seconds(histogram.sum());
    write_buckets(out, name, bounds.collect(), histogram, sum);
}

fn write_buckets(
    out: &mut Exposition,
    name: &str,
    bounds: Vec<String>,
    histogram: &Histogram,
    sum: String,
) {
    let bounds = bounds.iter().map(|bound| Some(bound.as_str()));
    let buckets = bounds.chain([None]).zip(histogram.counts());
    out.histogram(name, &[], buckets, sum);
}

fn in_seconds(micros: u64) -> String {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    match rest {
        0 => whole.to_string(),
        _ => format!("{whole}.{rest:06}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_are_shown_in_seconds() {
        for (micros, seconds) in [
            (0, "0"),
            (100, "0.0001"),
            (2_500, "0.0025"),
            (1_000_000, "1"),
            (5_100_000, "5.1"),
        ] {
            assert_eq!(in_seconds(micros), seconds);
        }
    }
}
