//! The levels of a queue: which lane takes messages of a priority, and which lanes come first. A queue without
//! priorities has one lane, a classic queue one per priority up to `x-max-priority`, a quorum queue up to 32.
//! Knows no lane's contents.

use crate::model::Message;
use crate::model::arguments::{QueueArguments, QueueKind};
use crate::wire::names_priority;

/// The highest level of a quorum queue. Messages of higher priorities have it, too.
const QUORUM_LEVEL_MAX: u8 = 31;
/// The level of messages without a priority in a quorum queue.
const QUORUM_LEVEL_DEFAULT: u8 = 4;

/// The lane for a message.
pub(super) fn lane_of(arguments: &QueueArguments, message: &Message) -> u8 {
    match arguments.kind {
        QueueKind::Quorum => match message.priority {
            0 if !names_priority(&message.properties) => quorum_lane(QUORUM_LEVEL_DEFAULT),
            priority => quorum_lane(priority.min(QUORUM_LEVEL_MAX)),
        },
        QueueKind::Classic | QueueKind::Stream => {
            let max = arguments.max_priority;
            max.map_or(0, |max| message.priority.min(max))
        }
    }
}

/// The level of a lane. Higher levels are served first.
pub(super) fn level_of(kind: QueueKind, lane: u8) -> u8 {
    match kind {
        QueueKind::Quorum => quorum_level(lane),
        QueueKind::Classic | QueueKind::Stream => lane,
    }
}

/// The lane of a level. Lane 0 has the level of most messages, so that a queue without priorities has the lane that
/// every queue has. Data directories from before there were levels have two lanes: 0 with priorities up to 4, and 1
/// with those above. Their messages come in this order with the others.
fn quorum_lane(level: u8) -> u8 {
    match level {
        QUORUM_LEVEL_DEFAULT => 0,
        5 => 1,
        0..QUORUM_LEVEL_DEFAULT => level + 2,
        6.. => level,
    }
}

fn quorum_level(lane: u8) -> u8 {
    match lane {
        0 => QUORUM_LEVEL_DEFAULT,
        1 => 5,
        2..=5 => lane - 2,
        6.. => lane,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_level_of_a_quorum_queue_has_a_lane() {
        let lanes: BTreeSet<u8> = (0..=QUORUM_LEVEL_MAX).map(quorum_lane).collect();
        assert_eq!(lanes, (0..=QUORUM_LEVEL_MAX).collect());
        for level in 0..=QUORUM_LEVEL_MAX {
            assert_eq!(quorum_level(quorum_lane(level)), level);
        }
    }

    #[test]
    fn the_two_lanes_of_older_data_directories_are_the_levels_of_their_most_frequent_priorities() {
        assert_eq!(level_of(QueueKind::Quorum, 0), 4);
        assert_eq!(level_of(QueueKind::Quorum, 1), 5);
    }
}
