//! Retention drops whole segments.

use super::*;

#[test]
fn whole_segments_are_dropped_by_bytes() {
    let mut f = Fixture::new(&[
        ("x-max-length-bytes", number(100)),
        ("x-stream-max-segment-size-bytes", number(40)),
    ]);
    let reader = f.consume(StreamOffset::First, 1);
    // Ten chunks of two messages of 12 bytes, which are segments of two chunks.
    for _ in 0..10 {
        f.publish_durable(2);
    }
    assert_eq!(f.counts(), (8, 0), "two segments of 48 bytes");
    assert_eq!(f.stream.floor, 12);
    f.sync();
    let left = f.store.read(f.stream.log, 0, usize::MAX).unwrap();
    assert_eq!(
        left.first().map(|chunk| chunk.first),
        Some(12),
        "swept from the store"
    );
    // A lagging consumer goes on with the first remaining message.
    assert_eq!(f.delivered(reader), [0]);
    f.grant(reader, 100);
    assert_eq!(f.delivered(reader), (12..20).collect::<Vec<_>>());
    f.restart();
    assert_eq!(f.counts(), (8, 0));
    let first = f.consume(StreamOffset::Offset(3), 100);
    assert_eq!(f.delivered(first), (12..20).collect::<Vec<_>>());
}

#[test]
fn new_limits_trim_a_stream_and_hold_from_then_on() {
    let mut f = Fixture::new(&[("x-stream-max-segment-size-bytes", number(1))]);
    for _ in 0..4 {
        f.publish_durable(2);
        f.now_ms += 1_000;
    }
    let declared = QueueArguments::clone(&f.arguments);
    let reconfigured = |arguments: QueueArguments, f: &mut Fixture| {
        let now_ms = f.now_ms;
        f.stream.reconfigure(now_ms, Arc::new(arguments), &mut f.fx);
        f.counts()
    };
    assert_eq!(f.stream.deadline_ms(f.now_ms), None);
    // The first two segments are 4 s and 3 s old.
    let aged = QueueArguments {
        max_age_ms: Some(2_500),
        ..declared.clone()
    };
    assert_eq!(reconfigured(aged.clone(), &mut f), (4, 0));
    assert_eq!(f.stream.deadline_ms(f.now_ms), Some(f.now_ms + 501));
    // Longer limits bring nothing back.
    assert_eq!(reconfigured(declared.clone(), &mut f), (4, 0));
    assert_eq!(f.stream.deadline_ms(f.now_ms), None);
    let short = QueueArguments {
        max_length_bytes: Some(24),
        ..declared.clone()
    };
    assert_eq!(reconfigured(short, &mut f), (2, 0));
    // The open segment grows to a larger size.
    let large = QueueArguments {
        segment_bytes: 1_000,
        ..declared
    };
    reconfigured(large, &mut f);
    let before = f.stream.segments.len();
    for _ in 0..4 {
        f.publish_durable(2);
    }
    assert_eq!(f.stream.segments.len(), before);
    f.sync();
    f.restart();
    assert_eq!(f.counts(), (10, 0));
}

#[test]
fn a_read_of_messages_that_retention_has_dropped_finds_nothing() {
    let mut f = Fixture::new(&[
        ("x-max-length-bytes", number(50)),
        ("x-stream-max-segment-size-bytes", number(1)),
    ]);
    f.publish_durable(2);
    f.restart();
    f.slow_disk = true;
    let id = f.consume(StreamOffset::First, 10);
    assert_eq!(f.waiting_loads.len(), 1);
    assert!(f.stream.expects(QueueId(1).log(0), 0));
    f.publish(&[message(&[0; 60], None)]);
    assert!(!f.stream.expects(QueueId(1).log(0), 0));
    // The disk has no message from there on: the later message is not committed.
    f.waiting_loads.clear();
    let log = f.stream.log;
    f.stream.loaded(f.now_ms, log, 0, Vec::new(), &mut f.fx);
    f.sync();
    assert_eq!(f.delivered(id), [2]);
}

#[test]
fn whole_segments_are_dropped_by_age() {
    let mut f = Fixture::new(&[
        ("x-max-age", AMQPValue::LongString("10s".into())),
        ("x-stream-max-segment-size-bytes", number(1)),
    ]);
    for _ in 0..3 {
        f.publish_durable(2);
        f.now_ms += 1_000;
    }
    assert_eq!(f.counts(), (6, 0));
    assert_eq!(f.stream.deadline_ms(f.now_ms), Some(1_010_001));
    f.now_ms = 1_010_000;
    f.stream.tick(f.now_ms, &mut f.fx);
    assert_eq!(f.counts(), (6, 0));
    f.now_ms = 1_010_001;
    f.stream.tick(f.now_ms, &mut f.fx);
    assert_eq!(f.counts(), (4, 0));
    assert_eq!(f.stream.deadline_ms(f.now_ms), Some(1_011_001));
    f.now_ms = 9_000_000;
    f.stream.tick(f.now_ms, &mut f.fx);
    assert_eq!(f.counts(), (2, 0), "the open segment stays");
    assert_eq!(f.stream.deadline_ms(f.now_ms), None);
    assert!(f.stream.is_dirty());
}
