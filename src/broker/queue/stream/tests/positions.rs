//! Where consumers begin.

use super::*;

#[test]
fn consumers_begin_at_the_position_they_ask_for() {
    let mut f = Fixture::new(&[]);
    for _ in 0..3 {
        f.publish_durable(2);
        f.now_ms += 1_000;
    }
    let cases = [
        (StreamOffset::First, vec![0, 1, 2, 3, 4, 5]),
        (StreamOffset::Next, vec![]),
        (StreamOffset::Last, vec![4, 5]),
        (StreamOffset::Offset(0), vec![0, 1, 2, 3, 4, 5]),
        (StreamOffset::Offset(5), vec![5]),
        (StreamOffset::Offset(6), vec![]),
        (StreamOffset::Offset(7), vec![]),
        (StreamOffset::Time(0), vec![0, 1, 2, 3, 4, 5]),
        (StreamOffset::Time(1_000_001), vec![2, 3, 4, 5]),
        (StreamOffset::Time(1_001_000), vec![2, 3, 4, 5]),
        (StreamOffset::Time(1_002_000), vec![4, 5]),
        (StreamOffset::Time(1_002_001), vec![]),
        (StreamOffset::Time(u64::MAX), vec![]),
    ];
    for _ in 0..2 {
        for (offset, expected) in &cases {
            let id = f.consume(*offset, 100);
            assert_eq!(f.delivered(id), *expected, "{offset:?}");
            f.stream.leave(f.now_ms, &[id], &[], &mut f.fx);
        }
        f.restart();
    }
    let ids: Vec<_> = cases
        .iter()
        .map(|(offset, _)| f.consume(*offset, 100))
        .collect();
    f.publish_durable(2);
    for (id, (offset, before)) in ids.into_iter().zip(cases) {
        let mut expected = before;
        expected.extend(
            [6, 7]
                .iter()
                .filter(|new| offset != StreamOffset::Offset(7) || **new == 7),
        );
        assert_eq!(f.delivered(id), expected, "{offset:?}");
    }
}

#[test]
fn in_an_empty_stream_all_positions_are_the_same() {
    let mut f = Fixture::new(&[]);
    let ids: Vec<_> = [
        StreamOffset::First,
        StreamOffset::Last,
        StreamOffset::Next,
        StreamOffset::Time(5),
    ]
    .map(|offset| f.consume(offset, 10))
    .into();
    f.publish_durable(1);
    for id in ids {
        assert_eq!(f.delivered(id), [0]);
    }
}

#[test]
fn a_time_far_back_is_found_on_disk_in_few_reads() {
    let mut f = Fixture::new(&[]);
    for _ in 0..60 {
        f.publish_durable(500);
        f.now_ms += 1_000;
    }
    f.restart();
    f.loads = 0;
    let id = f.consume(StreamOffset::Time(1_030_000), 2);
    assert_eq!(f.delivered(id), [15_000, 15_001]);
    assert!(f.loads <= 4, "{}", f.loads);
    let id = f.consume(StreamOffset::Time(1_029_001), 1);
    assert_eq!(f.delivered(id), [15_000]);
}
