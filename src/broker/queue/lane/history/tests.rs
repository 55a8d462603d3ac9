//! Where stretches end, when they expire, and which stretch a rewind finds.

use super::rewound::RewoundBytes;
use super::*;

fn with_limits(age_ms: u64, bytes_max: Option<u64>) -> History {
    let limits = HistoryLimits { age_ms, bytes_max };
    History::begin(limits, &RangeSet::new(), 0, 0)
}

fn sized(offset: u64, size: u32) -> SizedMessage {
    SizedMessage {
        offset,
        size,
        persistent: true,
    }
}

fn firsts(history: &History) -> Vec<u64> {
    let firsts = history.stretches.iter().map(|stretch| stretch.first);
    firsts.collect()
}

#[test]
fn a_stretch_ends_by_messages_bytes_or_time() {
    for (age_ms, bytes_max, every_ms, size, expected) in [
        (1 << 40, None, 0, 1, vec![0, 4096, 8192]),
        (1 << 40, None, 0, 1 << 20, (0..10_000).step_by(16).collect()),
        (
            1 << 40,
            Some(3200),
            0,
            10,
            (0..10_000).step_by(10).collect(),
        ),
        (320_000, None, 5, 1, vec![0, 2000, 4000, 6000, 8000]),
        (1, None, 1, 1, (0..10_000).step_by(100).collect()),
    ] {
        let mut history = with_limits(age_ms, bytes_max);
        for offset in 0..10_000 {
            let ms = history.enqueued(offset, 1_000 + offset * every_ms, size);
            assert_eq!(ms, 1_000 + offset * every_ms);
        }
        assert_eq!(
            firsts(&history),
            expected,
            "{age_ms} ms, {bytes_max:?} bytes"
        );
    }
}

#[test]
fn a_message_never_counts_as_enqueued_before_the_last_one() {
    let mut history = with_limits(1_000, None);
    assert_eq!(history.enqueued(0, 5_000, 1), 5_000);
    assert_eq!(history.enqueued(1, 3_000, 1), 5_000);
    assert_eq!(history.enqueued(2, 5_001, 1), 5_001);
}

#[test]
fn the_oldest_stretch_expires_by_age_or_by_bytes() {
    let mut history = with_limits(1_000, Some(250));
    for offset in 0..3 {
        history.seal();
        history.enqueued(offset, 100 * offset, 100);
        assert!(history.add(sized(offset, 100)));
    }
    assert_eq!(
        history.drop_oldest(200, 3),
        Some(0..1),
        "300 bytes are too many"
    );
    assert_eq!((history.bytes(), history.start()), (200, 1));
    assert!(
        !history.add(sized(0, 1)),
        "its messages are not added later"
    );
    assert_eq!(history.next_drop_ms(), Some(1_101));
    assert_eq!(history.drop_oldest(1_100, 3), None);
    assert_eq!(history.drop_oldest(1_101, 3), Some(1..2));
    assert_eq!(history.drop_oldest(1_201, 3), Some(2..3));
    assert_eq!((history.bytes(), history.start()), (0, 3));
    assert_eq!(history.next_drop_ms(), None);
}

#[test]
fn a_time_or_an_offset_leads_to_one_stretch() {
    let mut history = with_limits(1_000_000, None);
    for (offset, ms) in [(0, 100), (1, 100), (2, 200), (3, 300), (4, 300)] {
        if offset % 2 == 0 {
            history.seal();
        }
        history.enqueued(offset, ms, 1);
    }
    assert_eq!(firsts(&history), [0, 2, 4]);
    for (ms, expected) in [
        (0, 0..0),
        (100, 0..0),
        (101, 0..2),
        (200, 0..2),
        (201, 2..4),
        (300, 2..4),
        (301, 4..5),
    ] {
        assert_eq!(history.stretch_at_time(ms, 5), expected, "{ms} ms");
    }
    for (offset, expected) in [(0, 0..0), (1, 0..2), (2, 2..2), (3, 2..4), (4, 4..4)] {
        assert_eq!(history.stretch_at(offset, 5), expected, "offset {offset}");
    }
}

#[test]
fn unmeasured_messages_come_back_at_the_average_of_their_stretch() {
    let mut history = with_limits(1_000_000, None);
    let mut settled = RangeSet::new();
    for (offset, size) in (0..8).zip([10, 20, 30, 40, 50, 60, 70, 80]) {
        history.enqueued(offset, 1, size);
        assert!(history.add(sized(offset, size)));
        settled.insert(offset);
    }
    let returned = history.rewound(6, &settled, &[sized(6, 70)], 8);
    // One message is known to have 70 bytes. The other counts with the average of all eight.
    assert_eq!(
        returned,
        RewoundBytes {
            all: 115,
            persistent: 115
        }
    );
    assert_eq!(history.bytes(), 360 - 115);
    settled.remove_range(6..8);
    let returned = history.rewound(0, &settled, &[], 8);
    assert_eq!(returned.all, 245, "everything that is left");
    assert_eq!(history.bytes(), 0);
}
