//! The end of a migration: per queue, whether the counts of both brokers and of the move agree. Pure.

use serde::Serialize;

use super::definitions::LeftOut;
use super::inventory::QueueKind;
use super::state::{Both, QueueState};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) from: String,
    pub(super) to: String,
    /// Whether all queues agree.
    pub(super) agrees: bool,
    /// Definitions that were not copied.
    pub(super) left_out: Vec<LeftOut>,
    pub(super) queues: Vec<QueueReport>,
}

#[derive(Debug, Serialize)]
pub(super) struct QueueReport {
    pub(super) vhost: String,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: QueueKind,
    #[serde(flatten)]
    pub(super) state: QueueState,
    pub(super) after: Both,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "why")]
pub(super) enum Verdict {
    Agrees,
    Differs(String),
    /// It was not moved, or not to its end.
    Failed(String),
    /// Its messages cannot be moved.
    Skipped(String),
}

impl Verdict {
    pub(super) fn is_fine(&self) -> bool {
        match self {
            Verdict::Agrees | Verdict::Skipped(_) => true,
            Verdict::Differs(_) | Verdict::Failed(_) => false,
        }
    }
}

/// Compares the counts of a queue that was moved.
pub(super) fn compare(kind: QueueKind, state: &QueueState, after: &Both) -> Verdict {
    let before = state.before.unwrap_or_default();
    let differs = |count: u64, what: &str| Verdict::Differs(format!("{count} messages {what}"));
    let moved = match kind {
        QueueKind::Stream => {
            let first = state.first_offset.unwrap_or(state.next_offset);
            let copied = state.next_offset.saturating_sub(first);
            let missing = after.source.messages.saturating_sub(copied);
            if missing > 0 {
                return differs(missing, "of the stream are not copied");
            }
            copied
        }
        QueueKind::Classic | QueueKind::Quorum => {
            if after.source.messages > 0 {
                return differs(after.source.messages, "are left at the source");
            }
            if after.source.unacked > 0 {
                return differs(
                    after.source.unacked,
                    "are unacked at the source: its consumers hold them",
                );
            }
            let settled = after.source.settled.saturating_sub(before.source.settled);
            let missing = before.source.messages.saturating_sub(settled);
            if missing > 0 {
                return differs(
                    missing,
                    "left the source in another way: expired, dropped or purged",
                );
            }
            state.confirmed
        }
    };
    let settled = after.target.settled.saturating_sub(before.target.settled);
    let there = match kind {
        QueueKind::Stream => after.target.messages,
        QueueKind::Classic | QueueKind::Quorum => {
            after.target.messages + after.target.unacked + settled
        }
    };
    let missing = (before.target.messages + moved).saturating_sub(there);
    match missing {
        0 => Verdict::Agrees,
        missing => differs(missing, "are not at the target: expired, dropped or purged"),
    }
}

