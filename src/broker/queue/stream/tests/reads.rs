//! Reads for lagging consumers, and what stays resident.

use super::*;
use crate::store::Journal as _;

#[test]
fn memory_does_not_grow_with_the_stream() {
    let mut f = Fixture::new(&[]);
    let body = vec![b'x'; 1_000];
    for _ in 0..200 {
        let run: Vec<_> = (0..100).map(|_| message(&body, None)).collect();
        f.publish(&run);
        f.sync();
        assert!(f.stream.resident_bytes() <= IDLE_TAIL_BYTES + 130_000);
    }
    assert!(f.stream.resident_bytes() <= IDLE_TAIL_BYTES);
    let id = f.consume(StreamOffset::First, 0);
    for round in 0..200 {
        f.grant(id, 100);
        assert_eq!(
            f.delivered(id),
            (round * 100..round * 100 + 100).collect::<Vec<_>>()
        );
        assert!(f.stream.resident_bytes() <= TAIL_BYTES + 3 * RUN_BYTES as u64);
    }
    // 20 MB in runs of 256 KB, each read once.
    assert!(f.loads <= 100, "{}", f.loads);
}

#[test]
fn a_lagging_consumer_does_not_hold_up_others() {
    let mut f = Fixture::new(&[]);
    let body = vec![b'x'; 10_000];
    let run: Vec<_> = (0..200).map(|_| message(&body, None)).collect();
    f.publish(&run);
    f.sync();
    f.slow_disk = true;
    let behind: Vec<_> = (0..10)
        .map(|n| f.consume(StreamOffset::Offset(n * 15), 1_000))
        .collect();
    let current = f.consume(StreamOffset::Next, 1_000);
    assert!(f.waiting_loads.len() <= LOADS_MAX);
    f.publish_durable(1);
    assert_eq!(f.delivered(current), [200]);
    // The disk answers one read after the other. In the end all consumers get everything.
    while let Some((log, from)) = f.waiting_loads.pop() {
        f.load(log, from);
        f.carry_out();
        assert!(f.waiting_loads.len() <= LOADS_MAX);
    }
    for (n, id) in (0..).zip(behind) {
        assert_eq!(f.delivered(id), (n * 15..201).collect::<Vec<_>>(), "{n}");
    }
}

#[test]
fn consumers_at_one_position_share_their_reads() {
    let mut f = Fixture::new(&[]);
    let body = vec![b'x'; 10_000];
    for _ in 0..20 {
        let run: Vec<_> = (0..20).map(|_| message(&body, None)).collect();
        f.publish(&run);
        f.sync();
    }
    let ids: Vec<_> = (0..5).map(|_| f.consume(StreamOffset::First, 0)).collect();
    for _ in 0..40 {
        for id in &ids {
            f.grant(*id, 10);
        }
    }
    for id in ids {
        assert_eq!(f.delivered(id), (0..400).collect::<Vec<_>>());
    }
    assert!(f.loads <= 4_000_000 / RUN_BYTES + 5, "{}", f.loads);
}

#[test]
fn lost_messages_are_skipped() {
    let mut fixture = Fixture::new(&[]);
    for _ in 0..3 {
        fixture.publish_durable(10);
    }
    fixture.restart();
    let log = QueueId(1).log(0);
    let gone = Op::RemoveChunk { log, first: 10 };
    fixture.store.append(&[gone].into_iter().collect()).unwrap();
    assert!(fixture.stream.expects(log, 10));
    let lost = fixture
        .stream
        .lose(fixture.now_ms, log, 10..20, &mut fixture.fx);
    assert_eq!(lost, 10);
    assert!(!fixture.stream.expects(log, 10) && fixture.stream.expects(log, 20));
    let whole: Vec<u64> = (0..10).chain(20..30).collect();
    let first = fixture.consume(StreamOffset::First, 100);
    assert_eq!(fixture.delivered(first), whole);
    let within = fixture.consume(StreamOffset::Offset(15), 100);
    assert_eq!(fixture.delivered(within), whole[10..]);
    assert_eq!(fixture.stream.counts().damaged, 10);
    assert_eq!(fixture.counts(), (20, 0));
    let told = fixture.stream.lost();
    assert_eq!((told[0].0, &told[0].1[0]), (log, &(10..20)));
    let again = fixture
        .stream
        .lose(fixture.now_ms, log, 10..u64::MAX, &mut fixture.fx);
    assert_eq!(again, 0, "the rest is in memory");
}
