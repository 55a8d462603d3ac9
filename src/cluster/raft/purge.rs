//! Up to where a member purges its log. Pure.

/// How much of the log is kept for members that lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogBounds {
    /// Bytes of entries that are kept in any case.
    pub(super) keep_bytes: u64,
    /// Bytes up to which entries are kept that a live member still lacks. It gets a snapshot if it lacks more.
    pub(super) keep_for_live_bytes: u64,
}

const GIB: u64 = 1024 * 1024 * 1024;
/// The kept log is this part of the room for it, at most.
const PART_OF_ROOM: u64 = 8;
/// Times as much is kept for a live member.
const FOR_LIVE_FACTOR: u64 = 4;

impl LogBounds {
    /// The bounds on a disk that has this room for the log: what is free and what the kept log takes.
    pub(super) fn of_room(room: Option<u64>) -> LogBounds {
        LogBounds::keeping(room.map_or(GIB, |room| room / PART_OF_ROOM).min(GIB))
    }

    /// The bounds with these bytes.
    pub(super) fn keeping(keep_bytes: u64) -> LogBounds {
        LogBounds {
            keep_bytes,
            keep_for_live_bytes: keep_bytes * FOR_LIVE_FACTOR,
        }
    }
}

/// What is known of the log, in indexes of the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptLog {
    pub(super) purged: u64,
    pub(super) applied: u64,
    /// Up to here entries exceed `keep_bytes`.
    pub(super) excess: u64,
    /// Up to here entries exceed `keep_for_live_bytes`.
    pub(super) excess_for_live: u64,
}

/// A member that the leader hears.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveMember {
    /// The last entry that it is known to have.
    pub(super) matched: u64,
    /// The last entry of the snapshot that it is being sent.
    pub(super) snapshot: Option<u64>,
}

/// The entry up to which the log is purged now, if any.
pub(super) fn purge_upto(log: KeptLog, live: &[LiveMember]) -> Option<u64> {
    let needed = live.iter().filter_map(|member| {
        let has = member.matched.max(member.snapshot.unwrap_or(0));
        // One that lacks purged entries gets a snapshot, which has all that is applied then.
        (has >= log.purged).then_some(has)
    });
    let needed = needed.min().unwrap_or(u64::MAX);
    let upto = log.excess.min(needed.max(log.excess_for_live));
    let upto = upto.min(log.applied);
    (upto > log.purged).then_some(upto)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_purged_down_to_its_bounds_but_not_what_a_live_member_lacks() {
        let lacks_nothing = |matched| LiveMember {
            matched,
            snapshot: None,
        };
        let gets = |matched, snapshot| LiveMember {
            matched,
            snapshot: Some(snapshot),
        };
        for (log, live, expected) in [
            // purged, applied, excess, excess for live members
            ([0, 100, 0, 0], vec![], None),
            ([0, 100, 60, 0], vec![], Some(60)),
            ([60, 100, 60, 0], vec![], None),
            // What is not applied stays.
            ([0, 40, 60, 0], vec![], Some(40)),
            ([0, 0, 60, 0], vec![], None),
            // A live member lacks some.
            ([0, 100, 60, 0], vec![lacks_nothing(90)], Some(60)),
            (
                [0, 100, 60, 0],
                vec![lacks_nothing(90), lacks_nothing(30)],
                Some(30),
            ),
            ([30, 100, 60, 0], vec![lacks_nothing(30)], None),
            ([30, 100, 60, 50], vec![lacks_nothing(30)], Some(50)),
            // One that needs a snapshot anyway does not count, until it gets one.
            ([30, 100, 60, 0], vec![lacks_nothing(29)], Some(60)),
            ([30, 100, 60, 0], vec![gets(2, 45)], Some(45)),
            ([30, 100, 60, 0], vec![gets(50, 45)], Some(50)),
            ([30, 100, 60, 55], vec![gets(2, 45)], Some(55)),
        ] {
            let [purged, applied, excess, excess_for_live] = log;
            let kept = KeptLog {
                purged,
                applied,
                excess,
                excess_for_live,
            };
            assert_eq!(purge_upto(kept, &live), expected, "{log:?} {live:?}");
        }
    }

    #[test]
    fn a_small_disk_keeps_a_small_log() {
        let keeps = |room| LogBounds::of_room(room).keep_bytes;
        assert_eq!(keeps(None), GIB);
        assert_eq!(keeps(Some(100 * GIB)), GIB);
        assert_eq!(keeps(Some(GIB)), GIB / 8);
        assert_eq!(LogBounds::of_room(Some(GIB)).keep_for_live_bytes, GIB / 2);
    }
}