/// The report as a table.
pub(super) fn table(report: &Report) -> String {
    const TITLES: [&str; 8] = [
        "queue",
        "type",
        "before",
        "moved",
        "flagged",
        "left",
        "there before",
        "there after",
    ];
    let mut rows = vec![TITLES.map(str::to_owned)];
    for queue in &report.queues {
        let before = queue.state.before.unwrap_or_default();
        rows.push([
            format!("{} {}", queue.vhost, queue.name),
            format!("{:?}", queue.kind).to_lowercase(),
            before.source.messages.to_string(),
            queue.state.confirmed.to_string(),
            queue.state.flagged.to_string(),
            queue.after.source.messages.to_string(),
            before.target.messages.to_string(),
            queue.after.target.messages.to_string(),
        ]);
    }
    let mut widths = [0; TITLES.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let verdicts = std::iter::once("result".to_owned())
        .chain(report.queues.iter().map(|queue| queue.verdict.to_string()));
    let mut out = String::new();
    for (row, verdict) in rows.iter().zip(verdicts) {
        for (cell, width) in row.iter().zip(widths) {
            out.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(&verdict);
        out.push('\n');
    }
    for LeftOut {
        category,
        vhost,
        name,
        reason,
    } in &report.left_out
    {
        out.push_str(&format!(
            "not copied: {category} '{name}' in vhost '{vhost}': {reason}\n"
        ));
    }
    out.push_str(match report.agrees {
        true => "All counts agree.\n",
        false => "Some counts do not agree.\n",
    });
    out
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Verdict::Agrees => f.write_str("agrees"),
            Verdict::Differs(why) => write!(f, "differs: {why}"),
            Verdict::Failed(why) => write!(f, "failed: {why}"),
            Verdict::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::state::Tally;

    fn tally(messages: u64, settled: u64) -> Tally {
        Tally {
            messages,
            unacked: 0,
            settled,
        }
    }

    fn unacked(count: u64) -> Tally {
        Tally {
            unacked: count,
            ..tally(0, 105)
        }
    }

    fn verdict(kind: QueueKind, source: [Tally; 2], target: [Tally; 2], confirmed: u64) -> String {
        let state = QueueState {
            before: Some(Both {
                source: source[0],
                target: target[0],
            }),
            confirmed,
            first_offset: Some(10),
            next_offset: 10 + confirmed,
            ..QueueState::default()
        };
        let after = Both {
            source: source[1],
            target: target[1],
        };
        compare(kind, &state, &after).to_string()
    }

    #[test]
    fn counts_of_queues_agree_when_every_message_is_accounted_for() {
        let check =
            |source, target, confirmed| verdict(QueueKind::Classic, source, target, confirmed);
        let quiet = [tally(5, 100), tally(0, 105)];
        assert_eq!(check(quiet, [tally(0, 0), tally(5, 0)], 5), "agrees");
        // Consumers at both ends, publishers too.
        assert_eq!(
            check([tally(5, 0), tally(0, 9)], [tally(2, 7), tally(1, 12)], 4),
            "agrees"
        );
        // A message was published again.
        assert_eq!(check(quiet, [tally(0, 0), tally(6, 0)], 6), "agrees");
        // The target's consumers hold some.
        assert_eq!(check(quiet, [tally(0, 100), unacked(0)], 5), "agrees");
        assert_eq!(check(quiet, [tally(0, 102), unacked(2)], 5), "agrees");
        for (source, target, confirmed, why) in [
            (
                [tally(5, 100), unacked(3)],
                [tally(0, 0), tally(5, 0)],
                5,
                "3 messages are unacked at the source",
            ),
            (
                [tally(5, 0), tally(1, 4)],
                [tally(0, 0), tally(4, 0)],
                4,
                "1 messages are left at the source",
            ),
            (
                [tally(5, 0), tally(0, 4)],
                [tally(0, 0), tally(4, 0)],
                4,
                "1 messages left the source in another way",
            ),
            (
                quiet,
                [tally(0, 0), tally(4, 0)],
                5,
                "1 messages are not at the target",
            ),
            (
                quiet,
                [tally(3, 9), tally(4, 11)],
                5,
                "2 messages are not at the target",
            ),
        ] {
            let found = check(source, target, confirmed);
            assert!(found.starts_with(&format!("differs: {why}")), "{found}");
        }
    }

    #[test]
    fn streams_are_copied_whole() {
        let check = |source, target| {
            let nothing = tally(0, 0);
            let (source, target) = ([nothing, tally(source, 0)], [nothing, tally(target, 0)]);
            verdict(QueueKind::Stream, source, target, 5)
        };
        assert_eq!(check(5, 5), "agrees");
        // The source has dropped old messages, and some are at the target twice.
        assert_eq!(check(3, 6), "agrees");
        assert_eq!(
            check(7, 5),
            "differs: 2 messages of the stream are not copied"
        );
        assert!(check(5, 4).starts_with("differs: 1 messages are not at the target"));
    }

    #[test]
    fn the_table_has_a_line_per_queue() {
        let report = Report {
            from: "amqp://a".to_owned(),
            to: "amqp://b".to_owned(),
            agrees: false,
            left_out: vec![LeftOut {
                category: "users".to_owned(),
                vhost: String::new(),
                name: "guest".to_owned(),
                reason: "so".to_owned(),
            }],
            queues: vec![QueueReport {
                vhost: "/".to_owned(),
                name: "q".to_owned(),
                kind: QueueKind::Quorum,
                state: QueueState::default(),
                after: Both::default(),
                verdict: Verdict::Failed("no".to_owned()),
            }],
        };
        assert_eq!(
            table(&report),
            "queue  type    before  moved  flagged  left  there before  there after  result\n\
             / q    quorum  0       0      0        0     0             0            failed: no\n\
             not copied: users 'guest' in vhost '': so\n\
             Some counts do not agree.\n"
        );
    }
}
